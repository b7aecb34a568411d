"""`polyneuron say`, `chat` and `export` through the command line, on a tiny study."""

import io
import json
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.pipelines import cli
from polyneuron.pipelines.notebook.study import OpenedStudy
from tests.pipelines.notebook.conftest import model, store, study

__all__ = ["model", "store", "study"]


def run(*arguments: object) -> object:
    with pytest.raises(SystemExit) as left:
        cli.main([*map(str, arguments)])
    return left.value.code


def files_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_three_answers_are_those_of_the_model_in_python(
    study: OpenedStudy, store: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = files_of(store)
    assert (
        run("say", "--store", store, "--off", "shared", "--max-tokens", 9, "--format", "json", "Habari") == 0
    )
    found = json.loads(capfd.readouterr().out)
    assert {name: found[name] for name in ("model", "engine", "prompt", "max_tokens")} == {
        "model": "tiny",
        "engine": "hf",
        "prompt": "Habari",
        "max_tokens": 9,
    }
    with study.off("shared") as variant:
        without = variant.generate("Habari", 9)
    with study.off("control-shared-0") as control:
        beside = control.generate("Habari", 9)
    assert [answer["answer"] for answer in found["answers"]] == [
        study.base.generate("Habari", 9),
        without,
        beside,
    ]
    assert without != study.base.generate("Habari", 9)
    assert files_of(store) == before  # nothing is written


def test_what_is_piped_is_plain(store: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked = ("say", "--store", store, "--scale", "shared=2", "--set", "exclusive-sw=0.1", "--max-tokens", 4)
    assert run(*asked, "--variant", "control-shared-0", "a") == 0
    out = capfd.readouterr().out
    titles = [line for line in out.splitlines() if not line.startswith("    ")]
    assert titles[0].startswith("base (") and titles[1].startswith(
        "shared × 2, ffn neurons of exclusive-sw at 0.1 ("
    )
    assert titles[2].startswith("control: random neurons (") and titles[3].startswith("control-shared-0 (")
    assert titles[4:] == ["All changes are undone: the base model, asked again, answers the same."]
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--off", "exclusive-xx", "a"], "no set 'exclusive-xx'; there are shared"),
        (["--variant", "tuned-full-sw", "a"], "no variant 'tuned-full-sw'"),
        (["--scale", "shared", "a"], "--scale takes SET=NUMBER"),
        (["--message", "a"], "no chat template"),
        ([" "], "The prompt is empty"),
        (["--model", "other", "a"], "holds no study of 'other'; it holds tiny"),
        (["--max-tokens", "0", "a"], "max-tokens"),
        (["a" * 200], "the model reads 128 at most"),
    ],
)
def test_a_mistake_is_one_message(
    arguments: list[str], message: str, store: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("say", "--store", store, *arguments) == 2
    out, err = capfd.readouterr()
    assert message in err and out == "" and len(err.splitlines()) <= 3


def test_a_store_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for command in (["say", "a"], ["chat"], ["export", "shared", tmp_path / "out"]):
        assert run(*command, "--store", tmp_path / "absent") == 2
        assert "absent" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_chat_goes_on_over_mistakes_and_changes(
    study: OpenedStudy, store: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        "Habari",
        "/off exclusive-xx",
        "/bogus",
        "/",
        "",
        "/off exclusive-sw",
        "/sets",
        "/help",
        "/new",
        "Habari",
    ]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))
    assert run("chat", "--store", store, "--off", "shared", "--max-tokens", 5) == 0
    out, err = capfd.readouterr()
    titles = [line.split(" (")[0] for line in out.splitlines() if line.endswith("):")]
    control = "control: random neurons"
    assert titles == ["base", "without shared", control, "base", "without exclusive-sw", control]
    assert "no chat template" in out.splitlines()[0] and "/scale SET=FACTOR" in out
    (sets,) = (line for line in out.splitlines() if line.startswith("shared, "))
    assert "related-sw" in sets and "control" not in sets
    assert "no set 'exclusive-xx'" in err and err.count("There is no command /") == 2


@pytest.mark.parametrize("variant", ["exclusive-sw", "shared", "control-shared-0"])
def test_a_deactivated_variant_is_exported_bit_for_bit(
    variant: str, study: OpenedStudy, store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("export", variant, tmp_path / "out", "--store", store) == 0
    assert capfd.readouterr().out.strip() == str(tmp_path / "out")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    own = dict(study.base.model.named_parameters())
    neurons, anatomy = study.sets[variant], anatomy_of(study.base.model)
    assert len(neurons)
    for name, parameter in exported.named_parameters():
        expected = own[name].detach().clone()
        for layer, group in neurons.places():
            for part in anatomy.slices(group):
                if anatomy.parameter_name(layer, part) == name:
                    index = torch.from_numpy(neurons.indices(layer, group).copy()) + part.offset
                    expected.index_fill_(part.axis, index, 0)
        assert torch.equal(parameter, expected), name
    assert any(not torch.equal(own[name], parameter) for name, parameter in exported.named_parameters())
    assert run("export", variant, tmp_path / "out", "--store", store) == 2
    assert "exists already" in capfd.readouterr().err


def test_an_export_shows_nothing_that_libraries_print(
    store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(2, "w", closefd=False) as stderr:  # as outside of tests, where Python writes to the descriptor
        monkeypatch.setattr(sys, "stderr", stderr)
        assert run("export", "shared", tmp_path / "out", "--store", store) == 0
    assert "Writing" not in capfd.readouterr().err


def test_a_variant_that_is_not_there_is_not_exported(
    store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("export", "exclusive-xx", tmp_path / "out", "--store", store) == 2
    assert "no variant 'exclusive-xx'" in capfd.readouterr().err and not (tmp_path / "out").exists()

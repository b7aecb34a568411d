"""`--dry-run` refuses what a start would refuse, in the same words."""

import json
from pathlib import Path
from typing import Any

import pytest

from polyneuron.neuron_core.common.errors import ClusterError
from polyneuron.pipelines import cli
from polyneuron.pipelines.run.slot import JudgingEngine, Workers

FAR = "far enough"


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> Any:
        raise ClusterError(FAR)

    monkeypatch.setattr(Workers, "_group", refuse)
    monkeypatch.setattr(JudgingEngine, "_start", refuse)


def said_by(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    """Exit code and message."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as left:
        cli.main(list(arguments))
    said = capfd.readouterr().err
    return left.value.code, said[said.find("polyneuron: ") :] if "polyneuron: " in said else ""


def small(model: Path, store: Path) -> list[str]:
    corpus = "corpus={n_detection: 4, n_heldout: 2, max_tokens: 12}"
    return [
        "--demo",
        f"models=[{{path: {model}, name: tiny}}]",
        "languages=[en, sw]",
        corpus,
        "training={}",
        "evaluation={}",
        f"store={store}",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        "models=[{path: /nowhere/at/all}]",
        "corpus.source=/nowhere/{language}.txt",
        "corpus.source={place}/few.txt",
        "corpus.n_detection=5000",
        "corpus.source={place}/same.txt",
        "languages=[en, xx]",
        "store={place}/other",
        "store=nosuch://place",
        "models.0.add_bos=maybe",
        "models=[{path: {place}/nothing, name: tiny}]",
    ],
)
def test_a_dry_run_says_what_a_start_would(
    wrong: str, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "few.txt").write_text("One sentence.\n")
    same = "".join(f"This is the sentence with the number {n} of them all.\n" for n in range(40))
    (tmp_path / "same.txt").write_text(same)
    (tmp_path / "nothing").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "store.json").write_text(json.dumps({"format": "x", "schema_version": 1}))
    arguments = [*small(model, tmp_path / "store"), wrong.replace("{place}", str(tmp_path))]
    dry = said_by(capfd, "detect", "--dry-run", *arguments)
    assert not (tmp_path / "store").exists()
    assert dry == said_by(capfd, "detect", *arguments)
    assert dry[0] == 2 and FAR not in dry[1] and len(dry[1].splitlines()) <= 10


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("evaluation={data: /nowhere, benchmarks: [{name: xnli}], engine: {backend: hf}}", "/nowhere"),
        (
            "evaluation={benchmarks: [{name: mmmlu}], mmmlu_files: {en: /nowhere.csv}, engine: {backend: hf}}",
            "/nowhere.csv",
        ),
        ("training={languages: [sw], mixture: /nowhere.txt}", "/nowhere.txt"),
        ("training={languages: [sw], mixture: embedded, n_documents: 5000}", "5000"),
        ("store=/dev/null", "/dev/null"),
    ],
)
def test_a_dry_run_looks_at_later_stages_too(
    wrong: str, named: str, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, said = said_by(capfd, "study", "--dry-run", *small(model, tmp_path / "store"), wrong)
    assert code == 2 and named in said
    code, _ = said_by(capfd, "detect", "--dry-run", *small(model, tmp_path / "store"), wrong)
    assert code == (2 if "store" in wrong else 0), "what a command does not do is not asked for"


def test_of_several_models_those_that_fail_are_named(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    models = f"models=[{{path: {model}, name: good}}, {{path: /nowhere/at/all, name: bad}}]"
    for command in (["detect", "--dry-run"], ["plan"]):
        code, said = said_by(capfd, *command, *small(model, tmp_path / "store"), models)
        assert code == 1 and "bad: " in said and "good: " not in said

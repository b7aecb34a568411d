"""The command line: exit codes, one message per mistake, and answers without heavy imports in no time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from polyneuron.pipelines import cli
from tests.tiny_models import save_tiny_model

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120)


def test_help_answers_at_once() -> None:
    took_s = []
    for _ in range(3):
        before = os.times()
        done = run("-m", "polyneuron.pipelines.cli", "--help")
        after = os.times()
        # of a processor, since other tests may be at work beside this one
        took_s.append(sum(after[2:4]) - sum(before[2:4]))
        assert done.returncode == 0
    assert all(command in done.stdout for command in ("study", "detect", "ablate", "report", "query", "plan"))
    assert min(took_s) < 1.0


@pytest.mark.parametrize(
    ("script", "named", "wrong", "right"),
    [
        ("full_study", ["--config", "study_smollm2"], "corpus.n_detecton", "corpus.n_detection"),
        ("nightly", [], "evaluation.dta", "evaluation.data"),
    ],
)
def test_scripts_run_from_anywhere_and_name_mistakes(
    script: str, named: list[str], wrong: str, right: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "pipelines" / f"{script}.py"), *named, f"{wrong}=3"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("polyneuron: ") and done.stderr.count("\n") == 1
    assert {wrong, f"{right}?"} <= set(done.stderr.replace(";", " ").split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name a command"),
        (["studdy"], "studdy"),
        (["ls", "modles"], "Invalid value for 'what': 'modles' is not one of 'models'"),
        (["study", "--config", "absent.yaml"], "Shipped ones: llama3_70b, nightly_smollm2, paper_models"),
        (["study", "--demo", "models=["], "is not YAML"),
        (["query", "--store", "/nowhere/store", "select 1"], "There is no store in /nowhere/store"),
    ],
)
def test_a_mistake_is_one_message_and_code_2(arguments: list[str], message: str) -> None:
    done = run("-m", "polyneuron.pipelines.cli", *arguments)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("ending", "code"), [(lambda: 1, 1), (lambda: 0, 0)])
def test_the_exit_code_of_a_study_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, ending: object, code: int
) -> None:
    monkeypatch.setattr("polyneuron.pipelines.study.run_study", lambda config, command: ending())  # type: ignore[operator]
    with pytest.raises(SystemExit) as left:
        cli.main(["study", "--demo"])
    assert left.value.code == code


def test_ctrl_c_is_130_and_says_that_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(config: object, command: str) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("polyneuron.pipelines.study.run_study", interrupted)
    with pytest.raises(SystemExit) as left:
        cli.main(["study", "--demo"])
    assert left.value.code == 130
    assert "Nothing that was finished is lost: run the same command again" in capsys.readouterr().err


def test_a_dry_run_prints_the_configuration_and_the_plan_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_tiny_model(tmp_path / "tiny")
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        cli.main(
            ["study", "--demo", "--dry-run", f"models=[{{path: {model}}}]", f"store={tmp_path / 'store'}"]
        )
    assert left.value.code == 0
    resolved, page = capsys.readouterr().out.split("Machines (this machine)")
    assert yaml.safe_load(resolved)["corpus"]["n_detection"] == 100
    assert "detection 6; perplexity at most 164" in page and "Everything fits." in page
    assert not (tmp_path / "store").exists()


def test_a_dry_run_of_a_model_that_is_not_there_is_one_message_and_no_plan(tmp_path: Path) -> None:
    done = run(
        "-m",
        "polyneuron.pipelines.cli",
        *("study", "--model", str(tmp_path / "absent"), "--languages", "en,sw", "--dry-run"),
    )
    assert done.returncode == 2 and "absent" in done.stderr and done.stderr.count("\n") == 1
    assert yaml.safe_load(done.stdout)["languages"] == ["en", "sw"]  # the configuration, and nothing after it

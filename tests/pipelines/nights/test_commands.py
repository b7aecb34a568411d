"""`nightly --dry-run` says what a start would do and refuses what it would refuse; `trend` writes the page of all nights."""

from pathlib import Path

import pytest
import yaml

from polyneuron.pipelines import cli
from tests.pipelines.in_process import judge_locally
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny", max_position_embeddings=8192)


@pytest.fixture
def config(model: Path, tmp_path: Path) -> Path:
    values = {
        "kind": "nightly",
        "models": [{"path": str(model), "name": "tiny"}],
        "languages": ["en"],
        "evaluation": {
            "data": "sample",
            "benchmarks": [
                {"name": "xnli", "max_items": 4},
                {"name": "xquad", "max_items": 2, "max_gen_toks": 2},
            ],
            "engine": {"backend": "hf", "max_model_len": 8192},
        },
        "store": str(tmp_path / "store"),
    }
    path = tmp_path / "night.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def command(*arguments: str) -> object:
    with pytest.raises(SystemExit) as left:
        cli.main([*arguments])
    return left.value.code


def test_a_dry_run_says_what_a_start_would_do_and_writes_nothing(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_locally(monkeypatch)
    dry = ("nightly", "--config", str(config), "--dry-run", "night=n1")
    assert command(*dry, "--baseline", "none") == 0
    said = capsys.readouterr().out
    assert "night: n1" in said and "tiny, night n1, would be compared with nothing" in said
    assert "scores at most 2" in said and "evaluation" in said and "max_tokens" not in said
    assert command(*dry) == 2  # as a start would end
    assert "--baseline none" in capsys.readouterr().err
    assert command(*dry, "--baseline", "n0") == 2
    assert not (tmp_path / "store").exists()

    assert command("nightly", "--config", str(config), "night=n1", "--baseline", "none") == 0
    capsys.readouterr()
    assert command("nightly", "--config", str(config), "--dry-run", "night=n2") == 0
    said = capsys.readouterr().out
    assert "would be compared with night n1" in said and "scores 2" in said and "done" not in said
    assert (
        command(*dry, "--baseline", "none", "evaluation.benchmarks=[{name: xnli, max_items: 4}, xquad]") == 0
    )
    assert "scores 1 done, 1 to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("variants=[{{name: gone, file: absent.safetensors, model: tiny}}]", "absent.safetensors"),
        ("models.0.path=nowhere", "nowhere"),
        ("store={config}/nights", "stands where the store needs a folder"),
        ("evaluation.data=nowhere", "nowhere"),
    ],
)
def test_a_dry_run_refuses_what_a_start_would(
    config: Path, capsys: pytest.CaptureFixture[str], override: str, words: str
) -> None:
    dry = ("nightly", "--config", str(config), "--dry-run", "--baseline", "none")
    assert command(*dry, override.format(config=config)) == 2
    assert words in capsys.readouterr().err


def test_the_trend_is_written_again_where_it_is_asked_for(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_locally(monkeypatch)
    store = tmp_path / "store"
    assert command("trend", "--store", str(store)) == 2
    assert "store" in capsys.readouterr().err
    assert (
        command(
            "nightly",
            "--config",
            str(config),
            "night=n1",
            "--baseline",
            "none",
            "--out",
            str(tmp_path / "out"),
        )
        == 0
    )
    capsys.readouterr()
    assert command("trend", "--store", str(store)) == 0
    assert capsys.readouterr().out.strip() == str(store / "trend.html")
    assert (store / "trend.html").read_text() == (tmp_path / "out" / "trend.html").read_text()
    assert command("trend", "--store", "memory://nights") == 2


def test_exit_codes_stand_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("nightly", "study", "query", "trend"):
        assert command(name, "--help") == 0
        assert "Exit codes: 0" in capsys.readouterr().out

"""What a run says, logs, stores and reports names no credentials, and names the code it trusts."""

import io
import logging
import os
import sys
from pathlib import Path

import pytest

from polyneuron.eval.report.numbers.provenance import run_of
from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.pipelines import cli
from polyneuron.pipelines.run.progress import console, say
from polyneuron.pipelines.run.record import recorded
from polyneuron.pipelines.study import run_study
from tests.pipelines.in_process import tiny_config
from tests.tiny_models import save_tiny_model

SECRET = "hunter2Secret"
SOURCE = f"http://me:{SECRET}@127.0.0.1:9/{{language}}.txt?token={SECRET}"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def everything_in(folder: Path) -> str:
    """Every file as text, and the rows of every table (their bytes are compressed)."""
    store = Store(folder)
    rows = [str(store.read(table).to_pylist()) for table in TABLES]
    return "\n".join(
        [*rows, *(file.read_text(errors="replace") for file in folder.rglob("*") if file.is_file())]
    )


def test_a_failed_study_leaves_no_credentials(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", f"environment{SECRET}")
    monkeypatch.setattr(sys, "argv", ["polyneuron", "study", f"corpus.source={SOURCE}"])
    config = tiny_config(
        model, tmp_path / "store", corpus={"source": SOURCE, "n_detection": 1, "n_heldout": 1}
    )
    with pytest.raises(CorpusError) as refused:
        run_study(config)
    assert "127.0.0.1:9" in refused.value.message and SECRET not in refused.value.message
    store = Store(tmp_path / "store")
    with recorded(config, store):
        logging.getLogger("urllib3").warning("GET %s", SOURCE)
        try:
            raise ValueError(f"401 for environment{SECRET}")
        except ValueError:
            logging.getLogger("urllib3").exception("failed")
    kept = everything_in(tmp_path / "store")
    assert "127.0.0.1:9" in kept and "Traceback" in kept and "study" in kept
    assert SECRET not in kept
    for row in store.read("runs").to_pylist():
        assert SECRET not in str(run_of(row)) and "127.0.0.1:9" in str(run_of(row))
    captured = capfd.readouterr()
    assert SECRET not in captured.out + captured.err


def test_a_dry_run_prints_no_credentials(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(
            [
                "study",
                "--demo",
                "--dry-run",
                f"models=[{{path: {model}}}]",
                f"store={tmp_path}",
                f"corpus.source={SOURCE}",
            ]
        )
    out = capsys.readouterr().out
    assert "127.0.0.1:9" in out and SECRET not in out


TOKENS = {
    "hub": "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345",
    "service": "sk-proj-0a1b2c3d4e5f6g7h8i9j0k1l2m3n",
    "forge": "glpat-x0y1z2A3B4C5D6E7F8G9",
    "cloud": "AKIAQ7W3E5R1T9Y2U4I6",
    "password": "correct.horse+battery",
    "variable": "v4ri4ble-of-wandb",
}
PRINTED = [
    "GET https://me:{password}@host/x?sig={service}#access_token={hub}",
    '{{"token": "{service}", "id": 3}}',
    "headers: Authorization: Bearer {hub}",
    "password={password}; key {cloud}",
    "remote: HTTP Basic: denied for oauth2:{forge}",
    "login with {variable}",
]
"""What libraries say."""


def test_planted_tokens_are_found_nowhere(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the environment, the configuration, URLs, errors, log records and what native code prints, and over two runs, the
    first of which is killed before it can tidy up."""
    monkeypatch.setenv("WANDB_API_KEY", TOKENS["variable"])
    monkeypatch.setenv("HF_TOKEN", TOKENS["hub"])
    printed = [line.format(**TOKENS) for line in PRINTED]
    argv = [
        "polyneuron",
        "study",
        "--token",
        TOKENS["password"],
        f"corpus.source={printed[0][4:]}",
        f"title=x {printed[3]}",
    ]
    monkeypatch.setattr(sys, "argv", argv)
    config = tiny_config(
        model,
        tmp_path / "store",
        title=f"A study for {TOKENS['service']}",
        corpus={"source": printed[0][4:], "n_detection": 1, "n_heldout": 1},
        evaluation={"revisions": {"api_key": TOKENS["variable"], "x": printed[1]}},
    )
    store = Store(tmp_path / "store")
    log = tmp_path / "store" / "polyneuron.log"
    log.parent.mkdir()
    log.write_text("\n".join(printed))
    with pytest.raises(RuntimeError), recorded(config, store) as run:
        for line in printed:
            for stream in (1, 2):
                os.write(stream, f"{line}\n".encode())
            logging.getLogger("library").warning("%s", line)
            say(line)
            run.failed("tiny", ConnectionError(line))
        raise RuntimeError(printed[2])
    said = capfd.readouterr()
    kept = everything_in(tmp_path / "store") + said.out + said.err
    assert kept.count("denied for") > 3 and "ConnectionError" in kept
    for name, token in TOKENS.items():
        assert token not in kept and token[4:] not in kept, name


@pytest.mark.parametrize("trusted", [True, False])
def test_trusted_code_is_loud_in_every_run_and_recorded(
    trusted: bool, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    monkeypatch.setattr(console, "file", said)
    models = [{"path": str(model), "name": "foreign", "trust_remote_code": trusted}]
    config, store = tiny_config(model, tmp_path / "store", models=models), Store(tmp_path / "store")
    for _ in range(2):
        with recorded(config, store):
            pass
    assert said.getvalue().count("Warning: models.trust_remote_code is on for foreign") == 2 * trusted
    assert [run_of(row)["trusted"] for row in store.read("runs").to_pylist()] == [
        ["foreign"] if trusted else []
    ] * 2

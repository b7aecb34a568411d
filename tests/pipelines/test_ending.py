"""How commands end that are told to, or that meet what nobody foresaw: recorded, in one message, with the usual exit code."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.store.store import Store
from polyneuron.pipelines import cli
from polyneuron.pipelines.run.ending import ended_by_signals
from tests.tiny_models import save_tiny_model

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys, time
from pathlib import Path
from polyneuron.pipelines import cli, study
from polyneuron.pipelines.run.slot import Workers
import polyneuron.eval.report as report

def wait(*arguments, **named):
    Path(sys.argv[1]).touch()
    time.sleep(60)

where = sys.argv[2]
if where == "workers":
    Workers._group = wait
else:
    study.stages_of = lambda command, config: ()
    report.read_report = wait
cli.main(sys.argv[3:])
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.mark.long
@pytest.mark.parametrize(
    ("where", "number", "code"),
    [("workers", signal.SIGTERM, 143), ("report", signal.SIGHUP, 129), ("workers", signal.SIGINT, 130)],
)
def test_a_signal_is_recorded_as_an_interruption(
    where: str, number: signal.Signals, code: int, model: Path, tmp_path: Path
) -> None:
    store, waiting = tmp_path / "store", tmp_path / "waiting"
    study = [
        "study",
        "--demo",
        f"models=[{{path: {model}, name: tiny}}]",
        "languages=[en, sw]",
        f"store={store}",
    ]
    small = ["corpus={n_detection: 4, n_heldout: 2, max_tokens: 12}", "training={}", "evaluation={}"]
    small.append("ablation={shared_control_seeds: 1, exclusive_control_seeds: 1}")
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(waiting), where, *study, *small],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        began = time.monotonic()
        while not waiting.exists() and process.poll() is None and time.monotonic() - began < 100:
            time.sleep(0.05)
        process.send_signal(number)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert [row["status"] for row in Store(store).read("runs").to_pylist()] == ["interrupted"]
    with Store(store).lock() as moved:
        assert moved == []
    assert not list(store.rglob(".writing-*")) and not list(store.glob(".report*"))


def test_the_first_signal_counts_and_ignored_ones_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), ended_by_signals() as received:
            os.kill(os.getpid(), signal.SIGHUP)
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(1)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("interrupts", [signal.default_int_handler, signal.SIG_IGN])
def test_a_signal_that_meets_a_destructor_is_not_lost(interrupts: Any) -> None:
    class Dying:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.5)

    hook, before = (
        sys.unraisablehook,
        signal.signal(signal.SIGINT, interrupts),
    )  # ignored in a shell's background
    try:
        with pytest.raises(KeyboardInterrupt), ended_by_signals() as received:
            Dying()
            time.sleep(5)
    finally:
        signal.signal(signal.SIGINT, before)
    assert received == [signal.SIGTERM] and sys.unraisablehook is hook


@pytest.mark.parametrize("has_store", [True, False])
def test_what_nobody_foresaw_is_one_message_and_a_traceback_in_the_log(
    has_store: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "hunter2Secret"

    def broken(config: object, command: str) -> int:
        raise LookupError("a\x1b[31m\n" + "line\n" * 30 + f"password={secret}")

    monkeypatch.setattr("polyneuron.pipelines.study.run_study", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = tmp_path / "store"
    if has_store:
        store.mkdir()
    with pytest.raises(SystemExit) as left:
        cli.main(["study", "--demo", f"store={store}"])
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert "LookupError" in said and "Traceback" not in said and "\x1b" not in said and secret not in said
    assert len(said.splitlines()) <= 10
    (log,) = [path for path in tmp_path.rglob("*.log")]
    assert str(log) in said and (log.parent == store) == has_store
    assert "Traceback" in log.read_text() and secret not in log.read_text()


@pytest.mark.long
def test_a_reader_that_leaves_ends_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "store").lock():
        pass
    command = f"{sys.executable} -m polyneuron.pipelines.cli query --store {tmp_path / 'store'} 'SELECT * FROM range(100000)'"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} | head -3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "range\n0\n1\n", "")

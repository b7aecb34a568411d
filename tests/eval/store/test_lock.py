"""One study at a time, and a lock that no killed process can leave behind."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError

HOLDER = """
import os, sys, time
from polyneuron.eval.store.store import Store
with Store(sys.argv[1]).lock():
    if sys.argv[2] == "fork" and os.fork() == 0:
        print("child", os.getpid(), flush=True)
        time.sleep(200)
        os._exit(0)
    if sys.argv[2] != "fork":
        print("held", flush=True)
    time.sleep(200)
"""


def holder(root: str, how: str = "plain") -> tuple["subprocess.Popen[str]", str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, root, how], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, process.stdout.readline()


@pytest.mark.parametrize("kind", ["folder", "url"])
def test_a_second_study_is_refused_at_once_and_told_by_whom(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    root = str(tmp_path) if kind == "folder" else f"memory://{uuid.uuid4().hex}"
    process, _ = holder(root)
    try:
        with (
            pytest.raises(StoreError, match=f"process {process.pid} on {socket.gethostname()}"),
            Store(root).lock(),
        ):
            pass
        assert process.poll() is None  # it holds the lock still: nobody waited for it
        assert len(Store(root).read("runs")) == 0
    finally:
        process.kill()
        process.wait()
    with Store(root).lock():
        pass


def test_sigkill_frees_the_lock_even_if_a_forked_child_lives_on(tmp_path: Path) -> None:
    process, line = holder(str(tmp_path), "fork")
    child = int(line.split()[1])
    try:
        with pytest.raises(StoreError, match="in use"), Store(tmp_path).lock():
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.kill(child, 0)
        with Store(tmp_path).lock():
            pass
    finally:
        process.kill()
        os.kill(child, signal.SIGKILL)


def test_one_process_cannot_hold_it_twice_but_again(tmp_path: Path) -> None:
    for _ in range(2):
        with Store(tmp_path).lock():  # noqa: SIM117
            with pytest.raises(StoreError, match=f"process {os.getpid()} "), Store(tmp_path).lock():
                pass
    with pytest.raises(RuntimeError, match="mine"), Store(tmp_path).lock():
        raise RuntimeError("mine")
    with Store(tmp_path).lock():
        assert (tmp_path / "store.json").exists()

"""What is done when a process ends that a local Ray cannot do without; other processes stand for Ray's."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from polyneuron.cluster.actors.supervised import Supervised
from polyneuron.cluster.actors.vigil import is_lost, raise_if_lost, vigil
from polyneuron.neuron_core.common.errors import ClusterError

HANGING = """
import subprocess, sys, time
from pathlib import Path
from types import SimpleNamespace
from polyneuron.cluster.actors import vigil
vigil._PATIENCE_S = 0.3
gcs = subprocess.Popen(["true"])
node = SimpleNamespace(all_processes={"gcs_server": [SimpleNamespace(process=gcs)]})
with vigil.vigil([node], lambda: Path(sys.argv[1]).touch()):
    time.sleep(250)
"""


@pytest.fixture
def raylet() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def node_of(process: subprocess.Popen[bytes]) -> Any:
    return SimpleNamespace(all_processes={"raylet": [SimpleNamespace(process=process)]})


def test_a_lost_process_is_an_error_and_actors_are_not_started_anew(raylet: subprocess.Popen[bytes]) -> None:
    def work() -> None:
        raylet.kill()
        raylet.wait()
        raise ValueError("as Ray words it")

    actors = Supervised("the workers", None, 5, None)  # type: ignore[arg-type]
    actors._actors = ["no actor of Ray"]
    with vigil([SimpleNamespace(), node_of(raylet)], lambda: None):
        raise_if_lost()
        with pytest.raises(ClusterError, match="raylet") as lost:
            actors._supervised(work)
        assert is_lost() and isinstance(lost.value.__cause__, ValueError)
        actors.close()
        assert actors._actors == [] and actors.n_restarts == 0
    assert not is_lost()
    raise_if_lost()


def test_a_process_that_hangs_in_ray_is_ended_with_a_message(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGING, str(tmp_path / "ended")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("polyneuron: ") and "gcs_server" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and (tmp_path / "ended").exists()


KILLED = """
import os, signal, subprocess, sys
from pathlib import Path
from polyneuron.cluster.actors.vigil import survived
with survived("SESSION=" + sys.argv[1], [Path(sys.argv[1])]) as closed:
    for session in (sys.argv[1], "other"):
        child = subprocess.Popen(["sleep", "300"], env={"SESSION": session}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        print(child.pid, flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("end", ["killed", "well"])
def test_a_killed_process_is_cleaned_up_after(end: str, tmp_path: Path) -> None:
    folder = tmp_path / "session"
    (folder / "r").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), end],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=200,
    )
    ours, others = map(int, done.stdout.split())
    try:
        assert done.returncode == (-9 if end == "killed" else 0)
        assert len(done.stderr.strip().splitlines()) == (1 if end == "killed" else 0)
        assert _runs(ours) == folder.exists() == (end == "well")
        assert _runs(others)
    finally:
        for process in (ours, others):
            with suppress(psutil.Error):
                psutil.Process(process).kill()


def _runs(process: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    return False

"""Who can reach a local session: nobody beyond this machine, and on it nobody without the session's token."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import ray

from polyneuron.cluster.actors.group import ModelGroup
from polyneuron.cluster.actors.session import ray_session
from polyneuron.cluster.spec import GroupSpec, ModelSpec, Weights
from polyneuron.eval.store.store import Store
from tests.listening import listening, open_to_others, processes
from tests.own_process import found_by, print_found

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

LIST_NODES = "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo"
ROOT = Path(__file__).parents[2]
SERVICES = {
    "gcs_server": LIST_NODES,
    "raylet": "/ray.rpc.NodeManagerService/GetNodeStats",
    "ray::Worker": "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
}


def _global_node() -> Any:
    from ray._private.worker import _global_node

    return _global_node


def token() -> str:
    return Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_text()


def answer(port: int, method: str, key: str | None) -> grpc.StatusCode | None:
    """The status of a call with an empty request, which every one of these methods takes; None: not a Ray service."""
    metadata = [("authorization", f"Bearer {key}")] if key else []
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary(method)(b"", metadata=metadata, timeout=2)
        except grpc.RpcError as error:
            silent = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            return None if silent else error.code()
    return grpc.StatusCode.OK


@pytest.mark.long
@pytest.mark.parametrize("weights", ["shard", "stream"])
def test_nothing_listens_beyond_loopback_and_every_service_wants_the_token(
    tiny_folder: Path, weights: Weights
) -> None:
    with ModelGroup(ModelSpec(source=str(tiny_folder), weights=weights), GroupSpec(world_size=2)):
        asked = {name: dict[str | None, set[grpc.StatusCode | None]]() for name in SERVICES}
        beyond, n_listening = open_to_others(), 0
        for process in processes():
            for _, port in listening(process):
                n_listening += 1
                for name, method in SERVICES.items():
                    if process.name().startswith(name) and (bare := answer(port, method, None)):
                        asked[name].setdefault(None, set()).add(bare)
                        for key in ("0" * 64, token()):
                            asked[name].setdefault(key, set()).add(answer(port, method, key))
    assert beyond == []
    assert n_listening > len(SERVICES)
    for name, answers in asked.items():
        for key in (None, "0" * 64):
            assert (
                grpc.StatusCode.UNAUTHENTICATED in answers[key] and grpc.StatusCode.OK not in answers[key]
            ), name
        assert grpc.StatusCode.OK in answers[token()], name


def _is_alive(process: psutil.Process, names: list[str]) -> bool:
    """Whether a process has one of the names; what Ray starts for a moment may have ended by now."""
    try:
        return any(name in process.name() for name in names)
    except psutil.NoSuchProcess:
        return False


def test_no_http_server_takes_orders_without_the_token() -> None:
    # The job agent's port is fixed, so a second Ray on the machine goes without it; the other agent always has one.
    orders = {"DashboardAgent": "/api/job_agent/jobs/", "RuntimeEnvAgent": "/get_or_create_runtime_env"}
    answers: dict[str, set[int]] = {name: set() for name in orders}
    agents = [process for process in processes() if _is_alive(process, list(orders))]
    for process in agents:
        for name, path in orders.items():
            for _, port in listening(process) if name in process.name() else ():
                request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", b"{}", method="POST")
                try:
                    answers[name].add(urllib.request.urlopen(request, timeout=10).status)
                except urllib.error.HTTPError as error:
                    answers[name].add(error.code)
                except (OSError, HTTPException):
                    pass  # a port for gRPC
    assert answers["RuntimeEnvAgent"] == {401}
    assert answers["DashboardAgent"] <= {401, 404, 405}, "metrics answer 404 or 405"


def test_the_token_is_in_a_private_file_alone() -> None:
    file = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    assert len(token()) == 64
    seen = 0
    for process in processes():
        with suppress(psutil.NoSuchProcess):  # which has ended meanwhile
            said = process.cmdline(), process.environ()
            assert token() not in " ".join(said[0]) and token() not in "".join(said[1].values())
            seen += 1
    assert seen
    logs = [file for file in Path(_global_node().get_logs_dir_path()).rglob("*") if file.is_file()]
    assert logs and not [file for file in logs if token().encode() in file.read_bytes()]


def main() -> None:
    """Two sessions after each other, in a process whose environment, like the images', is made for another cluster; what a
    killed one left lies there already."""
    abandoned = Path(tempfile.gettempdir()) / "polyneuron-ray-abandoned"
    abandoned.mkdir()
    (abandoned / "lock").touch()
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "of another cluster"}
    before, tokens = authentication(), []
    for _ in range(2):
        with ray_session(1):
            file = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
            tokens.append(file.read_text())
            nodes = len(ray.nodes())
    left = [str(path) for path in Path(tempfile.gettempdir()).iterdir()]
    alive = [process.name() for process in processes()][1:]
    changed = authentication() != before
    print_found({"tokens": tokens, "nodes": nodes, "left": left, "alive": alive, "changed": changed})


def authentication() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("RAY_AUTH")}


@pytest.mark.long
def test_every_session_has_its_own_token_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # a short path, as Ray's sockets need
        monkeypatch.setenv("TMPDIR", folder)
        found = found_by("tests.ray.test_session", threads=1, timeout_s=120)
    assert len(set(found["tokens"])) == 2 and found["nodes"] == 1
    assert found["left"] == [] and found["alive"] == [] and not found["changed"]


@pytest.mark.long
def test_a_study_that_ends_while_ray_starts_leaves_nothing(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = [
        "corpus={n_detection: 4, n_heldout: 2, max_tokens: 12}",
        "languages=[en, sw]",
        "training={}",
        "evaluation={}",
        f"store={tmp_path / 'store'}",
    ]
    command = [
        sys.executable,
        "-m",
        "polyneuron.pipelines.cli",
        "detect",
        "--demo",
        f"models=[{{path: {tiny_folder}}}]",
        *small,
    ]
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setenv("WANDB_API_KEY", "planted-secret")
        process = subprocess.Popen(
            command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        began = time.monotonic()
        while process.poll() is None and time.monotonic() - began < 100:
            if (
                list(Path(folder).glob("polyneuron-ray-*/r/*/logs"))
                and psutil.Process(process.pid).children()
            ):
                break
            time.sleep(0.02)
        started = psutil.Process(process.pid).children(recursive=True)
        arguments = [" ".join(child.cmdline()) for child in started]
        process.terminate()
        said = process.communicate(timeout=60)[1]
        _, alive = psutil.wait_procs(started, timeout=10)
        assert process.returncode == 143 and "Traceback" not in said, said
        assert arguments and not [line for line in arguments if "planted-secret" in line]
        assert alive == [] and list(Path(folder).iterdir()) == []
    assert [row["status"] for row in Store(tmp_path / "store").read("runs").to_pylist()] == ["interrupted"]


if __name__ == "__main__":
    main()


SIGNALS = """
import re, signal
from pathlib import Path
from polyneuron.cluster.actors.session import ray_session

def caught():
    mask = re.search(r"SigCgt:\\s*([0-9a-f]+)", Path("/proc/self/status").read_text())
    return bool(int(mask[1], 16) >> (signal.SIGTERM - 1) & 1)

signal.signal(signal.SIGTERM, lambda *_: None)
for _ in range(2):
    with ray_session(1):
        print(caught())
    print(caught())
"""


@pytest.mark.long
def test_signals_are_caught_during_and_after_every_session() -> None:
    """Ray's C++ sets SIGTERM to its default, of which Python's own table says nothing."""
    ran = subprocess.run([sys.executable, "-c", SIGNALS], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout.split() == ["True"] * 4, ran.stderr[-2000:]

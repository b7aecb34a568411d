"""Ray's start, without Ray: tries, the message when all fail, and what is undone."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private.node import Node

from polyneuron.cluster.actors import session
from polyneuron.cluster.actors.session import ray_session
from polyneuron.cluster.actors.session_folder import remove_abandoned
from polyneuron.neuron_core.common.errors import ClusterError


class SlowRay:
    """`ray.init` that fails so many times."""

    def __init__(self, n_failures: int, error: BaseException) -> None:
        self.n_failures, self.error, self.folders = n_failures, error, list[str]()

    def init(self, **named: Any) -> None:
        self.folders.append(named.get("_temp_dir", ""))
        if self.folders[-1]:
            Path(self.folders[-1]).mkdir()
        if len(self.folders) <= self.n_failures:
            raise self.error


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)  # of a session that other tests have open
        monkeypatch.setattr(session, "_BETWEEN_TRIES_S", 0.0)
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        yield Path(folder)


def slow_ray(monkeypatch: pytest.MonkeyPatch, n_failures: int, error: BaseException | None = None) -> SlowRay:
    slow = SlowRay(n_failures, error or Exception("The current node timed out during startup.\nMore words"))
    monkeypatch.setattr(ray, "init", slow.init)
    return slow


@pytest.mark.parametrize("n_failures", [0, 1, 2])
def test_a_slow_start_is_tried_again(n_failures: int, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, make = slow_ray(monkeypatch, n_failures), Node.__init__
    with ray_session(1):
        assert len(slow.folders) == n_failures + 1
        assert Path(slow.folders[-1]).parent in place.iterdir()
        assert Path(os.environ["RAY_AUTH_TOKEN_PATH"]).parent.parent == place
    assert list(place.iterdir()) == [] and "RAY_AUTH_TOKEN_PATH" not in os.environ
    assert Node.__init__ is make


@pytest.mark.parametrize(
    "error", [OSError("no room"), RuntimeError("x"), TimeoutError(), ValueError("y\nz"), Exception("w")]
)
def test_a_start_that_always_fails_is_one_message(
    error: Exception, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = slow_ray(monkeypatch, 99, error)
    with pytest.raises(ClusterError) as refused, ray_session(1):
        raise AssertionError("not reached")
    assert len(slow.folders) == 3 and list(place.iterdir()) == []
    assert len(str(refused.value).splitlines()) == 1 and str(error).split("\n")[0] in str(refused.value)


def test_an_interrupted_start_is_not_tried_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = slow_ray(monkeypatch, 99, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt), ray_session(1):
        raise AssertionError("not reached")
    assert len(slow.folders) == 1 and list(place.iterdir()) == []


def test_a_cluster_that_is_not_there_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    slow = slow_ray(monkeypatch, 99, ConnectionError("nobody"))
    with pytest.raises(ClusterError, match="127.0.0.1:9"), ray_session(1):
        raise AssertionError("not reached")
    assert slow.folders == ["", "", ""]


def test_a_long_temporary_folder_is_not_used(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = place / ("x" * 60)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    slow = slow_ray(monkeypatch, 0)
    with ray_session(1):
        assert len(slow.folders[0]) < 43 and list(long.iterdir()) == []
    assert not Path(slow.folders[0]).parent.exists()


def test_temporary_files_of_actors_lie_where_the_user_wants_them_and_end_with_the_session(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = place / ("x" * 60)
    wanted.mkdir()
    monkeypatch.setenv("TMPDIR", str(wanted))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv("RAY_TMPDIR")
    slow = slow_ray(monkeypatch, 0)
    with ray_session(1):
        temporary = Path(os.environ["TMPDIR"])
        assert temporary.parent == wanted and temporary.is_dir()
        assert wanted not in Path(slow.folders[0]).parents
        assert tempfile.gettempdir() == str(wanted)
    assert list(wanted.iterdir()) == [] and os.environ["TMPDIR"] == str(wanted)


def test_folders_of_killed_sessions_are_removed_and_others_left_alone(place: Path) -> None:
    killed, alive = place / "polyneuron-ray-killed", place / "polyneuron-ray-alive"
    for folder in (killed, alive):
        folder.mkdir()
        (folder / "lock").touch()
    with (alive / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        remove_abandoned()
        assert list(place.iterdir()) == [alive]


def test_cores_that_nobody_has_are_not_offered(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = slow_ray(monkeypatch, 0)
    with pytest.raises(ClusterError, match="2,000,000"), ray_session(2_000_000):
        raise AssertionError("not reached")
    assert slow.folders == []

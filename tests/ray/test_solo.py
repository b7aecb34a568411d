"""A supervised actor is started anew when it dies, and passes errors for people on as they are."""

import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from polyneuron.cluster.actors.session import ray_session
from polyneuron.cluster.actors.solo import SoloActor
from polyneuron.cluster.actors.stopping import Stopped, stoppable
from polyneuron.neuron_core.common.errors import ClusterError, SetError

pytestmark = pytest.mark.ray


class Counter:
    """Dies as often as a file says."""

    def __init__(self, deaths: str) -> None:
        self._deaths = Path(deaths)

    def answer(self, value: int) -> tuple[int, int]:
        left = int(self._deaths.read_text())
        if left:
            self._deaths.write_text(str(left - 1))
            os.kill(os.getpid(), 9)
        return value, os.getpid()

    def refuse(self) -> None:
        raise SetError("no such set")

    def fail(self) -> None:
        raise ZeroDivisionError("by zero")


class Hollow(Counter):
    """Loses a process of its own, as often as a file says."""

    def lives(self) -> bool:
        return False

    def answer(self, value: int) -> tuple[int, int]:
        left = int(self._deaths.read_text())
        if left:
            self._deaths.write_text(str(left - 1))
            raise RuntimeError("the core is dead")
        return value, os.getpid()


class Unstartable:
    """Fails for a reason people can mend."""

    def __init__(self) -> None:
        raise SetError("cannot start")


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    with ray_session(1):
        yield


def test_an_actor_that_lost_a_process_of_its_own_is_started_anew(session: None, tmp_path: Path) -> None:
    deaths, told = tmp_path / "deaths", list[str]()
    deaths.write_text("2")
    with SoloActor(Hollow, (str(deaths),), max_restarts=2, tell=told.append) as actor:
        assert actor.call("answer", 7)[0] == 7 and actor.n_restarts == 2
    assert len(told) == 2 and all("the core is dead" in line for line in told)


def test_a_call_survives_two_deaths(session: None, tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"
    deaths.write_text("2")
    with SoloActor(Counter, (str(deaths),), max_restarts=2) as actor:
        first = actor.call("answer", 7)
        assert first[0] == 7 and actor.n_restarts == 2
        assert actor.call("answer", 8) == (8, first[1])  # the same actor goes on


def test_too_many_deaths_end_with_one_message(session: None, tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"
    deaths.write_text("5")
    with (
        SoloActor(Counter, (str(deaths),), max_restarts=1) as actor,
        pytest.raises(ClusterError, match="Counter 2 times"),
    ):
        actor.call("answer", 7)


def test_errors_for_people_come_through(session: None, tmp_path: Path) -> None:
    (tmp_path / "deaths").write_text("0")
    with SoloActor(Counter, (str(tmp_path / "deaths"),)) as actor:
        with pytest.raises(SetError, match="no such set"):
            actor.call("refuse")
        with pytest.raises(ClusterError, match="ZeroDivisionError: by zero"):
            actor.call("fail")
        assert actor.call("answer", 1)[0] == 1
    with SoloActor(Unstartable, ()) as actor, pytest.raises(SetError, match="cannot start"):
        actor.call("anything")


def test_no_room_is_said_at_once_with_the_callers_way_out(session: None) -> None:
    with (
        pytest.raises(ClusterError) as raised,
        SoloActor(Counter, ("",), gpus=1, way_out="Ask less") as actor,
    ):
        actor.call("answer", 1)
    assert re.fullmatch(
        r"The cluster has no room for Counter of 1 CPU and 1 GPU on one node: its nodes have \d+ CPU and 0 GPU. Ask less",
        raised.value.message,
    )
    with (
        SoloActor(Counter, ("",), cpus=1000) as actor,  # the session may be another module's larger one
        pytest.raises(ClusterError, match=r"Counter of 1000 CPU and 0 GPU on one node.* Add"),
    ):
        actor.call("answer", 1)


class Sleeper:
    """Says where it is, then takes its time."""

    def nap(self, seconds: float) -> str:
        time.sleep(seconds)
        return os.environ["CUDA_VISIBLE_DEVICES"]


@pytest.mark.long
def test_who_finds_the_room_taken_waits_and_says_so(session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also: an actor that asked for no GPU sees none."""
    monkeypatch.setattr("polyneuron.cluster.actors.placement._TELL_AFTER_S", 0.0)
    cores, lines = int(ray.cluster_resources()["CPU"]), list[str]()
    with (
        SoloActor(Sleeper, (), cpus=cores) as first,
        SoloActor(Sleeper, (), cpus=1, tell=lines.append) as second,
    ):
        assert first.call("nap", 0) == ""
        leaves = threading.Timer(1.5, first.close)
        leaves.start()
        assert second.call("nap", 0) == ""
        leaves.join()
    assert len(lines) == 1
    assert re.match(
        rf"waiting for room for Sleeper .* 0 CPU and 0 GPU free on nodes of {cores} CPU", lines[0]
    )


def test_a_stopped_study_leaves_its_wait(session: None) -> None:
    with stoppable() as stop, SoloActor(Sleeper, ()) as actor, pytest.raises(Stopped):
        threading.Timer(1.0, stop.set).start()
        actor.call("nap", 100)

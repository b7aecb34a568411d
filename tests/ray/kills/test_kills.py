"""SIGKILLs of Ray's own processes, of workers, engine and driver: the same tables, clear messages, and nothing left."""

import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.ray.kills.series import KilledStudy, series
from tests.ray.kills.traces import KINDS
from tests.tiny_models import save_tiny_model

pytestmark = pytest.mark.ray


@pytest.mark.long
def test_a_detection_loses_ray_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ("gcs", "raylet")
    with tempfile.TemporaryDirectory(prefix="k", dir="/tmp") as folder:
        found = series(
            Path(folder), n_kills=2, seed=0, kinds=kinds, overrides=("training={}", "evaluation={}")
        )
    assert found.faults == []
    assert Counter(kill.kind for kill in found.kills) == Counter(kinds)
    assert all("has ended" in kill.said for kill in found.kills if kill.code)


@pytest.mark.long
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_while_the_second_session_starts_leaves_nothing(
    number: signal.Signals, code: int
) -> None:
    with tempfile.TemporaryDirectory(prefix="k", dir="/tmp") as folder:
        model = save_tiny_model(Path(folder) / "tiny", hidden_size=128, max_position_embeddings=4096)
        study = KilledStudy(Path(folder) / "s", model, 1, ("training={}",))
        process = study.start()
        while "starting vllm" not in study.said() and process.poll() is None:
            time.sleep(0.1)
        time.sleep(1)
        process.send_signal(number)
        process.wait(100)
        assert process.returncode == code and study.faults_of_end(code, {code}) == []
        assert study.traces.files() == []


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_sixty_kills_leave_the_tables_as_they_are_and_nothing_else() -> None:
    with tempfile.TemporaryDirectory(prefix="k", dir="/tmp") as folder:
        found = series(Path(folder), n_kills=60, seed=0)
    assert found.faults == []
    assert Counter(kill.kind for kill in found.kills) == Counter(dict.fromkeys(KINDS, 12))

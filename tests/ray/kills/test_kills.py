"""SIGKILLs of Ray's own processes, of workers, engine and driver: the same tables, clear messages, and nothing left."""

import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.ray.kills.series import series
from tests.ray.kills.traces import KINDS

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


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_sixty_kills_leave_the_tables_as_they_are_and_nothing_else() -> None:
    with tempfile.TemporaryDirectory(prefix="k", dir="/tmp") as folder:
        found = series(Path(folder), n_kills=60, seed=0)
    assert found.faults == []
    assert Counter(kill.kind for kill in found.kills) == Counter(dict.fromkeys(KINDS, 12))

"""Studies on a cluster of several Ray nodes that loses workers, nodes and drivers."""

import random
from pathlib import Path

import pytest

from polyneuron.eval.store.same_tables import first_difference
from polyneuron.eval.store.store import Store
from tests.ray import chaos
from tests.ray.nodes import nodes_up
from tests.tiny_models import save_tiny_model

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(3600)]


def test_twenty_random_kills_leave_the_tables_as_they_are(tmp_path: Path) -> None:
    found = chaos.chaos(tmp_path, n_kills=20, seed=0)
    assert found.difference is None, str(found.difference)
    assert len(found.kills) == 20 and {kill.kind for kill in found.kills} == set(chaos.KINDS)
    assert found.starts > sum(kill.kind == "driver" for kill in found.kills)


def test_a_study_over_two_nodes_loses_one_and_ends_well(tmp_path: Path) -> None:
    """Two workers on two nodes of one core; a third node has room for the one that is lost."""
    model = save_tiny_model(tmp_path / "tiny")
    with nodes_up(count=3, cpus=1) as nodes:
        chaos.undisturbed(nodes, tmp_path / "undisturbed", model)
        n_files = chaos.files_in(tmp_path / "undisturbed")
        kills, starts = chaos.disturbed(
            nodes, tmp_path / "disturbed", model, ["node"], random.Random(0), n_files
        )
    assert len(kills) == 1 and starts == 1, "the study itself goes on"
    assert 0 < kills[0].files < n_files
    said = (tmp_path / "disturbed" / "said").read_text("utf-8")
    assert "starting the workers anew" in said
    difference = first_difference(
        Store(tmp_path / "undisturbed" / "store"), Store(tmp_path / "disturbed" / "store")
    )
    assert difference is None, str(difference)


def test_workers_on_different_devices_are_refused(tmp_path: Path) -> None:
    """The second node stands for one with an older processor."""
    model = save_tiny_model(tmp_path / "tiny")
    with nodes_up(count=1, cpus=1) as nodes:
        nodes.add(ATEN_CPU_CAPABILITY="default")
        process = chaos.started(chaos.command(tmp_path / "study", model), nodes, tmp_path / "study")
        assert process.wait(600) == 2
    said = (tmp_path / "study" / "said").read_text("utf-8")
    assert "would compute on different devices" in said and "DEFAULT" in said and "Traceback" not in said

"""What is suggested where a stage does not fit: with it everything fits, and with less it does not."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from polyneuron.cluster.capacity.devices import parse_devices
from polyneuron.pipelines.config.load import with_overrides
from polyneuron.pipelines.plan.planning import plan
from tests.pipelines.plan.cases import large


@pytest.mark.parametrize("devices", ["8x80GB", "2x80GB", "2x141GB", "2x4xH100"])
def test_with_the_suggested_changes_everything_fits_and_with_fewer_it_does_not(
    devices: str, tmp_path: Path
) -> None:
    config, machines = large(tmp_path / "store"), parse_devices(devices)
    (before,) = plan(config, machines).models
    assert not before.fits and before.advice is not None
    changes = before.advice.together
    assert changes
    (after,) = plan(with_overrides(config, changes), machines).models
    assert after.fits, [one.missing for one in after.stages]
    for stage in before.stages:
        wanted = before.advice.by_stage.get(stage.stage.name)
        assert stage.fits == (wanted is None)
        for left_out in wanted or ():
            fewer = [change for change in wanted or () if change != left_out]
            try:
                changed = with_overrides(config, fewer)
            except ValidationError:
                continue  # two of them only make sense together
            (again,) = plan(changed, machines).models
            assert not next(one for one in again.stages if one.stage.name == stage.stage.name).fits


def test_where_nothing_helps_the_number_of_devices_is_said(tmp_path: Path) -> None:
    (row,) = plan(large(tmp_path / "store"), parse_devices("1x24GB")).models
    assert row.advice is not None and row.advice.by_stage["evaluation"] is None
    assert "evaluation" not in {one.stage.name for one in row.mended}
    assert row.advice.devices is not None and row.advice.devices > 1


def test_fewer_devices_fit_when_more_of_them_share_a_node(tmp_path: Path) -> None:
    """Four nodes of one GPU hold no engine of 70B; two GPUs of one node do."""
    evaluation = {
        "benchmarks": [{"name": "xnli"}],
        "engine": {"tensor_parallel": 4, "gpus": 4, "max_model_len": 1024, "max_num_seqs": 8},
    }
    config = large(tmp_path / "store", evaluation=evaluation, cluster={"world_size": 4, "gpus_per_worker": 1})
    (apart,) = plan(config, parse_devices("4x1xH100")).models
    (together,) = plan(config, parse_devices("4xH100")).models
    assert not apart.stages[-1].fits and together.stages[-1].fits
    assert apart.advice is not None and apart.advice.devices == 2


def test_an_engine_stays_within_a_node(tmp_path: Path) -> None:
    """Its ranks are one actor's: eight on two nodes of four are refused, and what is suggested instead has four at most."""
    (row,) = plan(large(tmp_path / "store"), parse_devices("2x4xH100")).models
    evaluation = row.stages[-1]
    assert "the engine is given 8 GPUs of one node, and a node has 4" in evaluation.missing
    assert row.advice is not None
    assert row.advice.by_stage["evaluation"] == (
        "evaluation.engine.tensor_parallel=4",
        "evaluation.engine.gpus=4",
    )
    engine = {"tensor_parallel": 4, "pipeline_parallel": 2, "gpus": 8}
    evaluated = {"benchmarks": [{"name": "xnli"}], "engine": engine}
    (row,) = plan(large(tmp_path / "store", evaluation=evaluated), parse_devices("2x4xH100")).models
    assert row.advice is not None
    assert row.advice.by_stage["evaluation"] == (
        "evaluation.engine.tensor_parallel=2",
        "evaluation.engine.gpus=4",
    )

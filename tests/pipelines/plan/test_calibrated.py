"""A measured layer takes the place of what was assumed, where the stage runs as it did."""

from pathlib import Path

import pytest
import torch

from polyneuron.cluster.capacity.devices import parse_devices
from polyneuron.neuron_core.common.errors import ClusterError
from polyneuron.pipelines.config.load import with_overrides
from polyneuron.pipelines.plan.planning import plan
from tests.pipelines.in_process import tiny_config
from tests.pipelines.plan.cases import large, layer_measured, rates_of


def test_calibration_replaces_the_assumed_rate(model: Path, tmp_path: Path) -> None:
    (row,) = plan(tiny_config(model, tmp_path / "store"), calibrated=True).models
    assert row.measured is not None and row.measured.flops_per_s > 0
    rates = rates_of(row)["detection"]
    assert rates.flops_per_s == row.measured.flops_per_s
    assert rates.origin["flops_per_s"].startswith("measured")


def test_a_measured_rate_goes_with_the_threads_and_is_of_its_dtype(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = layer_measured(on_gpu=False, flops_per_s=1e10)
    monkeypatch.setattr("polyneuron.pipelines.plan.planning.calibrate", lambda *_, **__: measured)
    evaluation = {"benchmarks": [{"name": "xnli"}], "engine": {"threads": 16}}
    config = large(tmp_path / "store", cluster={"threads_per_worker": 2}, evaluation=evaluation)
    own = torch.get_num_threads()
    (row,) = plan(config, parse_devices("8x80GB"), calibrated=True).models
    assert torch.get_num_threads() == own
    rates = rates_of(row)
    assert (rates["detection"].flops_per_s, rates["evaluation"].flops_per_s) == (1e10, 8e10)
    other = with_overrides(config, ["models.0.dtype=float32"])
    (row,) = plan(other, parse_devices("8x80GB"), calibrated=True).models
    assert rates_of(row)["detection"].origin["flops_per_s"].startswith("assumed")


def test_calibration_needs_the_device_it_is_for(model: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ClusterError, match="no GPU here"):
        plan(tiny_config(model, tmp_path / "store", cluster={"gpus_per_worker": 1}), calibrated=True)


def test_advice_rests_on_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A micro-batch that takes 400 times what is planned must be halved; fewer ranks, which cost less, would not help."""
    measured = layer_measured(detection_memory=400.0)
    monkeypatch.setattr("polyneuron.pipelines.plan.planning.calibrate", lambda *_, **__: measured)
    config, machines = large(tmp_path / "store"), parse_devices("8x80GB")
    (without,) = plan(config, machines).models
    (row,) = plan(config, machines, calibrated=True).models
    taken = [one.stages[0].stage.phases[-1].device["activations"] for one in (without, row)]
    assert taken[1] == 400 * taken[0] and without.stages[0].fits and not row.stages[0].fits
    assert row.advice is not None and row.advice.by_stage["detection"] == ("detection.batch_size=4",)
    assert row.mended[0].stage.name == "detection"
    rates = rates_of(row)["detection"]
    assert rates.flops_per_s == 2e14
    assert rates.score_slowdown == rates_of(without)["detection"].score_slowdown


def test_what_a_gpu_takes_is_not_said_of_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = layer_measured(score_slowdown=9.0, detection_memory=400.0)
    monkeypatch.setattr("polyneuron.pipelines.plan.planning.calibrate", lambda *_, **__: measured)
    config = large(tmp_path / "store", cluster={"world_size": 1, "threads_per_worker": 8})
    (row,), (without,) = (plan(config, parse_devices("8x80GB"), c).models for c in (True, False))
    assert row.stages[0] == without.stages[0]

"""Plans that several tests look at, and what they are asked for."""

from pathlib import Path
from typing import Any

from polyneuron.cluster.capacity.calibration import LayerMeasurement
from polyneuron.cluster.capacity.rates import Rates
from polyneuron.pipelines.config.study import StudyConfig
from polyneuron.pipelines.plan.planning import ModelPlan, plan

SHAPES = Path(__file__).parents[2] / "shapes"


def layer_measured(**values: Any) -> LayerMeasurement:
    """What calibrating says, but for `values`."""
    plain = {"on_gpu": True, "flops_per_s": 2e14, "score_slowdown": None, "detection_memory": 1.0}
    return LayerMeasurement(device="a device", dtype="bfloat16", **plain | values)


def rates_of(row: ModelPlan) -> dict[str, Rates]:
    return {planned.stage.name: planned.rates for planned in row.stages}


def planned(config: StudyConfig) -> ModelPlan:
    """The plan of its only model, for this machine."""
    (row,) = plan(config).models
    return row


def large(store: Path, **sections: object) -> StudyConfig:
    """Llama-3.1-70B with every stage, on eight GPUs."""
    values: dict[str, object] = {
        "models": [{"path": str(SHAPES / "llama-3.1-70b"), "name": "70B", "dtype": "bfloat16"}],
        "languages": ["en", "sw"],
        "corpus": {"n_detection": 1000, "n_heldout": 200, "max_tokens": 64},
        "training": {"languages": ["sw"], "strategies": ["shared"]},
        "evaluation": {"benchmarks": [{"name": "xnli"}], "engine": {"tensor_parallel": 8, "gpus": 8}},
        "cluster": {"world_size": 8, "gpus_per_worker": 1},
        "store": str(store),
        **sections,
    }
    return StudyConfig.model_validate(values)

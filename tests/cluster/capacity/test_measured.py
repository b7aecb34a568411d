"""The plan against the peaks that were measured (docs/benchmarks.md): every case within 15%.

`python -m bench.capacity` measures them again; these are its figures, so that a change of a formula is seen without it.
"""

from typing import Any

import pytest
from transformers import Gemma3TextConfig

from bench.capacity import DTYPES, VOCABULARY, planned_bytes
from bench.models import llama_config
from polyneuron.cluster.capacity.shape import ModelShape, shape_of
from polyneuron.cluster.memory import MIB

PASSES = ("loading", "detection", "perplexity", "activations")
TRAININGS = ("training, 2", "training, 3")
MEASURED_MIB: dict[tuple[str, int], dict[str, int]] = {
    ("SmolLM2-135M", 1): dict(
        zip((*PASSES, *TRAININGS, "engine"), (1081, 1328, 1339, 1334, 1873, 1897, 3232), strict=True)
    ),
    ("SmolLM2-135M", 2): dict(zip((*PASSES, *TRAININGS), (825, 1083, 1090, 1083, 1862, 2213), strict=True)),
    ("Gemma-3-270M", 1): dict(
        zip((*PASSES, *TRAININGS, "engine"), (1594, 2934, 2972, 2972, 2293, 2329, 7205), strict=True)
    ),
    ("Gemma-3-270M", 2): dict(zip((*PASSES, *TRAININGS), (1082, 2410, 2446, 2441, 2297, 3050), strict=True)),
    ("llama-1B", 1): dict(zip(PASSES, (5281, 7340, 7396, 7402), strict=True)),
    ("llama-1B", 2): dict(zip(PASSES, (2924, 5013, 5055, 5036), strict=True)),
    ("llama-3B", 1): dict(zip(PASSES, (6697, 8369, 8378, 8300), strict=True)),
    ("llama-3B", 2): dict(zip(PASSES, (3632, 5336, 5344, 5277), strict=True)),
}
"""By model and ranks: the peak resident MiB of the fullest rank, by stage."""


def shape(name: str) -> ModelShape:
    """The published shape of a model, without its weights."""
    if name in DTYPES:
        return shape_of(llama_config(name, VOCABULARY), DTYPES[name])
    config: Any = llama_config("llama-135M", 49_152)
    if name == "Gemma-3-270M":
        config = Gemma3TextConfig(
            vocab_size=262_144,
            hidden_size=640,
            intermediate_size=2048,
            num_hidden_layers=18,
            num_attention_heads=4,
            num_key_value_heads=1,
            head_dim=256,
        )
    return shape_of(config, "float32")


def test_all_figures_are_here() -> None:
    assert sum(map(len, MEASURED_MIB.values())) == 42


@pytest.mark.parametrize(("name", "ranks"), MEASURED_MIB)
def test_every_measured_peak_was_planned_within_15_percent(name: str, ranks: int) -> None:
    planned = planned_bytes(shape(name), ranks)
    ratios = {stage: planned[stage] / MIB / mib for stage, mib in MEASURED_MIB[name, ranks].items()}
    print(name, ranks, {stage: f"{planned[stage] / MIB:.0f}: {ratio:.2f}" for stage, ratio in ratios.items()})
    assert all(0.85 <= ratio <= 1.15 for ratio in ratios.values()), ratios

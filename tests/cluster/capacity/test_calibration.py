"""One layer measured, against what is planned of it."""

from dataclasses import replace
from typing import Any

import pytest
from transformers import LlamaConfig

from polyneuron.cluster.capacity.calibration import calibrate
from polyneuron.cluster.capacity.passes import Corpus, Detection
from polyneuron.cluster.capacity.shape import shape_of

CONFIG: Any = LlamaConfig(
    vocab_size=24_000,
    hidden_size=512,
    intermediate_size=2048,
    num_hidden_layers=8,
    num_attention_heads=8,
    num_key_value_heads=4,
)
CORPUS = Corpus(n_sentences=100, n_tokens=64, batch=8)
CERTIFIED = Detection(("q", "k", "v", "ffn"), certified=True, floor_fraction=0.03)


@pytest.mark.parametrize("certified", [True, False])
def test_the_memory_of_a_micro_batch_is_nearly_the_planned_one(certified: bool) -> None:
    shape, detection = shape_of(CONFIG, "float32"), replace(CERTIFIED, certified=certified)
    measured = calibrate(CONFIG, shape, "float32", CORPUS, detection, on_gpu=False)
    assert 0.5 <= measured.detection_memory < 3  # in a process that has run other things, too
    assert measured.flops_per_s > 0 and not measured.on_gpu
    assert measured.score_slowdown is not None and measured.score_slowdown >= 1


def test_where_no_attention_scores_change_no_slowdown_is_measured() -> None:
    shape, detection = shape_of(CONFIG, "float32"), replace(CERTIFIED, groups=("v", "ffn"))
    assert calibrate(CONFIG, shape, "float32", CORPUS, detection, on_gpu=False).score_slowdown is None

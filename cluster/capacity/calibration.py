"""One layer of the model's shape with random weights, run on the device at hand: what it takes, in place of assumptions."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from polyneuron.cluster.capacity.passes import (
    CANDIDATE_SPREAD,
    Corpus,
    Detection,
    detection_phases,
    forward_flops,
    score_flops,
)
from polyneuron.cluster.capacity.placing import Placing
from polyneuron.cluster.capacity.shape import ModelShape
from polyneuron.cluster.memory import give_back_freed, peak_resident_bytes, reset_peak, resident_bytes
from polyneuron.neuron_core.common.errors import ClusterError
from polyneuron.neuron_core.model.groups import SCORE_GROUPS

_REPEATS, _VOCABULARY = 3, 512
_HELD_BEFORE = ("libraries", "shard", "embedding, whole", "gather staging")
"""Of a phase, what is there before the run, or not at all in one process."""
_LEAST_MEMORY = 0.5
"""A small layer may fit in pages that are resident anyway."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerMeasurement:
    """What one layer took on a device."""

    device: str
    """In words."""
    on_gpu: bool
    """Whether it is a GPU."""
    dtype: str
    """Of the weights."""
    flops_per_s: float
    """Of a plain forward."""
    score_slowdown: float | None
    """Of an operation on attention scores beside a plain one; None where neither q nor k is measured."""
    detection_memory: float
    """The peak of detecting in one micro-batch, without weights, over what is planned for it."""


def calibrate(
    hf_config: Any, shape: ModelShape, dtype: str, corpus: Corpus, detection: Detection, *, on_gpu: bool
) -> LayerMeasurement:
    """Runs a layer over one micro-batch of `corpus`, forward and with its neurons measured. Memory is that of the mode:
    certified detection measures as many of q and k as `floor_fraction` leaves. The slowdown is that of all of them, among
    which the work on attention scores stands out. Peaks on a CPU are those of this process: run it where little else is held,
    with as many threads as a worker has. Raises ClusterError when a GPU is planned with and there is none here."""
    import torch

    from polyneuron.neuron_core.impacts.detect import detection_pass
    from polyneuron.neuron_core.passes.batches import MicroBatch, Sentence
    from polyneuron.neuron_core.passes.layer_major import LayerMajor

    if on_gpu and not torch.cuda.is_available():
        raise ClusterError(
            "--calibrate measures on the device that will compute, and there is no GPU here: run it on a node that has "
            "one, or plan without"
        )
    device = torch.device("cuda" if on_gpu else "cpu")
    give_back_freed()
    runner = LayerMajor(_one_layer(hf_config, dtype, device))
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, _VOCABULARY, (corpus.batch, corpus.n_tokens), generator=generator).tolist()
    batch = MicroBatch(tuple(Sentence("x", i, tuple(row)) for i, row in enumerate(ids)))
    candidates = {
        (0, group): torch.arange(max(1, int(detection.floor_fraction * shape.width(group))))
        for group in detection.groups
        if group in SCORE_GROUPS
    }

    def detecting(groups: tuple[str, ...], candidates: Any = None) -> Callable[[], Any]:
        return lambda: detection_pass(runner, [batch], groups, candidates)

    plain_s = _seconds(lambda: runner.run_layer(0, runner.begin(batch)), device)
    layer, once = replace(shape, n_layers=1), replace(corpus, n_sentences=corpus.batch)
    flops_per_s = forward_flops(layer, once, with_head=False) / plain_s
    on_scores, slowdown = score_flops(layer, once, replace(detection, certified=False)), None
    if on_scores:
        others = tuple(group for group in detection.groups if group not in SCORE_GROUPS)
        rest_s = _seconds(detecting(others), device) if others else plain_s
        all_s = _seconds(detecting(detection.groups), device)
        slowdown = max(1.0, (all_s - rest_s) * flops_per_s / on_scores)
    # The plan is for the layer with the most candidates; this one has as many as the average.
    average = replace(detection, floor_fraction=detection.floor_fraction / CANDIDATE_SPREAD)
    detect = detecting(detection.groups, candidates if detection.certified else None)
    detect()  # what runs once for all
    phases = detection_phases(Placing(shape=layer, on_gpu=on_gpu), once, average)
    held = [phase.device if on_gpu else phase.host for phase in phases]
    planned = max(sum(n for name, n in parts.items() if name not in _HELD_BEFORE) for parts in held)
    threads = f"this CPU, {torch.get_num_threads()} threads"
    return LayerMeasurement(
        device=torch.cuda.get_device_name() if on_gpu else threads,
        on_gpu=on_gpu,
        dtype=dtype,
        flops_per_s=flops_per_s,
        score_slowdown=slowdown,
        detection_memory=max(_LEAST_MEMORY, _peak_bytes(detect, device) / planned),
    )


def _one_layer(hf_config: Any, dtype: str, device: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    from polyneuron.neuron_core.model.anatomy import anatomy_of

    text = copy.deepcopy(hf_config.get_text_config())
    text.num_hidden_layers, text.vocab_size = 1, _VOCABULARY
    text.pad_token_id = None
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:1]
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(
            text, dtype=getattr(torch, dtype), attn_implementation=anatomy_of(text).attention_implementation
        )
    return model.eval().requires_grad_(False)


def _seconds(run: Callable[[], Any], device: Any) -> float:
    """The fastest of some runs after one of warm-up."""
    import torch

    seconds = []
    for _ in range(1 + _REPEATS):
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def _peak_bytes(run: Callable[[], Any], device: Any) -> int:
    """The peak of a run above what was held before; what runs once for all has run."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    give_back_freed()  # else it would be used again, and not seen
    reset_peak()
    before = resident_bytes()
    run()
    return peak_resident_bytes() - before

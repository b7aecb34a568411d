"""One layer of the model's shape with random weights, run on the device at hand: what it takes, in place of assumptions."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any

from cluster.capacity.passes import Corpus, Detection
from cluster.capacity.shape import ModelShape
from neuron_core.errors import ClusterError

_REPEATS, _VOCABULARY = 3, 512


@dataclass(frozen=True)
class Measured:
    """device: in words; flops_per_s: of a plain forward; detection_flops_per_s: of certified detection's second pass, by the
    operations of its forward alone; forward_bytes, detection_bytes: the peak over one micro-batch, without weights."""

    device: str
    flops_per_s: float
    score_slowdown: float
    forward_bytes: int
    detection_bytes: int


def calibrate(
    hf_config: Any, shape: ModelShape, dtype: str, corpus: Corpus, detection: Detection, on_gpu: bool
) -> Measured:
    """Runs a layer over one micro-batch of `corpus`, forward and with all its neurons measured.

    Peaks on a CPU are those of this process: run it where little else is held, with as many threads as a worker has.

    Raises:
        ClusterError: a GPU is planned with, and there is none here.
    """
    import torch

    from neuron_core.batches import MicroBatch, Sentence
    from neuron_core.detect import detection_pass
    from neuron_core.layer_major import LayerMajor

    if on_gpu and not torch.cuda.is_available():
        raise ClusterError(
            "--calibrate measures on the device that will compute, and there is no GPU here: run it on a node that has "
            "one, or plan without"
        )
    device = torch.device("cuda" if on_gpu else "cpu")
    model = _one_layer(hf_config, dtype, device)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, _VOCABULARY, (corpus.batch, corpus.n_tokens), generator=generator).tolist()
    batch = MicroBatch(tuple(Sentence("x", i, tuple(row)) for i, row in enumerate(ids)))
    runner = LayerMajor(model)
    candidates = {
        (0, group): torch.arange(max(1, int(detection.floor_fraction * shape.width(group))))
        for group in detection.groups
        if group in ("q", "k")
    }

    def forward() -> None:
        runner.run_layer(0, runner.begin(batch))

    def detect() -> None:
        detection_pass(runner, [batch], detection.groups, candidates if detection.certified else None)

    plain_s, plain_bytes = _measured(forward, device)
    detect_s, detect_bytes = _measured(detect, device)
    n_flops = (
        corpus.batch
        * corpus.n_tokens
        * (2 * shape.layer_parameters + 4 * shape.query_width * corpus.n_tokens)
    )
    pairs = sum(
        2 * corpus.n_tokens**2 * shape.head_dim * 5 / 8 for group in detection.groups if group in ("q", "k")
    )
    share = detection.floor_fraction if detection.certified else 1.0
    score_flops = max(1.0, corpus.batch * share * pairs * shape.query_width)
    flops_per_s = n_flops / plain_s
    slowdown = max(1.0, (detect_s - plain_s) * flops_per_s / score_flops)
    return Measured(str(_name(device)), flops_per_s, slowdown, plain_bytes, detect_bytes)


def _one_layer(hf_config: Any, dtype: str, device: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    from neuron_core.models import attention_of

    text = copy.deepcopy(hf_config.get_text_config())
    text.num_hidden_layers, text.vocab_size = 1, _VOCABULARY
    text.pad_token_id = None
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:1]
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(
            text, dtype=getattr(torch, dtype), attn_implementation=attention_of(text)
        )
    return model.eval().requires_grad_(False)


def _measured(run: Any, device: Any) -> tuple[float, int]:
    """(seconds, the fastest of some runs after one of warm-up; bytes of the peak above what was held before)."""
    import torch

    from cluster.memory import peak_resident_bytes, reset_peak, resident_bytes

    seconds, on_gpu = [], device.type == "cuda"
    run()
    for _ in range(_REPEATS):
        if on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        else:
            reset_peak()
            before = resident_bytes()
        began = time.perf_counter()
        run()
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
        peak = torch.cuda.max_memory_allocated() if on_gpu else peak_resident_bytes()
    return min(seconds), peak - before


def _name(device: Any) -> str:
    import torch

    return (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"this CPU, {torch.get_num_threads()} threads"
    )

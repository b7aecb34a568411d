"""What all questions share: the scale, random models and sentences, and how a run is measured."""

import gc
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM

from bench.models import llama_config
from polyneuron.neuron_core.passes.batches import MicroBatch, Sentence, micro_batches
from tests.tiny_models import token_ids

Case = dict[str, Any]
"""What was measured of one case of a question: names and figures, in the units that the names say."""


@dataclass(frozen=True)
class Scale:
    """The widths of an 8B model on a GPU, and tiny ones on a CPU."""

    device: torch.device

    @property
    def on_gpu(self) -> bool:
        """Whether there are kernel launches and device memory to look at."""
        return self.device.type == "cuda"

    def either(self, wide: Any, tiny: Any) -> Any:
        """One of two sizes, by the scale."""
        return wide if self.on_gpu else tiny

    def model(self, n_layers: int, dtype: torch.dtype = torch.bfloat16, vocabulary: int | None = None) -> Any:
        """A frozen Llama of this scale's widths with random weights, made where it runs."""
        name, words = self.either(("llama-8B", 4096), ("tiny", 97))
        fields: dict[str, Any] = dict(num_hidden_layers=n_layers, tie_word_embeddings=False)
        config = llama_config(name, vocabulary or words, **fields)
        torch.manual_seed(0)
        with self.device:
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
        return model.eval().requires_grad_(False)

    def batches(self, n_tokens: int, n: int) -> list[MicroBatch]:
        """`n` micro-batches of 8 (tiny: 2) random sentences of `n_tokens`."""
        size = self.either(8, 2)
        ids = token_ids([n_tokens] * (n * size))
        return micro_batches([Sentence("x", i, tuple(row)) for i, row in enumerate(ids)], size)

    def measured(self, run: Callable[[], Any]) -> Case:
        """seconds of `run`; on a GPU peak_bytes allocated, and extra_bytes of them that were not before, else None."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() if self.on_gpu else 0

        def once() -> float:
            began = time.perf_counter()
            run()
            if self.on_gpu:
                torch.cuda.synchronize()
            return time.perf_counter() - began

        seconds = once()
        if self.on_gpu and seconds < 3:  # a longer first run is the measurement; a shorter one warms up
            seconds = statistics.median(once() for _ in range(3))
        peak = torch.cuda.max_memory_allocated() if self.on_gpu else None
        return {"seconds": seconds, "peak_bytes": peak, "extra_bytes": peak and peak - before}

    def launched(self, run: Callable[[], Any]) -> Case:
        """operators of a `run`; on a GPU also its launches, and syncs by the eight lines where the host waits most often."""
        run()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.on_gpu else [])]
        with profile(activities=activities) as trace:
            run()
        events = trace.key_averages()
        operators = sum(event.count for event in events if event.key.startswith("aten::"))
        if not self.on_gpu:
            return {"operators": operators, "launches": None, "syncs": None}
        launches = sum(event.count for event in events if "LaunchKernel" in event.key)
        with warnings.catch_warnings(record=True) as caught, ExitStack() as after:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            after.callback(torch.cuda.set_sync_debug_mode, "default")
            run()
        syncs = [warning for warning in caught if "synchronizing" in str(warning.message)]
        places = Counter(f"{Path(warning.filename).name}:{warning.lineno}" for warning in syncs)
        return {"operators": operators, "launches": launches, "syncs": dict(places.most_common(8))}

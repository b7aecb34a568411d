"""What training 0.5% of the neurons costs: compact tensors against masked full gradients and against LoRA.

python -m bench.training            SmolLM2-135M
python -m bench.training --sizes    random Llamas of 135M, 360M, 680M and 1B parameters, as far as memory allows

Each method runs in its own process, so that its peak resident memory is its own. All use float32, AdamW in one fused
kernel (lr 1e-4, weight decay 0.1) and the same batches of 4 x 128 tokens; 5 timed steps after 2 of warm-up (random
Llamas: 3 after 1). Compact training computes its loss in chunks, as Polyneuron does; the others use the model's own. CPU
seconds are what to compare on a machine that other work shares.
"""

import argparse
import io
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from bench.measuring import print_row, rows_of_process
from bench.models import LLAMAS, llama_config, random_neurons, smollm2
from polyneuron.cluster.memory import peak_resident_bytes, resident_bytes
from polyneuron.neuron_core.edits.targets import targets
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.training.loop.head_loss import summed_head_loss
from polyneuron.neuron_core.training.loop.recompute import recompute_layers
from polyneuron.neuron_core.training.trainable.compact import CompactNeurons

SHARE, BATCH, N_TOKENS = 0.005, 4, 128
LR, DECAY = 1e-4, 0.1
SIZES = ("llama-135M", "llama-360M", "llama-680M", "llama-1B")
"""Of `LLAMAS`; all with SmolLM2's vocabulary, tied."""
VOCABULARY = 49_152
SPARE_BYTES = 3 << 30
"""Left free when deciding whether a random model fits beside what else runs."""


def main() -> None:
    """Prints one table a model; ratios are against masked full AdamW."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", nargs="*", choices=SIZES, help="random Llamas (default: all)")
    parser.add_argument("--run", nargs=2, metavar=("MODEL", "METHOD"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print_row(measure(*arguments.run))
        return
    for name in SIZES if arguments.sizes == [] else arguments.sizes or ("SmolLM2-135M",):
        _report(name)


def _report(name: str) -> None:
    if (needed := _needed_bytes(name)) > psutil.virtual_memory().available - SPARE_BYTES:
        print(f"{name}: skipped, masked AdamW needs about {needed / 2**30:.0f} GiB and less is free")
        return
    # Without the threshold the allocator keeps freed blocks, and the peak says little about what is held.
    rows: dict[str, dict[str, Any]] = {}
    for method in _TRAINERS:
        threshold = {"MALLOC_MMAP_THRESHOLD_": "1000000"}
        (rows[method],) = rows_of_process("bench.training", name, method, **threshold)
    masked = rows["masked"]
    print(f"{name}: {masked['n_parameters'] / 1e6:.0f}M parameters, {BATCH} x {N_TOKENS} tokens, float32")
    for method, row in rows.items():
        wall, cpu = median(row["seconds"]), median(row["cpu_seconds"])
        print(
            f"{method:24} trainable {row['n_trainable']:>11,}  peak {row['peak_bytes'] / 2**20:6.0f} MiB "
            f"({row['peak_bytes'] / masked['peak_bytes']:.2f}x)  without the process and the weights "
            f"{_extra(row) / 2**20:6.0f} MiB ({_extra(row) / _extra(masked):.2f}x)  step {wall:.2f} s "
            f"({wall / median(masked['seconds']):.2f}x), {cpu:.2f} CPU s "
            f"({cpu / median(masked['cpu_seconds']):.2f}x)  checkpoint "
            f"{row['checkpoint_bytes'] / 2**20:.1f} MiB ({row['checkpoint_bytes'] / masked['checkpoint_bytes']:.2%})  "
            f"loss {row['losses'][0]:.4f} to {row['losses'][-1]:.4f}"
        )


def _extra(row: dict[str, Any]) -> int:
    return int(row["peak_bytes"] - row["start_bytes"] - row["weight_bytes"])


def measure(name: str, method: str) -> dict[str, Any]:
    """Trains in this process; bytes, seconds of the timed steps, losses in nats."""
    disable_progress_bar()
    start_bytes = resident_bytes()
    model = _model(name)
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    weight_bytes = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    trainer: Any = _TRAINERS[method](
        model, random_neurons(anatomy_of(model), lambda width: round(SHARE * width))
    )
    generator = torch.Generator().manual_seed(0)
    seconds, cpu_seconds, losses = [], [], []
    n_warm, n_timed = (1, 3) if name in SIZES else (2, 5)
    for _ in range(n_warm + n_timed):
        ids = torch.randint(100, 40_000, (BATCH, N_TOKENS), generator=generator)
        began, cpu_began = time.perf_counter(), time.process_time()
        loss = trainer.loss(ids)
        loss.backward()
        trainer.step()
        seconds.append(time.perf_counter() - began)
        cpu_seconds.append(time.process_time() - cpu_began)
        losses.append(loss.item())
        del loss
    peak_bytes = peak_resident_bytes()
    checkpoint = io.BytesIO()
    torch.save({"trained": trainer.trained, "optimizer": trainer.optimizer.state_dict()}, checkpoint)
    return {
        "n_parameters": n_parameters,
        "n_trainable": trainer.n_trainable,
        "start_bytes": start_bytes,
        "weight_bytes": weight_bytes,
        "peak_bytes": peak_bytes,
        "checkpoint_bytes": checkpoint.tell(),
        "seconds": seconds[n_warm:],
        "cpu_seconds": cpu_seconds[n_warm:],
        "losses": losses,
    }


class _Trainer:
    """AdamW on some parameters, and the model's own loss, with the logits of the whole batch."""

    def __init__(self, model: Any, trained: dict[str, nn.Parameter], decay: float = DECAY) -> None:
        self.model, self.trained = model, trained
        self.n_trainable = sum(parameter.numel() for parameter in trained.values())
        self.optimizer = torch.optim.AdamW(trained.values(), LR, weight_decay=decay, fused=True)

    def loss(self, ids: Tensor) -> Any:
        return self.model(input_ids=ids, labels=ids, use_cache=False).loss

    def step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()


class _Compact(_Trainer):
    """Rows and columns of the neurons as small tensors; logits in chunks. recomputed: share of the layers that are computed
    again in the backward pass."""

    def __init__(self, model: Any, neurons: Any, recomputed: float = 0.0) -> None:
        compact = CompactNeurons(model, neurons)
        self._attached = compact.attached()
        self._attached.__enter__()
        recompute_layers(model, recomputed)
        super().__init__(model, compact.trained)

    def loss(self, ids: Tensor) -> Any:
        hidden = self.model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        labels = ids[:, 1:].flatten()
        return summed_head_loss(self.model, hidden[:, :-1].flatten(0, 1), labels) / len(labels)


class _Masked(_Trainer):
    """The published way: gradients of all parameters, zeroed outside the neurons; AdamW over the full model, or at its leanest
    with moments of the matrices that hold chosen neurons only. Decay goes to the chosen entries by hand, so no mask and no
    copy of the weights is kept."""

    def __init__(self, model: Any, neurons: Any, lean: bool = False) -> None:
        parameters = dict(model.requires_grad_(True).named_parameters())
        self._owned = [(parameters[t.name], t) for t in targets(neurons, anatomy_of(model)).values()]
        touched = {t.name: parameters[t.name] for _, t in self._owned}
        self._stepped = touched if lean else parameters
        super().__init__(model, self._stepped, decay=0)
        self.trained = touched
        self.n_trainable = sum(p.numel() // p.shape[t.axis] * len(t.index) for p, t in self._owned)

    @torch.no_grad()
    def step(self) -> None:
        for name in self._stepped.keys() - self.trained.keys():
            self._stepped[name].grad.zero_()  # type: ignore[union-attr]
        for parameter, target in self._owned:  # in Llama no two groups share a matrix
            assert parameter.grad is not None
            kept = parameter.grad.index_select(target.axis, target.index)
            parameter.grad.zero_().index_copy_(target.axis, target.index, kept)
            own = parameter.index_select(target.axis, target.index)
            parameter.index_copy_(target.axis, target.index, own.mul_(1 - LR * DECAY))
        self.optimizer.step()
        self.model.zero_grad(set_to_none=True)


def _lora(model: Any, neurons: Any) -> _Trainer:
    """Low-rank updates of the same matrices, of the rank whose size is nearest to the neurons'."""
    from peft import LoraConfig, get_peft_model

    names = ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "down_proj"]
    per_rank = sum(sum(p.shape) for n, p in model.named_parameters() if n.split(".")[-2] in names)
    rank = max(1, round(CompactNeurons(model, neurons).n_trainable / per_rank))
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names, task_type="CAUSAL_LM")
    adapted: Any = get_peft_model(model, config).train()
    return _Trainer(adapted, {name: p for name, p in adapted.named_parameters() if p.requires_grad})


_TRAINERS: dict[str, Callable[[Any, Any], _Trainer]] = {
    "compact": _Compact,
    "compact, 0.3 recomputed": partial(_Compact, recomputed=0.3),
    "compact, all recomputed": partial(_Compact, recomputed=1.0),
    "masked": _Masked,
    "masked, lean moments": partial(_Masked, lean=True),
    "lora": _lora,
}


def _model(name: str) -> Any:
    if name not in SIZES:
        return load_model(smollm2())[0]
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(llama_config(name, VOCABULARY))
    return model.eval().requires_grad_(False)


def _needed_bytes(name: str) -> int:
    """Weights, gradients and two moments in float32, and roughly the activations, of masked AdamW."""
    if name not in SIZES:
        return 0
    d, i, layers, heads, kv_heads = LLAMAS[name]
    kv = d * kv_heads // heads
    matrices = layers * (2 * d * d + 2 * d * kv + 3 * d * i)
    activations = BATCH * N_TOKENS * (layers * (14 * d + 5 * i) + 4 * VOCABULARY)
    return 16 * (matrices + VOCABULARY * d) + 4 * activations


if __name__ == "__main__":
    main()

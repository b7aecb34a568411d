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
import json
import os
import subprocess
import sys
import time
from statistics import median
from typing import Any

from bench.models import random_neurons
from polyneuron.cluster.memory import peak_resident_bytes, resident_bytes

SHARE, BATCH, N_TOKENS = 0.005, 4, 128
LR, DECAY = 1e-4, 0.1
_FIELDS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)
LLAMAS = {
    "llama-135M": (576, 1536, 30, 9, 3),
    "llama-360M": (960, 2560, 32, 15, 5),
    "llama-680M": (1536, 4096, 24, 24, 8),
    "llama-1B": (2048, 8192, 16, 32, 8),
}
"""`_FIELDS` of SmolLM2-135M, SmolLM2-360M, one between, and Llama-3.2-1B; all with SmolLM2's vocabulary of 49,152, tied."""
SPARE_BYTES = 3 << 30
"""Left free when deciding whether a random model fits beside what else runs."""


def main() -> None:
    """Prints one table a model; ratios are against masked full AdamW."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", nargs="*", choices=LLAMAS, help="random Llamas (default: all)")
    parser.add_argument("--run", nargs=2, metavar=("MODEL", "METHOD"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sizes == []:
        arguments.sizes = list(LLAMAS)
    if arguments.run:
        print(json.dumps(measure(*arguments.run)))
        return
    for name in arguments.sizes or ("SmolLM2-135M",):
        _report(name)


def _report(name: str) -> None:
    import psutil

    if (needed := _needed_bytes(name)) > psutil.virtual_memory().available - SPARE_BYTES:
        print(f"{name}: skipped, masked AdamW needs about {needed / 2**30:.0f} GiB and less is free")
        return
    found = {}
    for method in _TRAINERS:
        command = [sys.executable, "-m", "bench.training", "--run", name, method]
        # Without it the allocator keeps freed blocks, and the peak says little about what is held.
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}
        output = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=environment
        ).stdout
        found[method] = json.loads(output.splitlines()[-1])
    masked = found["masked"]
    print(f"{name}: {masked['n_parameters'] / 1e6:.0f}M parameters, {BATCH} x {N_TOKENS} tokens, float32")
    for method, row in found.items():
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
    import torch
    from transformers.utils.logging import disable_progress_bar

    from polyneuron.neuron_core.model.anatomy import anatomy_of

    disable_progress_bar()
    start_bytes = resident_bytes()
    model = _model(name)
    anatomy = anatomy_of(model)
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    weight_bytes = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    trainer: Any = _TRAINERS[method](model, random_neurons(anatomy, SHARE))
    generator = torch.Generator().manual_seed(0)
    seconds, cpu_seconds, losses = [], [], []
    n_warm, n_timed = (1, 3) if name in LLAMAS else (2, 5)
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
    torch.save({"trained": trainer.trained(), "optimizer": trainer.optimizer.state_dict()}, checkpoint)
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


class _Compact:
    """Rows and columns of the neurons as small tensors; logits in chunks."""

    def __init__(self, model: Any, neurons: Any) -> None:
        import torch

        from polyneuron.neuron_core.training.trainable.compact import CompactNeurons

        self.model, self._compact = model, CompactNeurons(model, neurons)
        self._attached = self._compact.attached()
        self._attached.__enter__()
        self.n_trainable = self._compact.n_trainable
        self.optimizer = torch.optim.AdamW(self._compact.trained.values(), LR, weight_decay=DECAY, fused=True)

    def loss(self, ids: Any) -> Any:
        from polyneuron.neuron_core.training.loop.head_loss import summed_head_loss

        hidden = self.model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        labels = ids[:, 1:].flatten()
        return summed_head_loss(self.model, hidden[:, :-1].flatten(0, 1), labels) / len(labels)

    def step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()

    def trained(self) -> dict[str, Any]:
        return self._compact.trained


class _PartRecomputed(_Compact):
    """As `_Compact`; three layers of ten are computed again in the backward pass."""

    share = 0.3

    def __init__(self, model: Any, neurons: Any) -> None:
        from polyneuron.neuron_core.training.loop.recompute import recompute_layers

        super().__init__(model, neurons)
        recompute_layers(model, self.share)


class _Recomputed(_PartRecomputed):
    """All layers."""

    share = 1.0


class _WithOwnLoss:
    """The model's own loss, with the logits of the whole batch."""

    model: Any

    def loss(self, ids: Any) -> Any:
        return self.model(input_ids=ids, labels=ids, use_cache=False).loss


class _Masked(_WithOwnLoss):
    """The published way: gradients of all parameters, zeroed outside the neurons; AdamW over the full model.

    Decay goes to the chosen entries by hand, so no mask and no copy of the weights is kept.
    """

    def __init__(self, model: Any, neurons: Any) -> None:
        import torch

        from polyneuron.neuron_core.edits.targets import targets
        from polyneuron.neuron_core.model.anatomy import anatomy_of

        self.model = model.requires_grad_(True)
        parameters = dict(model.named_parameters())
        self._owned = [(parameters[t.name], t) for t in targets(neurons, anatomy_of(model)).values()]
        self._touched = {t.name: parameters[t.name] for _, t in self._owned}
        self.n_trainable = sum(p.numel() // p.shape[t.axis] * len(t.index) for p, t in self._owned)
        self.optimizer = torch.optim.AdamW(self._stepped(), LR, weight_decay=0, fused=True)

    def _stepped(self) -> list[Any]:
        return list(self.model.parameters())

    def step(self) -> None:
        import torch

        touched = {id(parameter) for parameter in self._touched.values()}
        with torch.no_grad():
            for parameter in self._stepped():
                if id(parameter) not in touched:
                    parameter.grad.zero_()
            for parameter, target in self._owned:  # in Llama no two groups share a matrix
                kept = parameter.grad.index_select(target.axis, target.index)
                parameter.grad.zero_().index_copy_(target.axis, target.index, kept)
                own = parameter.index_select(target.axis, target.index)
                parameter.index_copy_(target.axis, target.index, own.mul_(1 - LR * DECAY))
        self.optimizer.step()
        self.model.zero_grad(set_to_none=True)

    def trained(self) -> dict[str, Any]:
        return {name: parameter.detach() for name, parameter in self._touched.items()}


class _MaskedLean(_Masked):
    """The published way at its leanest: moments of the matrices that hold chosen neurons only."""

    def _stepped(self) -> list[Any]:
        return list(self._touched.values())


class _Lora(_WithOwnLoss):
    """Low-rank updates of the same matrices, of the rank whose size is nearest to the neurons'."""

    def __init__(self, model: Any, neurons: Any) -> None:
        import torch
        from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

        from polyneuron.neuron_core.training.trainable.compact import CompactNeurons

        names = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "down_proj")
        per_rank = sum(sum(p.shape) for n, p in model.named_parameters() if n.split(".")[-2] in names)
        rank = max(1, round(CompactNeurons(model, neurons).n_trainable / per_rank))
        config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(names), task_type="CAUSAL_LM")
        self.model: Any = get_peft_model(model, config).train()
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        self.n_trainable = sum(p.numel() for p in trainable)
        self.optimizer = torch.optim.AdamW(trainable, LR, weight_decay=DECAY, fused=True)
        self._state = get_peft_model_state_dict

    def step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()

    def trained(self) -> dict[str, Any]:
        state: dict[str, Any] = self._state(self.model)
        return state


_TRAINERS = {
    "compact": _Compact,
    "compact, 0.3 recomputed": _PartRecomputed,
    "compact, all recomputed": _Recomputed,
    "masked": _Masked,
    "masked, lean moments": _MaskedLean,
    "lora": _Lora,
}


def _model(name: str) -> Any:
    if name not in LLAMAS:
        from bench.models import smollm2
        from polyneuron.neuron_core.model.load import load_model

        return load_model(smollm2())[0]
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    shape: Any = dict(zip(_FIELDS, LLAMAS[name], strict=True))
    config: Any = LlamaConfig(vocab_size=49_152, tie_word_embeddings=True, **shape)
    return AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)


def _needed_bytes(name: str) -> int:
    """Weights, gradients and two moments in float32, and roughly the activations, of masked AdamW."""
    if name not in LLAMAS:
        return 0
    d, i, layers, heads, kv_heads = LLAMAS[name]
    kv = d * kv_heads // heads
    matrices = layers * (2 * d * d + 2 * d * kv + 3 * d * i)
    activations = BATCH * N_TOKENS * (layers * (14 * d + 5 * i) + 4 * 49_152)
    return 16 * (matrices + 49_152 * d) + 4 * activations


if __name__ == "__main__":
    main()

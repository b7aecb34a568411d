"""One rank of masked continual pretraining: a frozen base under DeepSpeed ZeRO-2 or ZeRO-3, and compact tensors that
train.

ZeRO-2 keeps the base whole on every rank and shards gradients and moments of the compact tensors; ZeRO-3 shards the
base too and gathers each module around its forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cluster.spec import ModelSpec
from cluster.zero import ShardedModel, join
from neuron_core.layer_major import Gather, whole
from neuron_core.models import from_pretrained, load_config
from neuron_core.neuron_set import NeuronSet
from neuron_core.training.checkpoints import Checkpoints
from neuron_core.training.compact import CompactNeurons
from neuron_core.training.trainer import Batch, TrainSettings, summed_loss, train
from neuron_core.weight_edit import WeightEdit


@dataclass(frozen=True)
class TrainJob:
    """What is trained, beside the model: the neurons, how, and where checkpoints go.

    zero_stage: 2 or 3; key: hash of everything that decides the result; folder: of the checkpoints, seen by all
    ranks.
    """

    neuron_set: NeuronSet
    settings: TrainSettings
    zero_stage: Literal[2, 3]
    gradient_checkpointing: bool
    key: str
    folder: str
    name: str


@dataclass(frozen=True)
class Trained:
    """What rank 0 hands back: the log of every step and the trained values."""

    log: list[dict[str, Any]]
    edit: WeightEdit


def train_rank(
    model: TrainingModel,
    batches: Sequence[Any],
    job: TrainJob,
    blocks_of_step: Callable[[int], Sequence[int]],
    make_batch: Callable[[Sequence[int]], Batch],
    progress: Callable[[int, int], None] | None = None,
) -> Trained | None:
    """Trains on this rank, from the last checkpoint on; the result on rank 0, None on the others.

    Raises:
        TrainingError: as `neuron_core.training.trainer.train`. SetError: the set does not fit the model.
    """
    with CompactNeurons(model.base, job.neuron_set, gather=model.gather).attached() as compact:
        if job.gradient_checkpointing:
            model.base.gradient_checkpointing_enable({"use_reentrant": False})
            model.base.train()  # transformers checkpoints in training mode only; these models have no dropout
        stepper = DeepSpeedStepper(model, compact, job)
        log = train(
            stepper,
            blocks_of_step,
            make_batch,
            job.settings,
            Checkpoints(job.folder, job.key),
            progress,
        )
        edit = stepper.edit(job.name)
    return Trained(log, edit) if model.rank == 0 else None


class TrainingModel:
    """A base model on one rank: whole for ZeRO-2, sharded for ZeRO-3. Stands where `ShardedModel` stands for passes."""

    def __init__(
        self, spec: ModelSpec, rank: int, world_size: int, address: str, port: int, shard: bool = False
    ) -> None:
        self.rank, self.world_size = rank, world_size
        self.runner = self
        self.gather: Gather = whole
        if shard:
            self._sharded: ShardedModel | None = ShardedModel(spec, rank, world_size, address, port)
            self.base = self._sharded.model
            self.gather = self._sharded.gather
            return
        self._sharded = None
        join(rank, world_size, address, port)
        config = load_config(spec.source, spec.revision, spec.trust_remote_code)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.base = from_pretrained(
            spec.source, config, spec.dtype, spec.revision, spec.trust_remote_code
        ).to(device)

    def stats(self) -> dict[str, Any]:
        """Peak resident bytes and, for ZeRO-3, what `ShardedModel.stats` counts."""
        import resource

        if self._sharded is not None:
            return self._sharded.stats()
        return {
            "rank": self.rank,
            "peak_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }

    def reset_stats(self) -> None:
        """Starts counting anew."""
        if self._sharded is not None:
            self._sharded.reset_stats()


class _Whole(nn.Module):
    """Base and compact tensors as the one module DeepSpeed wants."""

    def __init__(self, base: nn.Module, compact: CompactNeurons) -> None:
        super().__init__()
        self.base, self.compact = base, compact

    def forward(self, batch: Batch) -> Tensor:
        return summed_loss(self.base, batch)


class DeepSpeedStepper:
    """A `Stepper` (see `neuron_core.training.trainer`) on DeepSpeed's engine."""

    def __init__(self, model: TrainingModel, compact: CompactNeurons, job: TrainJob) -> None:
        import deepspeed

        self.rank, self.world_size = model.rank, model.world_size
        self._compact, self._names = compact, [name for name, _ in compact.named_parameters()]
        self._parameters = list(compact.parameters())
        largest = max(parameter.numel() for parameter in self._parameters)
        settings = job.settings
        optimizer = torch.optim.AdamW(
            self._parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        zero: dict[str, Any] = {"stage": job.zero_stage}
        if job.zero_stage == 3:
            # The compact tensors stay whole: their hooks are not modules DeepSpeed would gather them around.
            zero["stage3_param_persistence_threshold"] = largest + 1
        self._engine, *_ = deepspeed.initialize(
            model=_Whole(model.base, compact),
            optimizer=optimizer,
            model_parameters=self._parameters,
            config={
                # Our loop says when a global batch is complete.
                "managed_gradient_accumulation": False,
                "train_micro_batch_size_per_gpu": 1,
                "gradient_clipping": settings.clip_norm,
                "zero_optimization": zero,
                "zero_allow_untested_optimizer": True,
                "zero_force_ds_cpu_optimizer": False,
            },
        )

        if job.zero_stage == 3:
            # What DeepSpeed keeps whole it gathers when a module asks for it, and then after every step.
            self._parameters[0].all_gather(self._parameters)  # type: ignore[attr-defined]

    def backward(self, batch: Batch, weight: float) -> float:
        """See `Stepper`."""
        loss = self._engine(batch)
        # DeepSpeed averages gradients over ranks; the loss is a sum over all of them.
        self._engine.backward(loss * (weight * self.world_size))
        return loss.item()

    def step(self, learning_rate: float) -> float:
        """See `Stepper`."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        self._engine.step()
        return float(self._engine.get_global_grad_norm())

    def total(self, value: float) -> float:
        """See `Stepper`."""
        summed = torch.tensor([value], dtype=torch.float64, device=self._engine.device)
        torch.distributed.all_reduce(summed)
        return summed.item()

    def state(self) -> dict[str, Tensor]:
        """See `Stepper`."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        found = {}
        for name, parameter in zip(self._names, self._parameters, strict=True):
            found[f"{name}/value"] = safe_get_full_fp32_param(parameter).cpu().clone()
            for moment in _MOMENTS:
                found[f"{name}/{moment}"] = safe_get_full_optimizer_state(parameter, moment).cpu().clone()
        return found

    def load(self, tensors: dict[str, Tensor], step: int) -> None:
        """See `Stepper`."""
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        self._make_moments(step)
        for name, parameter in zip(self._names, self._parameters, strict=True):
            device = self._engine.device
            for moment in _MOMENTS:
                safe_set_full_optimizer_state(parameter, tensors[f"{name}/{moment}"].to(device), moment)
            value = tensors[f"{name}/value"].to(device)
            safe_set_full_fp32_param(parameter, value)
            parameter.data.copy_(value)

    def edit(self, name: str) -> WeightEdit:
        """The trained values. Collective."""
        return self._compact.to_edit(name)

    def _make_moments(self, step: int) -> None:
        """What AdamW makes at its first step, so that there is something to load into."""
        zero, inner = self._engine.optimizer, self._engine.optimizer.optimizer
        # ZeRO-3 hands AdamW one part at a time and leaves its groups empty in between.
        parts = getattr(zero, "fp32_partitioned_groups_flat", None) or [
            flat for group in inner.param_groups for flat in group["params"]
        ]
        for flat in parts:
            inner.state[flat] = {
                "step": torch.tensor(float(step)),
                "exp_avg": torch.zeros_like(flat),
                "exp_avg_sq": torch.zeros_like(flat),
            }
        if hasattr(self._engine.optimizer, "_lazy_init_hp_params_optimizer_state"):
            self._engine.optimizer._lazy_init_hp_params_optimizer_state()


_MOMENTS = ("exp_avg", "exp_avg_sq")


class Zero2Model(TrainingModel):
    """A base that is whole on every rank."""


class Zero3Model(TrainingModel):
    """A base whose parameters are sharded over the ranks."""

    def __init__(self, spec: ModelSpec, rank: int, world_size: int, address: str, port: int) -> None:
        super().__init__(spec, rank, world_size, address, port, shard=True)

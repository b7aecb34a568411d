"""One rank of masked training: a frozen base under DeepSpeed ZeRO-2 or ZeRO-3, and small tensors that train.

ZeRO-2 keeps the base whole on every rank and shards gradients and moments of the trained tensors; ZeRO-3 shards the
base too and gathers each module around its forward and backward.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from polyneuron.cluster.actors.rendezvous import join
from polyneuron.cluster.memory import peak_resident_bytes, reset_peak
from polyneuron.cluster.ranks.frozen_linears import frozen_linears
from polyneuron.cluster.ranks.pass_model import PassModel
from polyneuron.cluster.spec import ModelSpec, Seat
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.load import from_pretrained
from polyneuron.neuron_core.model.opening import load_config
from polyneuron.neuron_core.model.stored_model import StoredModel
from polyneuron.neuron_core.passes.layer_major import Gather, whole
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.training.loop.checkpoints import Checkpoints
from polyneuron.neuron_core.training.loop.recompute import recompute_layers
from polyneuron.neuron_core.training.loop.settings import TrainSettings
from polyneuron.neuron_core.training.loop.stepper import MOMENTS, Batch, summed_loss
from polyneuron.neuron_core.training.loop.tensorboard import TensorBoard
from polyneuron.neuron_core.training.loop.trainer import train
from polyneuron.neuron_core.training.loop.validation import Validation
from polyneuron.neuron_core.training.trainable.compact import CompactNeurons
from polyneuron.neuron_core.training.trainable.lora_spec import LoraSpec
from polyneuron.neuron_core.training.trainable.low_rank import LowRank


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainJob:
    """What is trained, beside the model: the neurons, how, and where checkpoints go."""

    neuron_set: NeuronSet
    """Whose values train, or to whose rows adapters are masked."""
    settings: TrainSettings
    """Steps, batches and learning rate."""
    zero_stage: Literal[2, 3]
    """Whether every rank holds the base whole (2) or a shard of it (3)."""
    recomputed_layers: float
    """Share of the layers, see `recompute_layers`."""
    key: str
    """Hash of everything that decides the result."""
    folder: str
    """Of the checkpoints, seen by all ranks."""
    name: str
    """Of the edit that results."""
    lora: LoraSpec | None = None
    """Adapters that train in place of the neurons' own values; None: the values."""
    seed: int = 0
    """From which adapters are drawn at first."""
    validation: Validation | None = None
    """What is measured between steps, and when it ends the training."""
    tensorboard: str | None = None
    """Folder of the curves; None: no curves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """What rank 0 hands back."""

    log: list[dict[str, Any]]
    """A row for every step."""
    validations: list[dict[str, Any]]
    """A row for every language of every validation."""
    edit: WeightEdit
    """The trained values."""
    n_trainable: int
    """How many scalars trained."""
    kept_step: int
    """The step whose values these are."""


class TrainingModel:
    """A base model on one rank: whole for ZeRO-2, sharded for ZeRO-3. Stands where `PassModel` stands for passes."""

    def __init__(self, spec: ModelSpec, seat: Seat, *, zero_stage: Literal[2, 3]) -> None:
        self.spec, self.rank, self.world_size = spec, seat.rank, seat.world_size
        self.runner = self
        if zero_stage == 3:
            sharded = PassModel(spec, seat)
            self.base: Any = sharded.model
            self.gather: Gather = sharded.gather
            return
        join(seat)
        config = load_config(spec.source, spec.revision, spec.trust_remote_code)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.base = from_pretrained(
            spec.source,
            config,
            spec.dtype,
            spec.revision,
            trust_remote_code=spec.trust_remote_code,
            nf4=spec.nf4,
        ).to(device)
        self.gather = whole

    def stats(self) -> dict[str, Any]:
        """Returns this process's peak resident bytes since `reset_stats`."""
        return {"rank": self.rank, "peak_resident_bytes": peak_resident_bytes()}

    def reset_stats(self) -> None:
        """Starts counting anew from here on."""
        reset_peak()


class _Whole(nn.Module):
    """Base and trained tensors as the one module DeepSpeed wants."""

    def __init__(self, base: nn.Module, trained: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.base = base
        inside = {id(parameter) for parameter in base.parameters()}
        # An adapter's tensors are the base's already.
        self.trained = nn.ParameterList([p for p in trained if id(p) not in inside])

    def forward(self, batch: Batch) -> Tensor:
        return summed_loss(self.base, batch)


class DeepSpeedStepper:
    """A `Stepper` (see `polyneuron.neuron_core.training.loop.trainer`) on DeepSpeed's engine."""

    def __init__(self, model: TrainingModel, trained: dict[str, nn.Parameter], job: TrainJob) -> None:
        import deepspeed

        self.rank, self.world_size = model.rank, model.world_size
        self._trained, self._parameters = trained, list(trained.values())
        largest = max(parameter.numel() for parameter in self._parameters)
        settings = job.settings
        optimizer = torch.optim.AdamW(
            self._parameters,
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )
        zero: dict[str, Any] = {"stage": job.zero_stage}
        if model.spec.offload != "none":
            zero["offload_optimizer"] = {"device": "cpu"}
        if job.zero_stage == 3:
            zero |= model.spec.offload_config()
            # The compact tensors stay whole: their hooks are not modules DeepSpeed would gather them around.
            zero["stage3_param_persistence_threshold"] = largest + 1
        self._engine, *_ = deepspeed.initialize(
            model=_Whole(model.base, self._parameters),
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
        """Adds this rank's gradient; DeepSpeed adds up those of the ranks. Returns the batch's summed loss in nats."""
        loss = self._engine(batch)
        # DeepSpeed averages gradients over ranks; the loss is a sum over all of them.
        self._engine.backward(loss * (weight * self.world_size))
        return loss.item()

    def step(self, learning_rate: float) -> float:
        """Steps on all ranks together, and returns the gradient's norm before clipping."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        self._engine.step()
        return float(self._engine.get_global_grad_norm())

    def total(self, value: float) -> float:
        """Returns the sum of `value` over all ranks."""
        summed = torch.tensor([value], dtype=torch.float64, device=self._engine.device)
        torch.distributed.all_reduce(summed)
        return summed.item()

    @torch.no_grad()
    def loss(self, batch: Batch) -> float:
        """Returns the batch's summed loss in nats, without dropout and without a gradient; collective under ZeRO-3."""
        module = self._engine.module
        was_training = module.training
        module.eval()
        nats: float = module(batch).item()
        module.train(was_training)
        return nats

    def values(self) -> dict[str, Tensor]:
        """Returns the trained tensors, whole, in float32 on the CPU; collective."""
        from deepspeed.utils import safe_get_full_fp32_param

        return {name: safe_get_full_fp32_param(p).cpu().clone() for name, p in self._trained.items()}

    def moments(self) -> dict[str, Tensor]:
        """Returns AdamW's moments of the trained tensors, whole, on the CPU, after at least one step; collective."""
        from deepspeed.utils import safe_get_full_optimizer_state

        return {
            f"{name}/{moment}": safe_get_full_optimizer_state(parameter, moment).cpu().clone()
            for name, parameter in self._trained.items()
            for moment in MOMENTS
        }

    def load(self, values: dict[str, Tensor], moments: dict[str, Tensor], step: int) -> None:
        """Restores what `values` and `moments` gave after `step` steps; collective."""
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        self._make_moments(step)
        device = self._engine.device
        for name, parameter in self._trained.items():
            for moment in MOMENTS:
                safe_set_full_optimizer_state(parameter, moments[f"{name}/{moment}"].to(device), moment)
            value = values[name].to(device)
            safe_set_full_fp32_param(parameter, value)
            parameter.data.copy_(value)

    def close(self) -> None:
        """Lets go of the model: DeepSpeed's hooks on its gradients are cycles that no garbage collector sees."""
        self._engine.destroy()

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


def train_rank(
    model: TrainingModel,
    batches: Sequence[Any],
    job: TrainJob,
    blocks_of_step: Callable[[int], Sequence[int]],
    make_batch: Callable[[Sequence[int]], Batch],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> TrainResult | None:
    """Trains on this rank, from the last checkpoint on; the result on rank 0, None on the others. Raises TrainingError as
    `neuron_core.training.loop.trainer.train` does, and SetError when the set does not fit the model."""
    trainable = (
        CompactNeurons(model.base, job.neuron_set, gather=model.gather)
        if job.lora is None
        else LowRank(model.base, job.neuron_set, job.lora, job.seed, model.gather)
    )
    checkpoints = Checkpoints(job.folder, job.key)
    observer = (
        TensorBoard(job.tensorboard, checkpoints.last_step()) if job.tensorboard and not model.rank else None
    )
    sharded = frozen_linears(model.base) if job.zero_stage == 3 else nullcontext()
    with trainable.attached(), sharded:
        recompute_layers(model.base, job.recomputed_layers)
        stepper = DeepSpeedStepper(model, trainable.trained, job)
        trained = train(
            stepper,
            blocks_of_step,
            make_batch,
            job.settings,
            checkpoints=checkpoints,
            progress=progress,
            validation=job.validation,
            observer=observer,
        )
        values = stepper.values() if trained.best is None else trained.best
        stepper.close()
    if observer is not None:
        observer.close()
    if isinstance(trainable, CompactNeurons):
        edit = trainable.to_edit(job.name, values)
    else:
        where = (model.spec.source, model.spec.dtype, model.spec.revision, model.spec.trust_remote_code)
        edit = trainable.to_edit(job.name, values, StoredModel(*where) if model.spec.nf4 else None)
    if model.rank:
        return None
    kept_step = len(trained.log)
    if trained.best is not None and job.validation is not None:
        kept_step = job.validation.best_step(trained.validations)
    return TrainResult(
        log=trained.log,
        validations=trained.validations,
        edit=edit,
        n_trainable=sum(value.numel() for value in values.values()),
        kept_step=kept_step,
    )

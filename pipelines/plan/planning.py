"""What a study would take on given machines, from the models' configs alone, and what to change where it does not fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from polyneuron.cluster.capacity.at_hand import machines_at_hand
from polyneuron.cluster.capacity.calibration import Measured, calibrate
from polyneuron.cluster.capacity.devices import Machines
from polyneuron.cluster.capacity.estimate import Stage, StagePlan, plan_stage
from polyneuron.cluster.capacity.passes import Corpus, Detection
from polyneuron.cluster.capacity.rates import Rates, assumed_rates
from polyneuron.cluster.capacity.shape import VALUE_BYTES, ModelShape, shape_of
from polyneuron.neuron_core.common.errors import PolyneuronError
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.pipelines.config.load import with_overrides
from polyneuron.pipelines.config.study import ModelConfig, StudyConfig
from polyneuron.pipelines.config.transfer import TransferConfig
from polyneuron.pipelines.plan.advice import Advice, advise
from polyneuron.pipelines.plan.stages import assumptions, stages_of, threads_of
from polyneuron.pipelines.plan.transfer import transfer_stages
from polyneuron.pipelines.plan.units import config_of_model, units_of


@dataclass(frozen=True)
class ModelPlan:
    """One model of a study. error: why it cannot be planned, and then nothing else is known; mended: the stages that
    fit after the changes."""

    model: str
    dtype: str
    error: str | None = None
    family: str = ""
    shape: ModelShape | None = None
    neurons: dict[str, int] = field(default_factory=dict)
    units: dict[str, Any] = field(default_factory=dict)
    stages: tuple[StagePlan, ...] = ()
    rates: tuple[tuple[str, Rates], ...] = ()
    measured: Measured | None = None
    advice: Advice | None = None
    mended: tuple[StagePlan, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether every stage does."""
        return self.error is None and all(stage.fits for stage in self.stages)


@dataclass(frozen=True)
class StudyPlan:
    """All models against the machines. assumptions: in words."""

    machines: Machines
    models: tuple[ModelPlan, ...]
    assumptions: tuple[str, ...]


def plan(config: StudyConfig, machines: Machines | None = None, calibrated: bool = False) -> StudyPlan:
    """Plans every model. machines: None for those at hand; calibrated: measure one layer of each first.

    Raises:
        ClusterError: the machines at hand cannot be seen, or there is nothing to calibrate on.
    """
    found = machines or machines_at_hand()
    models = tuple(_plan_model(config, index, found, calibrated) for index in range(len(config.models)))
    return StudyPlan(found, models, (*assumptions(config), *found.assumed))


def plan_transfer(config: TransferConfig) -> StudyPlan:
    """Plans a transfer study for the machines at hand. Nothing is suggested where something does not fit.

    Raises:
        ClusterError: the machines at hand cannot be seen.
    """
    machines = machines_at_hand()
    models = tuple(_plan_transfer(config, model, machines) for model in config.models)
    return StudyPlan(machines, models, (*assumptions(config.study), *machines.assumed))


def _plan_transfer(config: TransferConfig, model: ModelConfig, machines: Machines) -> ModelPlan:
    try:
        hf_config = config_of_model(model)
        anatomy, shape = anatomy_of(hf_config), shape_of(hf_config, model.dtype)
    except PolyneuronError as error:
        return ModelPlan(model.label, model.dtype, error.message)
    stages = transfer_stages(config, model, shape, anatomy, machines)
    plans, rates = plan_stages(stages, config.study, model, machines)
    return ModelPlan(
        model.label,
        model.dtype,
        family=anatomy.family.name,
        shape=shape,
        neurons={"ffn": anatomy.ffn_width * anatomy.n_layers},
        stages=tuple(plans),
        rates=tuple(rates.items()),
    )


def _plan_model(config: StudyConfig, index: int, machines: Machines, calibrated: bool) -> ModelPlan:
    model = config.models[index]
    try:
        hf_config = config_of_model(model)
        anatomy = anatomy_of(hf_config)
        shape = shape_of(hf_config, model.dtype)
        units = units_of(config, model)
    except PolyneuronError as error:
        return ModelPlan(model.label, model.dtype, error.message)
    measured = _measured(config, hf_config, shape, model) if calibrated else None
    stages, rates = plan_stages(
        stages_of(config, model, shape, machines, measured), config, model, machines, measured
    )
    advice, mended = None, list[StagePlan]()
    if not all(stage.fits for stage in stages):
        broken = [stage.stage.name for stage in stages if not stage.fits]
        advice = advise(config, index, shape, machines, measured, broken)
        if advice.together is not None:
            changed = with_overrides(config, advice.together)
            shape_then = replace(shape, value_bytes=VALUE_BYTES[changed.models[index].dtype])
            after = stages_of(changed, changed.models[index], shape_then, machines, measured)
            every, _ = plan_stages(after, changed, changed.models[index], machines, measured)
            mended = [stage for stage in every if stage.fits]
    return ModelPlan(
        model.label,
        model.dtype,
        None,
        anatomy.family.name,
        shape,
        {group: anatomy.widths[group] * anatomy.n_layers for group in config.detection.groups},
        units,
        tuple(stages),
        tuple(rates.items()),
        measured,
        advice,
        tuple(mended),
    )


def plan_stages(
    stages: Iterable[Stage],
    config: StudyConfig,
    model: ModelConfig,
    machines: Machines,
    measured: Measured | None = None,
) -> tuple[list[StagePlan], dict[str, Rates]]:
    """The stages of one model against the machines, and the rates of each."""
    plans, rates = [], {}
    for stage in stages:
        rates[stage.name] = rates_of(config, model, stage, machines, measured)
        plans.append(plan_stage(stage, machines, rates[stage.name]))
    return plans, rates


def rates_of(
    config: StudyConfig, model: ModelConfig, stage: Stage, machines: Machines, measured: Measured | None
) -> Rates:
    """Assumed, or measured where the stage runs as the measured layer did; a CPU's rate goes with its threads."""
    n_nodes = -(-stage.world_size // stage.ranks_per_node)
    threads = threads_of(config, stage)
    rates = assumed_rates(machines, model.dtype, threads, stage.on_gpu, n_nodes)
    if measured is None or (stage.on_gpu, model.dtype) != (measured.on_gpu, measured.dtype):
        return rates
    flops_per_s = measured.flops_per_s
    if not stage.on_gpu:
        flops_per_s *= threads / config.cluster.threads_per_worker
    said = f"measured: one layer on {measured.device}"
    rates = replace(rates, flops_per_s=flops_per_s, origin=rates.origin | {"flops_per_s": said})
    if measured.score_slowdown is None:
        return rates
    origin = rates.origin | {"score_slowdown": said}
    return replace(rates, score_slowdown=measured.score_slowdown, origin=origin)


def _measured(config: StudyConfig, hf_config: Any, shape: ModelShape, model: ModelConfig) -> Measured:
    import torch

    settings = config.detection
    on_gpu = config.cluster.gpus_per_worker > 0
    if not on_gpu:
        torch.set_num_threads(config.cluster.threads_per_worker)
    return calibrate(
        hf_config,
        shape,
        model.dtype,
        Corpus(settings.batch_size, config.corpus.max_tokens, settings.batch_size),
        Detection(settings.groups, settings.mode == "certified", settings.floor_fraction),
        on_gpu,
    )

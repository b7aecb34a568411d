"""What a study would take on given machines, from the models' configs alone, and what to change where it does not fit."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from polyneuron.cluster.capacity.at_hand import machines_at_hand
from polyneuron.cluster.capacity.calibration import LayerMeasurement, calibrate
from polyneuron.cluster.capacity.devices import Machines
from polyneuron.cluster.capacity.engine import Requests
from polyneuron.cluster.capacity.estimate import Stage, StagePlan, plan_stage
from polyneuron.cluster.capacity.passes import Corpus
from polyneuron.cluster.capacity.shape import ModelShape
from polyneuron.cluster.capacity.training import PlannedTraining
from polyneuron.eval.tasks.benchmarks import SQUAD
from polyneuron.neuron_core.common.errors import PolyneuronError
from polyneuron.neuron_core.model.anatomy import Anatomy
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.pipelines.config.study import (
    ActivationsConfig,
    DetectionConfig,
    ModelConfig,
    NightlyConfig,
    StudyConfig,
)
from polyneuron.pipelines.config.training import TrainingConfig
from polyneuron.pipelines.config.transfer import TransferConfig, TransferTask
from polyneuron.pipelines.plan.advice import Advice, advise
from polyneuron.pipelines.plan.case import PlannedCase
from polyneuron.pipelines.plan.engine import engine_stage, task_requests
from polyneuron.pipelines.plan.nights import night_requests, units_of_night
from polyneuron.pipelines.plan.seen_model import seen_model
from polyneuron.pipelines.plan.stages import (
    activation_stage,
    assumptions,
    fine_tuning_stage,
    n_steps,
    planned_detection,
    stages_of,
)
from polyneuron.pipelines.plan.units import units_of
from polyneuron.pipelines.transfer.evaluation import cells_of
from polyneuron.pipelines.transfer.training import Sets, recipe_of, tunings_of


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPlan:
    """What one model of a study takes."""

    model: str
    """Its label."""
    dtype: str
    """Of its weights."""
    error: str | None = None
    """Why it cannot be planned; then nothing else is known."""
    family: str = ""
    """Of its architecture."""
    shape: ModelShape | None = None
    """What its cost depends on."""
    neurons: dict[str, int] = field(default_factory=dict)
    """Of each group that is measured, in all layers."""
    units: dict[str, Any] = field(default_factory=dict)
    """Done and to do, by stage."""
    stages: tuple[StagePlan, ...] = ()
    """In their order."""
    measured: LayerMeasurement | None = None
    """What one layer took here, where that was asked for."""
    advice: Advice | None = None
    """What to change where something does not fit."""
    mended: tuple[StagePlan, ...] = ()
    """The stages that fit after the changes."""

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


def plan(
    config: StudyConfig | TransferConfig | NightlyConfig,
    machines: Machines | None = None,
    calibrated: bool = False,
) -> StudyPlan:
    """Plans every model. machines: None for those at hand; calibrated: measure one layer of each first.

    For a night or a transfer study nothing is suggested where something does not fit.

    Raises:
        ClusterError: the machines at hand cannot be seen, or there is nothing to calibrate on.
    """
    machines = machines or machines_at_hand()
    models = tuple(_plan_model(config, index, machines, calibrated) for index in range(len(config.models)))
    reads_corpus = not isinstance(config, NightlyConfig)
    return StudyPlan(machines, models, (*assumptions(study_of(config), reads_corpus), *machines.assumed))


def _plan_model(
    config: StudyConfig | TransferConfig | NightlyConfig, index: int, machines: Machines, calibrated: bool
) -> ModelPlan:
    model, study = config.models[index], study_of(config)
    try:
        seen = seen_model(model)
        units: dict[str, Any] = {}
        if isinstance(config, StudyConfig):
            units = units_of(config, model)
        elif isinstance(config, NightlyConfig):
            units = units_of_night(config, model)
    except PolyneuronError as error:
        return ModelPlan(model=model.label, dtype=model.dtype, error=error.message)
    case = PlannedCase(config=study, index=index, shape=seen.shape, machines=machines)
    if calibrated:
        case = replace(case, measured=_measured(case, seen.config()))
    if isinstance(config, TransferConfig):
        stages = _planned(case, transfer_stages(config, case, seen.anatomy))
    elif isinstance(config, NightlyConfig):
        stages = _planned(case, [engine_stage(case, night_requests(config, case))])
    else:
        stages = _planned(case, stages_of(case))
    advice, mended = None, list[StagePlan]()
    broken = [stage.stage.name for stage in stages if not stage.fits]
    if broken and isinstance(config, StudyConfig):
        advice = advise(case, broken)
        if advice.together is not None:
            changed = case.changed(advice.together)
            mended = [stage for stage in _planned(changed, stages_of(changed)) if stage.fits]
    return ModelPlan(
        model=model.label,
        dtype=model.dtype,
        family=seen.anatomy.family.name,
        shape=seen.shape,
        neurons={}
        if isinstance(config, NightlyConfig)
        else {group: seen.anatomy.widths[group] * seen.anatomy.n_layers for group in study.detection.groups},
        units=units,
        stages=stages,
        measured=case.measured,
        advice=advice,
        mended=tuple(mended),
    )


def _planned(case: PlannedCase, stages: Iterable[Stage]) -> tuple[StagePlan, ...]:
    return tuple(plan_stage(stage, case.machines, case.rates(stage)) for stage in stages)


def _measured(case: PlannedCase, hf_config: Any) -> LayerMeasurement:
    import torch

    config, batch = case.config, case.config.detection.batch_size
    on_gpu = config.cluster.gpus_per_worker > 0
    corpus, own = Corpus(batch, config.corpus.max_tokens, batch), torch.get_num_threads()
    if not on_gpu:
        torch.set_num_threads(config.cluster.threads_per_worker)
    try:
        return calibrate(
            hf_config, case.shape, case.model.dtype, corpus, planned_detection(case), on_gpu=on_gpu
        )
    finally:
        torch.set_num_threads(own)


def transfer_stages(config: TransferConfig, case: PlannedCase, anatomy: Anatomy) -> Iterator[Stage]:
    """Every stage, in order. Tunings and cells are counted as if every set had neurons."""
    yield activation_stage(case)
    sets = _some_sets(config, case.model, anatomy)
    tunings = tunings_of(config, case.model, sets, anatomy)
    trained = [tuning.task for tuning in tunings if tuning.neurons is not None]
    yield fine_tuning_stage(case, [_training(case, task) for task in trained])
    asked = {task.name: task_requests(case.config, task) for task in case.config.evaluation.benchmarks}
    yield engine_stage(case, sum((asked[cell.task] for cell in cells_of(config, tunings, sets)), Requests()))


def study_of(config: StudyConfig | TransferConfig | NightlyConfig) -> StudyConfig:
    """What stages are planned by: of a night or a transfer study its settings, where a study has them."""
    if isinstance(config, StudyConfig):
        return config
    if isinstance(config, NightlyConfig):  # which may have one language alone
        shared = {
            name: getattr(config, name) for name in ("models", "languages", "evaluation", "store", "seed")
        }
        return StudyConfig.model_construct(**shared)
    return StudyConfig(
        models=config.models,
        languages=config.languages,
        corpus=config.corpus,
        detection=DetectionConfig(groups=("ffn",), batch_size=config.batch_size),
        activations=ActivationsConfig(detectors=config.detectors, sites=config.sites, controls=0),
        training=TrainingConfig(
            seeds=config.seeds,
            zero_stage=config.zero_stage,
            recomputed_layers=config.recomputed_layers,
            checkpoint_every=config.checkpoint_every,
        ),
        evaluation=config.evaluation,
        cluster=config.cluster,
        store=config.store,
        seed=config.seed,
    )


def _some_sets(config: TransferConfig, model: ModelConfig, anatomy: Anatomy) -> Sets:
    """One neuron a language, of its own: enough to count what is trained and judged."""
    by_language = {
        language: NeuronSet.from_indices(
            model.label, anatomy.widths, anatomy.n_layers, {(0, "ffn"): [index % anatomy.ffn_width]}
        )
        for index, language in enumerate(config.languages)
    }
    return dict.fromkeys(config.detectors, by_language)


def _training(case: PlannedCase, task: TransferTask) -> PlannedTraining:
    recipe, shape = recipe_of(task, case.model), case.shape
    n_items = (recipe.n_items or SQUAD.n_items) * recipe.epochs
    # adapters on the attention's linears and, on the way in, on the gate
    linears = sum(shape.hidden_size + shape.width(group) for group in recipe.attention)
    return PlannedTraining(
        n_trained=shape.n_layers * recipe.lora.rank * (linears + shape.hidden_size),
        n_steps=n_steps(n_items, recipe.batch, task.training.max_steps),
        global_batch=recipe.batch,
        micro_batch=task.training.micro_batch or recipe.batch,
        n_tokens=recipe.max_tokens,
        zero_stage=case.config.training.zero_stage,
        recomputed_layers=case.config.training.recomputed_layers,
    )

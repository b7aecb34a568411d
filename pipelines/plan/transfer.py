"""The stages of a transfer study as the planner's numbers: activation statistics, fine-tunings, and every cell judged."""

from __future__ import annotations

from collections.abc import Iterator

from polyneuron.cluster.capacity.engine import Requests
from polyneuron.cluster.capacity.estimate import Stage
from polyneuron.cluster.capacity.training import PlannedTraining
from polyneuron.neuron_core.model.anatomy import Anatomy
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.pipelines.config.study import (
    ActivationsConfig,
    DetectionConfig,
    ModelConfig,
    StudyConfig,
    TrainingConfig,
)
from polyneuron.pipelines.config.transfer import TransferConfig, TransferTask
from polyneuron.pipelines.plan.case import PlannedCase
from polyneuron.pipelines.plan.engine import engine_stage, task_requests
from polyneuron.pipelines.plan.stages import activation_stage, fine_tuning_stage, planned_training
from polyneuron.pipelines.transfer.evaluation import cells_of
from polyneuron.pipelines.transfer.training import Sets, recipe_of, tunings_of

_SQUAD_ITEMS = 87_599


def transfer_stages(config: TransferConfig, case: PlannedCase, anatomy: Anatomy) -> Iterator[Stage]:
    """Every stage, in order. Tunings and cells are counted as if every set had neurons."""
    yield activation_stage(case)
    sets = _some_sets(config, case.model, anatomy)
    tunings = tunings_of(config, case.model, sets, anatomy)
    trained = [tuning.task for tuning in tunings if tuning.neurons is not None]
    yield fine_tuning_stage(case, [_training(case, task) for task in trained])
    asked = {task.name: task_requests(case.config, task) for task in case.config.evaluation.benchmarks}
    yield engine_stage(case, sum((asked[cell.task] for cell in cells_of(config, tunings, sets)), Requests()))


def study_of(config: StudyConfig | TransferConfig) -> StudyConfig:
    """What stages are planned by: of a transfer study its settings, where a study has them."""
    if isinstance(config, StudyConfig):
        return config
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
    # adapters on the attention's linears and, on the way in, on the gate
    linears = sum(shape.hidden_size + shape.width(group) for group in recipe.attention)
    return planned_training(
        case.config.training,
        n_trained=shape.n_layers * recipe.lora.rank * (linears + shape.hidden_size),
        n_blocks=(recipe.n_items or _SQUAD_ITEMS) * recipe.epochs,
        batches=(recipe.batch, task.training.micro_batch or recipe.batch),
        n_tokens=recipe.max_tokens,
        max_steps=task.training.max_steps,
    )

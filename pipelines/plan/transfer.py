"""The stages of a transfer study as the planner's numbers: activation statistics, fine-tunings, and every cell judged."""

from __future__ import annotations

import math
from collections.abc import Iterator

from polyneuron.cluster.capacity.engine import Requests
from polyneuron.cluster.capacity.estimate import Stage
from polyneuron.cluster.capacity.shape import ModelShape
from polyneuron.cluster.capacity.training import PlannedTraining
from polyneuron.neuron_core.model.anatomy import Anatomy
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.training.choices.transfer_recipes import TransferRecipe
from polyneuron.pipelines.config.study import (
    ActivationsConfig,
    BenchmarkConfig,
    DetectionConfig,
    EvaluationConfig,
    ModelConfig,
    StudyConfig,
    TrainingConfig,
)
from polyneuron.pipelines.config.transfer import TransferConfig, TransferTask
from polyneuron.pipelines.plan.case import PlannedCase
from polyneuron.pipelines.plan.engine import engine_stage, task_requests
from polyneuron.pipelines.plan.stages import activation_stage, fine_tuning_stage
from polyneuron.pipelines.transfer.evaluation import cells_of
from polyneuron.pipelines.transfer.training import Sets, recipe_of, tunings_of

_SQUAD_ITEMS = 87_599


def transfer_stages(config: TransferConfig, case: PlannedCase, anatomy: Anatomy) -> Iterator[Stage]:
    """Every stage, in order. Tunings and cells are counted as if every set had neurons."""
    yield activation_stage(case)
    sets = _some_sets(config, case.model, anatomy)
    tunings = tunings_of(config, case.model, sets, anatomy)
    trained = [tuning.task for tuning in tunings if tuning.neurons is not None]
    yield fine_tuning_stage(case, [_training(config, case.model, task, case.shape) for task in trained])
    tasks, requests = {task.name: task for task in config.tasks}, Requests()
    for cell in cells_of(config, tunings, sets):
        requests += task_requests(case.config, _benchmark(tasks[cell.task]))  # type: ignore[index]
    yield engine_stage(case, requests)


def study_of(config: TransferConfig) -> StudyConfig:
    """What the stages of a transfer study are planned by: its settings, where a study has them."""
    return StudyConfig(
        models=config.models,
        languages=config.languages,
        corpus=config.corpus,
        detection=DetectionConfig(batch_size=config.batch_size),
        activations=ActivationsConfig(detectors=config.detectors, sites=config.sites, controls=0),
        training=TrainingConfig(
            seeds=config.seeds,
            zero_stage=config.zero_stage,
            recomputed_layers=config.recomputed_layers,
            checkpoint_every=config.checkpoint_every,
        ),
        evaluation=EvaluationConfig(
            benchmarks=tuple(map(_benchmark, config.tasks)),
            data=config.evaluation_data,
            languages=tuple(dict.fromkeys(target for task in config.tasks for target in task.targets)),
            engine=config.engine,
        ),
        cluster=config.cluster,
        store=config.store,
        seed=config.seed,
    )


def _benchmark(task: TransferTask) -> BenchmarkConfig:
    return BenchmarkConfig(name=task.name, max_items=task.max_items, max_gen_toks=task.max_gen_toks)


def _some_sets(config: TransferConfig, model: ModelConfig, anatomy: Anatomy) -> Sets:
    """One neuron a language, of its own: enough to count what is trained and judged."""
    by_language = {
        language: NeuronSet.from_indices(
            model.label, anatomy.widths, anatomy.n_layers, {(0, "ffn"): [index % anatomy.ffn_width]}
        )
        for index, language in enumerate(config.languages)
    }
    return dict.fromkeys(config.detectors, by_language)


def _training(
    config: TransferConfig, model: ModelConfig, task: TransferTask, shape: ModelShape
) -> PlannedTraining:
    recipe = recipe_of(task, model)
    n_steps = math.ceil((recipe.n_items or _SQUAD_ITEMS) * recipe.epochs / recipe.batch)
    return PlannedTraining(
        n_trained=_n_trained(recipe, shape),
        n_steps=min(n_steps, task.training.max_steps or n_steps),
        global_batch=recipe.batch,
        micro_batch=task.training.micro_batch or recipe.batch,
        n_tokens=recipe.max_tokens,
        zero_stage=config.zero_stage,
        recomputed_layers=config.recomputed_layers,
    )


def _n_trained(recipe: TransferRecipe, shape: ModelShape) -> int:
    """Adapters of the recipe's rank on the attention's linears and, on the way in, on the gate."""
    linears = sum(shape.hidden_size + shape.width(group) for group in recipe.attention)
    return shape.n_layers * recipe.lora.rank * (linears + shape.hidden_size)

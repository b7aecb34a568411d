"""Fine-tuning for transfer: which models a task trains, by what neurons, and their trainings (paper B, section 2.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

from polyneuron.eval.store.store import Store
from polyneuron.eval.tasks.benchmark_data import BenchmarkData
from polyneuron.eval.tasks.training_data import training_data
from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.model.anatomy import Anatomy
from polyneuron.neuron_core.model.load import cache_folder
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.variant_name import VariantName
from polyneuron.neuron_core.training.choices.transfer_choices import transfer_choices
from polyneuron.neuron_core.training.choices.transfer_recipes import TRANSFER_RECIPES, TransferRecipe
from polyneuron.neuron_core.training.data.answer_blocks import AnswerBlocks, AnswerFeed, prepare_answers
from polyneuron.neuron_core.training.data.feed import with_attention
from polyneuron.neuron_core.training.trainable.lora_spec import LoraSpec
from polyneuron.neuron_core.training.trainable.low_rank import every_neuron, with_attention_groups
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.config.transfer import TransferConfig, TransferTask, Tuned
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.subject import Subject
from polyneuron.pipelines.run.units import training_unit
from polyneuron.pipelines.stages.training import TrainingPlan, require_local, trained_edit

Sets = Mapping[str, Mapping[str, NeuronSet]]
"""Detector -> language -> its neurons."""


@dataclass(frozen=True)
class Tuning:
    """One fine-tuned model. detector: whose neurons, None for attention alone; target: None where every target language has
    the same model; neurons: None where there are none to train, null_reason: why."""

    name: VariantName
    task: TransferTask
    tuned: Tuned
    detector: str | None
    target: str | None
    seed: int
    neurons: NeuronSet | None
    null_reason: str | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """Where it is judged."""
        return self.task.targets if self.target is None else (self.target,)


def recipe_of(task: TransferTask, model: ModelConfig) -> TransferRecipe:
    """The recipe that a configuration names for a model, with what it changes."""
    asked = task.training
    recipe = TRANSFER_RECIPES[asked.recipes.get(model.label) or asked.recipe or task.name]
    changed = {
        name: value
        for name in ("n_items", "max_tokens", "epochs", "batch", "learning_rate")
        if (value := getattr(asked, name)) is not None
    }
    if asked.rank is not None:
        scale = recipe.lora.alpha / recipe.lora.rank
        changed["lora"] = LoraSpec(asked.rank, scale * asked.rank, recipe.lora.ffn, recipe.lora.init)
    return replace(recipe, **changed)


def tunings_of(config: TransferConfig, model: ModelConfig, sets: Sets, anatomy: Anatomy) -> list[Tuning]:
    """Every model that is fine-tuned, attention alone first in each task and seed."""
    return [
        tuning
        for task in config.tasks
        for seed in config.seeds
        for tuning in _of_task(config, task, recipe_of(task, model).attention, seed, sets, anatomy)
    ]


def tuning_name(
    config: TransferConfig,
    task: TransferTask,
    tuned: Tuned,
    seed: int,
    detector: str | None = None,
    target: str | None = None,
) -> VariantName:
    """The name of a fine-tuned model; `detector` and `target` where it has them."""
    return VariantName(
        kind="tuned",
        task=task.name,
        strategy=tuned,
        detector=detector,
        language=target,
        seed=seed,
        names_seed=len(config.seeds) > 1,
    )


def _of_task(
    config: TransferConfig,
    task: TransferTask,
    attention: tuple[str, ...],
    seed: int,
    sets: Sets,
    anatomy: Anatomy,
) -> Iterator[Tuning]:
    model = next(iter(next(iter(sets.values())).values())).model
    alone = every_neuron(model, anatomy).restrict(attention)
    yield Tuning(tuning_name(config, task, "attention", seed), task, "attention", None, None, seed, alone)
    for detector in config.detectors if task.detectors is None else task.detectors:
        found = sets[detector]
        for tuned in task.tuned:
            if tuned == "attention":
                continue
            for target in (None,) if tuned == "source" else task.targets:
                name, neurons, reason = tuning_name(config, task, tuned, seed, detector, target), None, None
                try:
                    ffn = _chosen(found, config.source, target, tuned, seed)
                    neurons = with_attention_groups(ffn, attention, anatomy)
                except SetError as error:
                    reason = error.message
                yield Tuning(name, task, tuned, detector, target, seed, neurons, reason)


def _chosen(
    found: Mapping[str, NeuronSet], source: str, target: str | None, tuned: Tuned, seed: int
) -> NeuronSet:
    if target is not None:
        return transfer_choices(found, source, target, seed)[tuned]  # type: ignore[index]
    if not len(found[source]):
        raise SetError(f"The set of {source} is empty: there is nothing to train")
    return found[source]


def train_for_transfer(
    subject: Subject, store: Store, run_id: str, config: TransferConfig, tunings: list[Tuning]
) -> dict[VariantName, str]:
    """Trains what is missing; returns the unit of each tuning that has neurons, by name. Edits stay in the store.

    Raises:
        ConfigError: the store is no local folder. BenchmarkError: training items cannot be read. CorpusError: none of them
            can be learnt. TrainingError, ClusterError: as `trained_edit`.
    """
    require_local(store)
    units, items = dict[VariantName, str](), dict[str, _Items]()
    for tuning in tunings:
        if tuning.neurons is None:
            say(f"  {tuning.name}: not trained. {tuning.null_reason}")
            continue
        task = tuning.task
        if task.name not in items:
            items[task.name] = _items(subject, config, task)
        plan = _plan(subject, config, tuning, tuning.neurons, items[task.name])
        trained_edit(subject, store, run_id, plan)
        units[tuning.name] = plan.unit
    return units


@dataclass(frozen=True)
class _Items:
    """What a task is trained on. source: in words."""

    blocks: AnswerBlocks
    source: str


def _items(subject: Subject, config: TransferConfig, task: TransferTask) -> _Items:
    recipe = recipe_of(task, subject.model)
    data = BenchmarkData(task.training.data, config.revisions)
    items = training_data(task.name, data, recipe.n_items, config.seed)
    blocks = prepare_answers(
        cache_folder() / "answers",
        items.examples,
        config.source,
        subject.tokenizer,
        max_tokens=recipe.max_tokens,
        add_bos=subject.adds_bos,
    )
    return _Items(blocks, f"{items.dataset} ({items.kind}), {len(blocks)} items in {config.source}")


def _plan(
    subject: Subject, config: TransferConfig, tuning: Tuning, neurons: NeuronSet, items: _Items
) -> TrainingPlan:
    asked, recipe = tuning.task.training, recipe_of(tuning.task, subject.model)
    feed = AnswerFeed(
        folders=(str(items.blocks.folder),),
        config=with_attention(subject.hf_config),
        dtype=subject.model.dtype,
        global_batch=recipe.batch,
        seed=tuning.seed,
        epochs=recipe.epochs,
    )
    n_steps = feed.sampler.n_steps(recipe.batch)
    settings = recipe.settings(
        n_steps if asked.max_steps is None else min(n_steps, asked.max_steps),
        asked.micro_batch,
        config.checkpoint_every,
    )
    nf4 = config.trains_in_nf4(tuning.task)
    deciding = {key: value for key, value in asdict(settings).items() if key != "checkpoint_every"}
    unit = training_unit(
        subject.name,
        subject.fingerprint,
        subject.model.dtype,
        neurons.fingerprint(),
        variant=str(tuning.name),
        blocks=items.blocks.key,
        lora=asdict(recipe.lora),
        epochs=recipe.epochs,
        seed=tuning.seed,
        settings=deciding,
        base="nf4" if nf4 else "plain",
    )
    return TrainingPlan(
        tuning.name,
        config.source,
        f"transfer-{tuning.tuned}",
        items.source,
        tuning.seed,
        neurons,
        recipe.lora,
        feed,
        settings,
        None,
        None,
        unit,
        nf4,
    )

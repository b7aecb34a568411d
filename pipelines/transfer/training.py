"""Fine-tuning for transfer: which models a task trains, by what neurons, and their trainings (paper B, section 2.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product

from polyneuron.eval.tasks.benchmark_data import BenchmarkData
from polyneuron.eval.tasks.training_data import training_data
from polyneuron.neuron_core.common.cache import writable_cache
from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.model.anatomy import Anatomy
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.variant_name import VariantName
from polyneuron.neuron_core.training.choices.strategies import transfer_choices
from polyneuron.neuron_core.training.choices.transfer_recipes import TRANSFER_RECIPES, TransferRecipe
from polyneuron.neuron_core.training.data.answer_blocks import AnswerBlocks, AnswerFeed, prepare_answers
from polyneuron.neuron_core.training.trainable.low_rank import every_neuron, with_attention_groups
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.config.transfer import TransferConfig, TransferTask, Tuned
from polyneuron.pipelines.run.ledger import Ledger, stage_unit
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.slot import Workers
from polyneuron.pipelines.run.studied_model import StudiedModel
from polyneuron.pipelines.stages.training_job import TrainingJob, rank_work, require_local, trained_edit

Sets = Mapping[str, Mapping[str, NeuronSet]]
"""Detector -> language -> its neurons."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """A fine-tuned model, and what is trained for it."""

    name: VariantName
    """Of the variant."""
    task: TransferTask
    """What it is fine-tuned and judged on."""
    neurons: NeuronSet | None
    """None where there is nothing to train."""
    null_reason: str | None = None
    """Why there is nothing to train."""
    remark: str = ""
    """What is different from what was asked for."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Where it is judged: in the language it is for, else in every target language of its task."""
        return self.task.targets if self.name.language is None else (self.name.language,)


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
        changed["lora"] = replace(recipe.lora, rank=asked.rank, alpha=scale * asked.rank)
    return replace(recipe, **changed)


def tunings_of(config: TransferConfig, model: ModelConfig, sets: Sets, anatomy: Anatomy) -> list[Tuning]:
    """Every model that is fine-tuned, attention alone first in each task and seed."""

    def tuning(
        task: TransferTask, seed: int, tuned: Tuned, detector: str | None = None, target: str | None = None
    ) -> Tuning:
        name = VariantName(
            kind="tuned",
            task=task.name,
            strategy=tuned,
            detector=detector,
            language=target,
            seed=seed,
            names_seed=len(config.seeds) > 1,
        )
        attention = recipe_of(task, model).attention
        if detector is None:
            every = every_neuron(model.label, anatomy)
            return Tuning(name=name, task=task, neurons=every.restrict(attention))
        try:
            ffn, remark = _chosen(sets[detector], config.source, target, tuned, seed)
        except SetError as error:
            return Tuning(name=name, task=task, neurons=None, null_reason=error.message)
        neurons = with_attention_groups(ffn, attention, anatomy)
        return Tuning(name=name, task=task, neurons=neurons, remark=remark)

    tunings = []
    for task, seed in product(config.tasks, config.seeds):
        tunings.append(tuning(task, seed, "attention"))
        detectors = config.detectors if task.detectors is None else task.detectors
        for detector, tuned in product(detectors, task.tuned):
            if tuned != "attention":
                targets = (None,) if tuned == "source" else task.targets
                tunings += [tuning(task, seed, tuned, detector, target) for target in targets]
    return tunings


def _chosen(
    sets: Mapping[str, NeuronSet], source: str, target: str | None, tuned: Tuned, seed: int
) -> tuple[NeuronSet, str]:
    """The ffn neurons to train, and what is different from what was asked for."""
    if target is None:
        if not len(sets[source]):
            raise SetError(f"The set of {source} is empty: there is nothing to train")
        return sets[source], ""
    choices = transfer_choices(sets, source, target, seed)
    chosen: NeuronSet = choices[tuned]  # type: ignore[index]
    asked = len(choices["source+target"])
    short = tuned == "random" and len(chosen) < asked
    return chosen, f"only {len(chosen)} of {asked} random neurons are in no language's set" if short else ""


def train_for_transfer(
    ledger: Ledger, workers: Workers, config: TransferConfig, tunings: Sequence[Tuning]
) -> list[tuple[Tuning, str]]:
    """Trains what is missing; returns the tunings that have neurons, each with its unit. Edits stay in the store.

    Raises:
        ConfigError: the store is no local folder. BenchmarkError: training items cannot be read. CorpusError: none of them
            can be learnt. TrainingError, ClusterError: as `trained_edit`.
    """
    require_local(ledger.root)
    trained, items = list[tuple[Tuning, str]](), dict[str, tuple[AnswerBlocks, str]]()
    for tuning in tunings:
        if tuning.neurons is None:
            say(f"  {tuning.name}: not trained. {tuning.null_reason}")
            continue
        task = tuning.task
        if task.name not in items:
            items[task.name] = _items(workers.model, config, task)
        blocks, source = items[task.name]
        job = _job(ledger, workers.model, config, tuning, blocks=blocks, source=source)
        trained_edit(ledger, workers, job)
        trained.append((tuning, job.work.key))
    return trained


def _items(model: StudiedModel, config: TransferConfig, task: TransferTask) -> tuple[AnswerBlocks, str]:
    """What a task is trained on, and where that comes from, in words."""
    recipe = recipe_of(task, model.config)
    data = BenchmarkData(task.training.data, config.revisions)
    items = training_data(task.name, data, recipe.n_items, config.seed)
    blocks = prepare_answers(
        writable_cache("answers"),
        items.examples,
        config.source,
        model.tokenizer,
        max_tokens=recipe.max_tokens,
        add_bos=model.adds_bos,
    )
    return blocks, f"{items.dataset} ({items.kind}), {len(blocks)} items in {config.source}"


def _job(
    ledger: Ledger,
    model: StudiedModel,
    config: TransferConfig,
    tuning: Tuning,
    *,
    blocks: AnswerBlocks,
    source: str,
) -> TrainingJob:
    asked, recipe = tuning.task.training, recipe_of(tuning.task, model.config)
    neurons, seed, nf4 = tuning.neurons, tuning.name.seed, config.trains_in_nf4(tuning.task)
    assert neurons is not None and seed is not None
    feed = AnswerFeed(
        folders=(str(blocks.folder),),
        dtype=model.dtype,
        global_batch=recipe.batch,
        seed=seed,
        epochs=recipe.epochs,
    )
    n_steps = feed.sampler.n_steps(recipe.batch)
    settings = recipe.settings(
        min(n_steps, asked.max_steps or n_steps), asked.micro_batch, config.checkpoint_every
    )
    unit = stage_unit(
        "train",
        **model.deciding(),
        neurons=neurons.fingerprint(),
        variant=str(tuning.name),
        blocks=blocks.key,
        lora=asdict(recipe.lora),
        epochs=recipe.epochs,
        seed=seed,
        settings={key: value for key, value in asdict(settings).items() if key != "checkpoint_every"},
        base="nf4" if nf4 else "plain",
    )
    return TrainingJob(
        name=tuning.name,
        language=config.source,
        strategy=f"transfer-{tuning.name.strategy}",
        reason=", ".join(filter(None, (source, tuning.remark))),
        work=rank_work(
            ledger,
            tuning.name,
            unit,
            neuron_set=neurons,
            lora=recipe.lora,
            seed=seed,
            settings=settings,
            zero_stage=config.zero_stage,
            recomputed_layers=config.recomputed_layers,
        ),
        feed=feed,
        nf4=nf4,
    )

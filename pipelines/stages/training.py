"""Stage training: masked continual pretraining of chosen neurons, for all languages, strategies and seeds asked for."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from functools import partial
from itertools import product

from polyneuron.neuron_core.common.cache import writable_cache
from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.variant_name import VariantName
from polyneuron.neuron_core.training.choices.names import SET_STRATEGIES, UNPAIRED, Strategy
from polyneuron.neuron_core.training.choices.strategies import (
    Choice,
    choose,
    neurons_to_train,
    random_neurons,
)
from polyneuron.neuron_core.training.data.block_cache import prepare_blocks
from polyneuron.neuron_core.training.data.blocks import PreparedBlocks
from polyneuron.neuron_core.training.data.feed import Feed
from polyneuron.neuron_core.training.loop.settings import TrainSettings
from polyneuron.neuron_core.training.loop.validation import Validation
from polyneuron.neuron_core.training.trainable.lora_spec import everywhere
from polyneuron.neuron_core.training.trainable.low_rank import every_neuron, n_values, rank_of_size
from polyneuron.pipelines.config.training import TrainingConfig
from polyneuron.pipelines.run.ledger import Ledger, stage_unit
from polyneuron.pipelines.run.progress import bar, say
from polyneuron.pipelines.run.slot import Workers
from polyneuron.pipelines.run.studied_model import StudiedModel
from polyneuron.pipelines.stages.corpora import Sentences, mixture_for, sentences_hash
from polyneuron.pipelines.stages.detection import Selected
from polyneuron.pipelines.stages.training_job import TrainingJob, rank_work, require_local, trained_edit
from polyneuron.pipelines.stages.variants import Variant

SCORE = "language_agnostic_score_ppl"
"""The metric by which the strategy auto chooses."""


def train(
    ledger: Ledger,
    sentences: Sentences,
    workers: Workers,
    selected: Selected,
    *,
    config: TrainingConfig,
    metrics: str | None,
    seed: int,
) -> list[Variant]:
    """Trains what is missing, for all languages, strategies and seeds of the configuration; returns the trained variants.

    `metrics`: the unit of the language-agnostic score, by which the strategy auto chooses; `seed`: of the documents. A
    strategy without neurons for a language, or auto without a score, is named and left out of a sweep. random trains a
    control of every set that is trained, or of the related neurons where none is.

    Raises:
        ConfigError: the store is no local folder. SetError: nothing at all can be trained.
        CorpusError: documents are missing or too few. TrainingError: a loss is not finite, or a checkpoint cannot be
            used. ClusterError: workers failed again and again.
    """
    require_local(ledger.root)
    jobs = training_jobs(
        ledger, sentences, workers.model, selected, config=config, metrics=metrics, seed=seed
    )
    return [
        Variant(name=job.name, neurons=job.work.neuron_set, change=trained_edit(ledger, workers, job))
        for job in jobs
    ]


def training_jobs(
    ledger: Ledger,
    sentences: Sentences,
    model: StudiedModel,
    selected: Selected,
    *,
    config: TrainingConfig,
    metrics: str | None,
    seed: int,
) -> list[TrainingJob]:
    """What `train` trains, with the documents it is trained on, done or not. Raises ConfigError, SetError and CorpusError as it
    does."""
    score = _score(ledger, metrics)
    named = sorted({language for group in config.groups for language in group})
    blocks = {language: _blocks(model, sentences, language, config, seed) for language in named}
    made = partial(_job, ledger, model, sentences, selected)
    choices, refused = _choices(config, score)
    jobs = list[TrainingJob]()
    for group, choice, job_seed in product(config.groups, choices, config.seeds):
        try:
            of_group = {language: blocks[language] for language in group}
            jobs.append(made(of_group, choice=choice, config=config, seed=job_seed))
        except SetError as error:
            say(f"  {choice.label} for {'+'.join(group)} is not trained: {error.message}")
            refused.append(error)
    if refused and not jobs:
        raise refused[0]
    return jobs


def _choices(config: TrainingConfig, score: float | None) -> tuple[list[Choice], list[SetError]]:
    """What is trained, each once, a random control of every set last; and why auto could not choose."""
    chosen, refused = dict[Strategy, Choice](), list[SetError]()
    for strategy in config.strategies:
        if strategy == "random":
            continue
        try:
            choice = choose(strategy, score, config.low_score, config.high_score)
        except SetError as error:
            say(f"  {strategy} is not trained: {error.message}")
            refused.append(error)
            continue
        chosen.setdefault(choice.strategy, choice)  # auto may choose what is asked for as well
    sets = [strategy for strategy in SET_STRATEGIES if strategy in chosen]
    alone = [] if refused else [UNPAIRED]
    controls = map(Choice.random, sets or alone) if "random" in config.strategies else ()
    return [*chosen.values(), *controls], refused


def _score(ledger: Ledger, metrics: str | None) -> float | None:
    if metrics is None:
        return None
    rows = ledger.read("metrics", [metrics], ["value"], metric=SCORE).to_pylist()
    return rows[0]["value"] if rows else None


def _blocks(
    model: StudiedModel, sentences: Sentences, language: str, config: TrainingConfig, seed: int
) -> PreparedBlocks:
    """Documents of a language as token blocks, without the sentences that the study detects with and is judged on."""
    with model.known_tokenizer(blocks=language) as tokenizer, bar(f"tokenising {language}") as report:
        return prepare_blocks(
            writable_cache("blocks"),
            mixture_for(config),
            language,
            tokenizer,
            max_tokens=config.max_tokens,
            n_documents=config.n_documents,
            seed=seed,
            exclude=sentences.texts[language],
            add_bos=model.config.add_bos,
            report=report,
        )


def _job(
    ledger: Ledger,
    model: StudiedModel,
    sentences: Sentences,
    selected: Selected,
    blocks: Mapping[str, PreparedBlocks],
    *,
    choice: Choice,
    config: TrainingConfig,
    seed: int,
) -> TrainingJob:
    anatomy, languages, sets = model.anatomy, tuple(blocks), selected.selection
    everything = every_neuron(model.label, anatomy)

    def neurons_of(strategy: Strategy) -> NeuronSet:
        return neurons_to_train(strategy, languages, sets.shared, sets.related, everything)

    neurons, lora_rank, reason = neurons_of(choice.control_of or choice.strategy), None, choice.reason
    if choice.control_of is not None:
        drawn = random_neurons(neurons, (sets.shared, *sets.related.values()), seed)
        if len(drawn.neurons) < drawn.n_asked:
            reason += f", but only {len(drawn.neurons)} of {drawn.n_asked} are in no language's set"
        neurons = drawn.neurons
    if choice.strategy == "lora":
        lora_rank = rank_of_size(n_values(neurons_of("related"), anatomy), anatomy)
    feed = Feed(
        folders=tuple(str(prepared.folder) for prepared in blocks.values()),
        dtype=model.dtype,
        global_batch=config.global_batch,
        seed=seed,
        epochs=config.epochs,
    )
    n_steps = feed.sampler.n_steps(config.global_batch)
    settings = TrainSettings(
        n_steps=min(n_steps, config.max_steps or n_steps),
        **config.model_dump(include={field.name for field in fields(TrainSettings)}),
    )
    validation = Validation(
        sentences={language: read[: config.n_validation] for language, read in sentences.detection.items()},
        watched=languages,
        every=config.validate_every,
        patience=config.patience,
    )
    # Betas are torch's own here, and checkpoints change no value.
    deciding = {k: v for k, v in asdict(settings).items() if k not in ("checkpoint_every", "betas")}
    validated = sentences_hash(s for read in validation.sentences.values() for s in read)
    unit = stage_unit(
        "train",
        **model.deciding(),
        neurons=neurons.fingerprint(),
        blocks=[prepared.key for prepared in blocks.values()],
        languages=list(languages),
        strategy=choice.strategy,
        control_of=choice.control_of,
        lora_rank=lora_rank,
        seed=seed,
        epochs=config.epochs,
        settings=deciding,
        validation=[validated, config.validate_every, config.patience],
    )
    together, names_seed = "+".join(languages), len(config.seeds) > 1
    name = VariantName(
        kind="tuned", strategy=choice.strategy, language=together, seed=seed, names_seed=names_seed
    )
    if choice.control_of is not None:
        name = replace(name, control_of=replace(name, strategy=choice.control_of))
    return TrainingJob(
        name=name,
        language=together,
        strategy=choice.strategy,
        reason=reason,
        work=rank_work(
            ledger,
            name,
            unit,
            neuron_set=neurons,
            lora=None if lora_rank is None else everywhere(lora_rank),
            seed=seed,
            settings=settings,
            validation=validation,
            zero_stage=config.zero_stage,
            recomputed_layers=config.recomputed_layers,
        ),
        feed=feed,
        step_tokens=config.global_batch * config.max_tokens,
    )

"""Stage 6: masked continual pretraining of chosen neurons; every trained set is a weight edit beside the store's tables."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import ConfigError, SetError
from polyneuron.neuron_core.common.names import safe_name
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.load import cache_folder
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.variant_name import VariantName
from polyneuron.neuron_core.training.choices.strategies import Choice, choose, neurons_to_train
from polyneuron.neuron_core.training.data.block_cache import prepare_blocks
from polyneuron.neuron_core.training.data.blocks import PreparedBlocks
from polyneuron.neuron_core.training.data.documents import mixture_of
from polyneuron.neuron_core.training.data.feed import Feed, with_attention
from polyneuron.neuron_core.training.loop.settings import TrainSettings
from polyneuron.neuron_core.training.loop.validation import Validation
from polyneuron.neuron_core.training.trainable.lora_spec import LoraSpec, everywhere
from polyneuron.neuron_core.training.trainable.low_rank import every_neuron, n_values, rank_of_size
from polyneuron.pipelines.run.progress import bar, say
from polyneuron.pipelines.run.subject import Subject
from polyneuron.pipelines.run.units import sentences_hash, training_unit
from polyneuron.pipelines.stages.evaluation import Judged
from polyneuron.pipelines.stages.kept_edits import edit_file, kept_edit
from polyneuron.pipelines.stages.selection import Selected

SCORE = "language_agnostic_score_ppl"


@dataclass(frozen=True)
class TrainingPlan:
    """One training. language: its languages, joined by "+"; strategy, reason: what is trained, and why; lora: adapters
    instead of the neurons' own values; step_tokens: of every step, None where steps differ; nf4: on a base in 4 bits."""

    name: VariantName
    language: str
    strategy: str
    reason: str
    seed: int
    neurons: NeuronSet
    lora: LoraSpec | None
    feed: Feed
    settings: TrainSettings
    validation: Validation | None
    step_tokens: int | None
    unit: str
    nf4: bool = False


def train(
    subject: Subject, store: Store, run_id: str, selected: Selected, metrics: str | None
) -> tuple[list[Judged], list[str]]:
    """Trains what is missing, for all languages, strategies and seeds of the configuration.

    Returns the trained variants and the units of all trainings. A strategy without neurons for a language, or auto
    without a score, is named and left out of a sweep.

    Raises:
        ConfigError: the store is no local folder. SetError: nothing at all can be trained.
        CorpusError: documents are missing or too few. TrainingError: a loss is not finite, or a checkpoint cannot be
            used. ClusterError: workers failed again and again.
    """
    require_local(store)
    config, score = subject.config.training, _score(store, metrics)
    named = {language for group in config.groups for language in group}
    blocks = {language: _blocks(subject, language) for language in sorted(named)}
    plans, refused = dict[VariantName, TrainingPlan](), list[SetError]()
    for group in config.groups:
        for strategy in config.strategies:
            for seed in config.seeds:
                try:
                    choice = choose(strategy, score, config.low_score, config.high_score)
                    plan = _plan(subject, selected, {one: blocks[one] for one in group}, choice, seed)
                except SetError as error:
                    say(f"  {strategy} for {'+'.join(group)} is not trained: {error.message}")
                    refused.append(error)
                    continue
                plans.setdefault(plan.name, plan)  # auto may choose what is asked for as well
    if refused and not plans:
        raise refused[0]
    tuned = [
        _judged(subject, plan, trained_edit(subject, store, run_id, plan), plans) for plan in plans.values()
    ]
    return tuned, [plan.unit for plan in plans.values()]


def require_local(store: Store) -> None:
    """Raises ConfigError when the store is a URL."""
    if "://" in store.root:
        raise ConfigError(
            "Training keeps its edits and checkpoints beside the tables: name a local folder as store"
        )


def _score(store: Store, metrics: str | None) -> float | None:
    if metrics is None:
        return None
    rows = store.read("metrics", (pc.field("unit") == metrics) & (pc.field("metric") == SCORE)).to_pylist()
    return rows[0]["value"] if rows else None


def _blocks(subject: Subject, language: str) -> PreparedBlocks:
    """Documents of a language as token blocks, without the sentences that the study detects with and is judged on."""
    config = subject.config.training
    tokenizer = subject.tokenizer
    sentences = [*subject.detection[language], *subject.heldout[language]]
    texts = [tokenizer.decode(s.token_ids, skip_special_tokens=True).strip() for s in sentences]
    with bar(f"tokenising {language}") as report:
        return prepare_blocks(
            cache_folder() / "blocks",
            mixture_of(config.mixture),
            language,
            tokenizer,
            max_tokens=config.max_tokens,
            n_documents=config.n_documents,
            seed=subject.config.seed,
            exclude=texts,
            add_bos=subject.model.add_bos,
            report=report,
        )


def _plan(
    subject: Subject, selected: Selected, blocks: Mapping[str, PreparedBlocks], choice: Choice, seed: int
) -> TrainingPlan:
    config, selection = subject.config.training, selected.selection
    anatomy, languages = anatomy_of(subject.hf_config), tuple(blocks)
    everything = every_neuron(selection.shared.model, anatomy)

    def neurons_of(strategy: Any) -> NeuronSet:
        return neurons_to_train(
            strategy, languages, selection.shared, selection.related, everything, seed=seed
        )

    neurons, lora_rank = neurons_of(choice.strategy), None
    if choice.strategy == "lora":
        lora_rank = rank_of_size(n_values(neurons_of("related"), anatomy), anatomy)
    feed = Feed(
        folders=tuple(str(one.folder) for one in blocks.values()),
        config=with_attention(subject.hf_config),
        dtype=subject.model.dtype,
        global_batch=config.global_batch,
        seed=seed,
        epochs=config.epochs,
    )
    n_steps = feed.sampler.n_steps(config.global_batch)
    settings = TrainSettings(
        n_steps=n_steps if config.max_steps is None else min(n_steps, config.max_steps),
        global_batch=config.global_batch,
        micro_batch=config.micro_batch,
        learning_rate=config.learning_rate,
        warmup=config.warmup,
        schedule=config.schedule,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        checkpoint_every=config.checkpoint_every,
    )
    validation = Validation(
        {language: found[: config.n_validation] for language, found in subject.detection.items()},
        languages,
        config.validate_every,
        config.patience,
    )
    unit = training_unit(
        subject.name,
        subject.fingerprint,
        subject.model.dtype,
        neurons.fingerprint(),
        blocks=[one.key for one in blocks.values()],
        languages=list(languages),
        strategy=choice.strategy,
        lora_rank=lora_rank,
        seed=seed,
        epochs=config.epochs,
        # Betas are torch's own here; without them, trainings of older stores keep their keys.
        settings={
            key: value for key, value in asdict(settings).items() if key not in ("checkpoint_every", "betas")
        },
        validation=[
            sentences_hash(s for found in validation.sentences.values() for s in found),
            config.validate_every,
            config.patience,
        ],
    )
    language = "+".join(languages)
    return TrainingPlan(
        _name(subject, choice.strategy, language, seed),
        language,
        choice.strategy,
        choice.reason,
        seed,
        neurons,
        None if lora_rank is None else everywhere(lora_rank),
        feed,
        settings,
        validation,
        config.global_batch * config.max_tokens,
        unit,
    )


def _name(subject: Subject, strategy: str, language: str, seed: int) -> VariantName:
    several = len(subject.config.training.seeds) > 1
    return VariantName(kind="tuned", strategy=strategy, language=language, seed=seed, names_seed=several)


def _judged(
    subject: Subject, plan: TrainingPlan, edit: WeightEdit, plans: Mapping[VariantName, TrainingPlan]
) -> Judged:
    random = _name(subject, "random", plan.language, plan.seed)
    return Judged(
        plan.name,
        edit,
        len(plan.neurons),
        beside=(random,) if random in plans and random != plan.name else (),
    )


def trained_edit(subject: Subject, store: Store, run_id: str, plan: TrainingPlan) -> WeightEdit:
    """The edit of one training, from the store, or trained by a fresh group of workers from its last checkpoint on.

    Raises:
        TrainingError: a loss is not finite, or a checkpoint cannot be used. ClusterError: workers failed again and again.
    """
    file = edit_file(store, plan.unit)
    folder, checkpoints = file.parent, file.parent / "checkpoints" / plan.unit
    kept = kept_edit(store, subject.name, plan.unit)
    if kept is not None:
        say(f"  {plan.name}: in the store")
        return kept
    from polyneuron.cluster.ranks.training import TrainJob, train_rank

    config = subject.config.training
    what = f"{len(plan.neurons)} neurons" if plan.lora is None else f"adapters of rank {plan.lora.rank}"
    say(f"  training {plan.name}: {what}, {plan.settings.n_steps} steps ({plan.reason})")
    curves = Path(store.root) / "tensorboard" / f"{safe_name(str(plan.name))}-{plan.unit[:8]}"
    job = TrainJob(
        neuron_set=plan.neurons,
        settings=plan.settings,
        zero_stage=config.zero_stage,
        recomputed_layers=config.recomputed_layers,
        key=plan.unit,
        folder=str(checkpoints.absolute()),
        name=str(plan.name),
        lora=plan.lora,
        seed=plan.seed,
        validation=plan.validation,
        tensorboard=str(curves.absolute()),
    )
    a_step, counted = plan.step_tokens or 1, "steps" if plan.step_tokens is None else "tokens"
    with subject.training_group(plan.nf4) as group, bar(f"training {plan.name}, {counted}") as report:
        results = group.run(
            train_rank,
            [],
            progress=lambda done, total: report(done * a_step, total * a_step),
            job=job,
            blocks_of_step=plan.feed.blocks_of_step,
            make_batch=plan.feed.batch,
        )
    result = results[0]
    folder.mkdir(parents=True, exist_ok=True)
    result.edit.save(file)
    where = {"model": subject.name}
    if plan.validation is not None:
        store.write("validations", _validations(subject, plan, result), plan.unit, where, run_id=run_id)
    # This table last: a training counts as done when its rows are there.
    store.write("training", _steps(subject, plan, result), plan.unit, where, run_id=run_id)
    shutil.rmtree(checkpoints, ignore_errors=True)
    log: Sequence[Mapping[str, Any]] = result.log
    n_tokens, seconds = sum(row["n_tokens"] for row in log), sum(row["seconds"] for row in log)
    early = f", the values of step {result.kept_step} kept" if config.patience else ""
    say(
        f"  {plan.name}: loss {log[0]['loss_nats']:.3f} to {log[-1]['loss_nats']:.3f} in {len(log)} steps{early}, "
        f"{n_tokens / max(seconds, 1e-9):.0f} tokens/s"
    )
    edit: WeightEdit = result.edit
    return edit


def _steps(subject: Subject, plan: TrainingPlan, result: Any) -> pa.Table:
    log, n = result.log, len(result.log)
    constants = {
        "model": subject.name,
        "variant": str(plan.name),
        "strategy": plan.strategy,
        "reason": plan.reason,
        "language": plan.language,
    }
    return pa.table(
        {key: [value] * n for key, value in constants.items()}
        | {
            "seed": pa.array([plan.seed] * n, pa.int64()),
            "n_neurons": pa.array([len(plan.neurons)] * n, pa.int64()),
            "n_trainable": pa.array([result.n_trainable] * n, pa.int64()),
            "step": pa.array([row["step"] for row in log], pa.int32()),
            "loss_nats": [row["loss_nats"] for row in log],
            "learning_rate": [row["learning_rate"] for row in log],
            "gradient_norm": [row["gradient_norm"] for row in log],
            "n_tokens": pa.array([row["n_tokens"] for row in log], pa.int64()),
            "edit": [result.edit.fingerprint()] * n,
        }
    )


def _validations(subject: Subject, plan: TrainingPlan, result: Any) -> pa.Table:
    rows = result.validations
    return pa.table(
        {
            "model": [subject.name] * len(rows),
            "variant": [str(plan.name)] * len(rows),
            "step": pa.array([row["step"] for row in rows], pa.int32()),
            "language": [row["language"] for row in rows],
            "nll_nats": [row["nll_nats"] for row in rows],
            "n_tokens": pa.array([row["n_tokens"] for row in rows], pa.int64()),
            "kept": [row["step"] == result.kept_step for row in rows],
        }
    )

"""Stage 6: masked continual pretraining of chosen neurons; every trained set is a weight edit beside the store's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eval.store import Store
from neuron_core.errors import ConfigError
from neuron_core.models import cache_folder
from neuron_core.neuron_set import NeuronSet
from neuron_core.training.blocks import PreparedBlocks, prepare_blocks
from neuron_core.training.documents import mixture_of
from neuron_core.training.feed import Feed, with_attention
from neuron_core.training.strategies import Choice, choose, neurons_to_train
from neuron_core.training.trainer import TrainSettings
from neuron_core.weight_edit import WeightEdit
from pipelines.progress import bar, say
from pipelines.stages.evaluation import Judged
from pipelines.stages.selection import Selected
from pipelines.subject import Subject
from pipelines.units import training_unit

SCORE = "language_agnostic_score_ppl"


@dataclass(frozen=True)
class _Plan:
    """One set to train."""

    name: str
    language: str
    choice: Choice
    seed: int
    neurons: NeuronSet
    feed: Feed
    settings: TrainSettings
    unit: str
    edit: Path
    checkpoints: Path


def train(
    subject: Subject, store: Store, run_id: str, selected: Selected, metrics: str | None
) -> list[Judged]:
    """Trains what is missing, for every language, strategy and seed of the configuration; returns the variants.

    Raises:
        ConfigError: the store is no local folder. SetError: a strategy without neurons, or auto without a score.
        CorpusError: documents are missing or too few. TrainingError: a loss is not finite, or a checkpoint cannot be
            used. ClusterError: workers failed again and again.
    """
    if "://" in store.root:
        raise ConfigError(
            "Training keeps its edits and checkpoints beside the tables: name a local folder as store"
        )
    config = subject.config.training
    score, found = _score(store, metrics), list[Judged]()
    blocks = {language: _blocks(subject, language) for language in config.languages}
    for language in config.languages:
        for strategy in config.strategies:
            for seed in config.seeds:
                choice = choose(strategy, score, config.low_score, config.high_score)
                plan = _plan(subject, store, selected, blocks[language], language, choice, seed)
                _train_if_missing(subject, store, run_id, plan)
                edit = WeightEdit.load(plan.edit)
                found.append(
                    Judged(plan.name, "tuned", edit, len(plan.neurons), set_language=language, seed=seed)
                )
    return found


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
    subject: Subject,
    store: Store,
    selected: Selected,
    blocks: PreparedBlocks,
    language: str,
    choice: Choice,
    seed: int,
) -> _Plan:
    config, selection = subject.config.training, selected.selection
    neurons = neurons_to_train(choice.strategy, (language,), selection.shared, selection.related, seed)
    feed = Feed(
        (str(blocks.folder),),
        with_attention(subject.hf_config),
        subject.model.dtype,
        config.global_batch,
        seed,
        config.epochs,
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
    deciding = {key: value for key, value in settings.__dict__.items() if key != "checkpoint_every"}
    unit = training_unit(
        subject.name,
        subject.fingerprint,
        subject.model.dtype,
        neurons.fingerprint(),
        blocks=blocks.key,
        language=language,
        strategy=choice.strategy,
        reason=choice.reason,
        seed=seed,
        epochs=config.epochs,
        settings=deciding,
    )
    several = len(subject.config.training.seeds) > 1
    name = f"tuned-{choice.strategy}-{language}" + (f"-{seed}" if several else "")
    folder = Path(store.root) / "edits"
    return _Plan(
        name,
        language,
        choice,
        seed,
        neurons,
        feed,
        settings,
        unit,
        folder / f"{unit}.safetensors",
        folder / "checkpoints" / unit,
    )


def _train_if_missing(subject: Subject, store: Store, run_id: str, plan: _Plan) -> None:
    if plan.edit.exists() and store.has("training", plan.unit):
        say(f"  {plan.name}: in the store")
        return
    from cluster.training import TrainJob, train_rank

    config = subject.config.training
    say(
        f"  training {plan.name}: {len(plan.neurons)} neurons, {plan.settings.n_steps} steps ({plan.choice.reason})"
    )
    job = TrainJob(
        plan.neurons,
        plan.settings,
        config.zero_stage,
        config.gradient_checkpointing,
        plan.unit,
        str(plan.checkpoints.absolute()),
        plan.name,
    )
    with subject.training_group() as group, bar(f"training {plan.name}, steps") as report:
        results = group.run(
            train_rank,
            [],
            progress=report,
            job=job,
            blocks_of_step=plan.feed.blocks_of_step,
            make_batch=plan.feed.batch,
        )
    trained = results[0]
    plan.edit.parent.mkdir(parents=True, exist_ok=True)
    trained.edit.save(plan.edit)
    # The table last: a training counts as done when its rows are there.
    store.write("training", _table(subject, plan, trained), plan.unit, {"model": subject.name}, run_id=run_id)
    log = trained.log
    n_tokens, seconds = sum(e["n_tokens"] for e in log), sum(e["seconds"] for e in log)
    say(
        f"  {plan.name}: loss {log[0]['loss_nats']:.3f} to {log[-1]['loss_nats']:.3f}, "
        f"{n_tokens / max(seconds, 1e-9):.0f} tokens/s"
    )


def _table(subject: Subject, plan: _Plan, trained: Any) -> pa.Table:
    log: Sequence[Mapping[str, Any]] = trained.log
    n = len(log)
    n_trainable = sum(value.numel() for value in (trained.edit.values or {}).values())
    constants = {
        "model": subject.name,
        "variant": plan.name,
        "strategy": plan.choice.strategy,
        "reason": plan.choice.reason,
        "language": plan.language,
    }
    return pa.table(
        {key: [value] * n for key, value in constants.items()}
        | {
            "seed": pa.array([plan.seed] * n, pa.int64()),
            "n_neurons": pa.array([len(plan.neurons)] * n, pa.int64()),
            "n_trainable": pa.array([n_trainable] * n, pa.int64()),
            "step": pa.array([entry["step"] for entry in log], pa.int32()),
            "loss_nats": [entry["loss_nats"] for entry in log],
            "learning_rate": [entry["learning_rate"] for entry in log],
            "gradient_norm": [entry["gradient_norm"] for entry in log],
            "n_tokens": pa.array([entry["n_tokens"] for entry in log], pa.int64()),
        }
    )

"""One training, by a group of workers of its own. What it trains is an edit in a file beside the store's tables; the table
`training` says what the file should hold."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from polyneuron.cluster.ranks.training import TrainJob, TrainResult, train_rank
from polyneuron.neuron_core.common.errors import ConfigError, SetError
from polyneuron.neuron_core.common.names import safe_name
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.sets.variant_name import VariantName
from polyneuron.neuron_core.training.data.feed import Feed, with_attention
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.progress import bar, say
from polyneuron.pipelines.run.slot import Workers


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingJob:
    """A training to do, or done; its unit in the table training is `work.key`."""

    name: VariantName
    """The variant that it makes."""
    language: str
    """What it is trained on; several languages are joined by "+"."""
    strategy: str
    """What is trained."""
    reason: str
    """Why that, in words."""
    work: TrainJob
    """What every rank is told."""
    feed: Feed
    """What the ranks read, without the model's config, which is added for them."""
    step_tokens: int | None = None
    """Tokens of every step; None where steps differ."""
    nf4: bool = False
    """Whether the base model is in 4 bits."""


def rank_work(ledger: Ledger, name: VariantName, unit: str, **training: Any) -> TrainJob:
    """What every rank is told of the training `unit`: the fields of `TrainJob` in `training`, and where its files lie."""
    root = Path(ledger.root).absolute()
    return TrainJob(
        key=unit,
        name=str(name),
        folder=str(root / "edits" / "checkpoints" / unit),
        tensorboard=str(root / "tensorboard" / f"{safe_name(str(name))}-{unit[:8]}"),
        **training,
    )


def trained_edit(ledger: Ledger, workers: Workers, job: TrainingJob) -> WeightEdit:
    """The edit of one training, from the store, or trained by a fresh group of workers from its last checkpoint on.

    Raises:
        TrainingError: a loss is not finite, or a checkpoint cannot be used. ClusterError: workers failed again and again.
    """
    work = job.work
    kept = kept_edit(ledger, work.key)
    if kept is not None:
        shutil.rmtree(
            work.folder, ignore_errors=True
        )  # of a run that was killed right after it had stored the training
        say(f"  {job.name}: in the store")
        return kept
    what = f"{len(work.neuron_set)} neurons" if work.lora is None else f"adapters of rank {work.lora.rank}"
    say(f"  training {job.name}: {what}, {work.settings.n_steps} steps ({job.reason})")
    feed = replace(job.feed, config=with_attention(workers.model.hf_config))
    a_step, counted = job.step_tokens or 1, "steps" if job.step_tokens is None else "tokens"
    with (
        workers.training(work.zero_stage, job.nf4) as group,
        bar(f"training {job.name}, {counted}") as report,
    ):
        result: TrainResult = group.run(
            train_rank,
            [],
            progress=lambda done, total: report(done * a_step, total * a_step),
            job=work,
            blocks_of_step=feed.blocks_of_step,
            make_batch=feed.batch,
        )[0]
    file = edit_file(ledger, work.key)
    file.parent.mkdir(parents=True, exist_ok=True)
    result.edit.save(file)
    if work.validation is not None:
        ledger.put("validations", work.key, _validations(job, result))
    ledger.put("training", work.key, _steps(job, result))
    shutil.rmtree(work.folder, ignore_errors=True)
    _say_how_it_went(job, result)
    return result.edit


def require_local(root: str) -> None:
    """Raises ConfigError when a store's folder or URL is a URL."""
    if "://" in root:
        raise ConfigError(
            "Training keeps its edits and checkpoints beside the tables: name a local folder as store"
        )


def edit_file(ledger: Ledger, unit: str) -> Path:
    """Where the edit of a training lies."""
    return Path(ledger.root) / "edits" / f"{unit}.safetensors"


def kept_edit(ledger: Ledger, unit: str, *, moves_damaged: bool = True) -> WeightEdit | None:
    """The edit of a training that is done, else None: also when its file is gone, or is no longer what was trained.

    A damaged file is moved to `damaged/edits` in the store, and that is said, unless nothing is to be written.
    """
    file = edit_file(ledger, unit)
    if not file.exists() or not ledger.done("training", unit):
        return None
    try:
        return stored_edit(ledger, unit)
    except SetError as error:
        if not moves_damaged:
            return None
        aside = Path(ledger.root) / "damaged" / "edits" / file.name
        aside.parent.mkdir(parents=True, exist_ok=True)
        file.replace(aside)
        say(f"  damaged: {file} ({error.message}); moved to {aside.parent}, to be trained anew")
        return None


def stored_edit(ledger: Ledger, unit: str) -> WeightEdit:
    """The edit of a training whose row is in the store. Nothing is written.

    Raises:
        SetError: its file is gone or damaged, or holds other values than were trained.
    """
    file = edit_file(ledger, unit)
    wanted = ledger.read("training", [unit], ["edit"])["edit"][0].as_py()
    edit = WeightEdit.load(file)
    if wanted is not None and edit.fingerprint() != wanted:
        raise SetError(f"{file}: its values are not those that were trained")
    return edit


def _say_how_it_went(job: TrainingJob, result: TrainResult) -> None:
    log, validation = result.log, job.work.validation
    n_tokens, seconds = (sum(row[name] for row in log) for name in ("n_tokens", "seconds"))
    stops_early = validation is not None and validation.patience
    early = f", the values of step {result.kept_step} kept" if stops_early else ""
    say(
        f"  {job.name}: loss {log[0]['loss_nats']:.3f} to {log[-1]['loss_nats']:.3f} in {len(log)} steps{early}, "
        f"{n_tokens / max(seconds, 1e-9):.0f} tokens/s"
    )


def _steps(job: TrainingJob, result: TrainResult) -> list[dict[str, Any]]:
    constants = {
        "variant": str(job.name),
        "strategy": job.strategy,
        "control_of": None if (of := job.name.control_of) is None else of.strategy,
        "reason": job.reason,
        "language": job.language,
        "seed": job.work.seed,
        "n_neurons": len(job.work.neuron_set),
        "n_trainable": result.n_trainable,
        "edit": result.edit.fingerprint(),
    }
    logged = ("step", "loss_nats", "learning_rate", "gradient_norm", "n_tokens")
    return [constants | {name: row[name] for name in logged} for row in result.log]


def _validations(job: TrainingJob, result: TrainResult) -> list[dict[str, Any]]:
    constants, logged = {"variant": str(job.name)}, ("step", "language", "nll_nats", "n_tokens")
    rows = [constants | {name: row[name] for name in logged} for row in result.validations]
    return [row | {"kept": row["step"] == result.kept_step} for row in rows]

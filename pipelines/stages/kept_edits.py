"""Trained edits, kept in safetensors files beside the store's tables; the table `training` says what each should hold."""

from __future__ import annotations

from pathlib import Path

from polyneuron.neuron_core.common.errors import ConfigError, SetError
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.progress import say


def require_local(root: str) -> None:
    """Raises ConfigError when a store's folder or URL is a URL."""
    if "://" in root:
        raise ConfigError(
            "Training keeps its edits and checkpoints beside the tables: name a local folder as store"
        )


def edit_file(ledger: Ledger, unit: str) -> Path:
    """Where the edit of a training lies."""
    return Path(ledger.root) / "edits" / f"{unit}.safetensors"


def kept_edit(ledger: Ledger, unit: str) -> WeightEdit | None:
    """The edit of a training that is done, else None: also when its file is gone, or is no longer what was trained.

    A damaged file is moved to `damaged/edits` in the store, and that is said.
    """
    file = edit_file(ledger, unit)
    if not file.exists() or not ledger.done("training", unit):
        return None
    try:
        return stored_edit(ledger, unit)
    except SetError as error:
        reason = error.message
    aside = Path(ledger.root) / "damaged" / "edits" / file.name
    aside.parent.mkdir(parents=True, exist_ok=True)
    file.replace(aside)
    say(f"  damaged: {file} ({reason}); moved to {aside.parent}, to be trained anew")
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

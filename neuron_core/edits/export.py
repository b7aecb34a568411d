"""Writes an edited model as a Hugging Face folder that plain transformers opens."""

import json
from pathlib import Path
from typing import Any

from torch import nn

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.common.files import remove, require_free, temporary_beside
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.whole import require_whole

PROVENANCE = "polyneuron_edit.json"
"""File beside the weights that says which edit they carry."""


def export_checkpoint(model: nn.Module, tokenizer: Any, edit: WeightEdit, folder: str | Path) -> Path:
    """Saves `model` with `edit` applied, and its tokenizer, to `folder` as safetensors; returns the folder.
    `AutoModelForCausalLM.from_pretrained(folder)` gives the logits of the edited live model. The live model is left as it
    was. `tokenizer` may be None. The folder appears complete or not at all. Raises SetError when the folder exists and
    holds files, it cannot be written, or the edit does not fit the model, ModelError when the model is wrapped, sharded or
    quantised."""
    folder = Path(folder)
    require_free(folder, SetError)
    require_whole(model)
    edit.require_fit(model)
    temporary = temporary_beside(folder)
    try:
        temporary.mkdir(parents=True)
        with edit.applied(model):
            model.save_pretrained(temporary)  # type: ignore[operator]
        if tokenizer is not None:
            tokenizer.save_pretrained(temporary)
        provenance = {
            "name": edit.name,
            "kind": edit.kind,
            "base_model": edit.neuron_set.model,
            "n_neurons": edit.neuron_set.counts(),
            "set_fingerprint": edit.neuron_set.fingerprint(),
            "edit_fingerprint": edit.fingerprint(),
        }
        (temporary / PROVENANCE).write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
    except OSError as error:
        raise SetError(
            f"The model cannot be exported to {folder}: {getattr(error, 'strerror', None) or error}"
        ) from error
    finally:
        remove(temporary)
    return folder

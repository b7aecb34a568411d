"""Safetensors files of tensors that belong to a neuron set; the set stands in their metadata, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.common.files import write_whole
from polyneuron.neuron_core.sets.neuron_set import Key, NeuronSet


@dataclass(frozen=True)
class SetFile:
    """One kind of such files.

    noun, writer: what messages call the content, and what writes it; key: of the description in the metadata;
    about: what is described beside the set; group: the one group of all neurons, then left out of the description.
    later: what version 2 describes as well, with what a file without it means. A file that means just that is
    written as version 1, which every reader takes; a reader of version 1 alone would misread the others.
    """

    noun: str
    writer: str
    key: str
    about: tuple[str, ...]
    group: str | None = None
    later: Mapping[str, str] = field(default_factory=dict)

    def save(
        self, path: str | Path, neuron_set: NeuronSet, tensors: Mapping[str, Tensor], **about: str
    ) -> Path:
        """Writes one file, whole or not at all. Raises SetError where it cannot be written."""
        from safetensors.torch import save_file

        later = {name: about[name] for name, absent in self.later.items() if about[name] != absent}
        described = {
            "version": 2 if later else 1,
            **{name: about[name] for name in self.about},
            **later,
            "model": neuron_set.model,
            "widths": dict(neuron_set.widths),
            "n_layers": neuron_set.n_layers,
            "indices": {
                str(layer) if self.group else f"{layer}.{group}": neuron_set.indices(layer, group).tolist()
                for layer, group in neuron_set.places()
            },
        }
        metadata = {self.key: json.dumps(described)}
        return write_whole(path, lambda file: save_file(dict(tensors), file, metadata), self.noun)

    def load(self, path: str | Path) -> tuple[NeuronSet, dict[str, Tensor], dict[str, str]]:
        """The set, the tensors and what `about` and `later` name; nothing is unpickled.

        Raises:
            SetError: a missing, truncated, damaged or foreign file, or a newer format.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise SetError(
                f"No {self.noun} can be read from {path}: {error}. Give a file that {self.writer} wrote"
            ) from error
        if self.key not in metadata:
            raise SetError(f"{path} is a safetensors file, but not an {self.noun} that {self.writer} wrote")
        try:
            described = json.loads(metadata[self.key])
            newest = 2 if self.later else 1
            if described["version"] > newest:
                raise SetError(
                    f"{path} has {self.noun} format {described['version']}; this Polyneuron reads up to {newest}. "
                    "Update it"
                )
            about = {name: described[name] for name in self.about}
            about |= {name: described.get(name, absent) for name, absent in self.later.items()}
            indices = {self._place(place): listed for place, listed in described["indices"].items()}
            shape = described["model"], described["widths"], described["n_layers"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SetError(
                f"The description of the {self.noun} in {path} is damaged ({error!r}); save it again"
            ) from error
        return NeuronSet.from_indices(*shape, indices), tensors, about

    def holds(self, path: str | Path) -> bool:
        """Whether `path` is a file of this kind."""
        try:
            with safe_open(path, framework="pt") as file:
                return self.key in (file.metadata() or {})
        except (OSError, SafetensorError):
            return False

    def _place(self, described: str) -> Key:
        layer, group = (described, self.group) if self.group else described.split(".")
        return int(layer), group

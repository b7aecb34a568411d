"""Safetensors files of tensors that belong to a neuron set; the set stands in their metadata, as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.common.files import write_whole
from polyneuron.neuron_core.sets.neuron_set import NeuronSet

_VERSION = 1


@dataclass(frozen=True)
class SetFile:
    """One kind of such files."""

    noun: str
    """What messages call the content."""
    writer: str
    """What messages say writes it."""
    key: str
    """Where the metadata hold the description."""
    about: tuple[str, ...]
    """What is described beside the set."""

    def save(
        self, path: str | Path, neuron_set: NeuronSet, tensors: Mapping[str, Tensor], **about: str
    ) -> Path:
        """Writes one file, whole or not at all. Raises SetError where it cannot be written."""
        from safetensors.torch import save_file

        described = {
            "version": _VERSION,
            **{name: about[name] for name in self.about},
            "model": neuron_set.model,
            "widths": dict(neuron_set.widths),
            "n_layers": neuron_set.n_layers,
            "indices": {
                f"{layer}.{group}": neuron_set.indices(layer, group).tolist()
                for layer, group in neuron_set.places()
            },
        }
        metadata = {self.key: json.dumps(described)}
        return write_whole(path, lambda file: save_file(dict(tensors), file, metadata), self.noun)

    def load(self, path: str | Path) -> tuple[NeuronSet, dict[str, Tensor], dict[str, str]]:
        """The set, the tensors and what `about` names; nothing is unpickled. Raises SetError for a missing, truncated,
        damaged or foreign file, or another version of the format."""
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
            version, about = described["version"], {name: described[name] for name in self.about}
            places = {tuple(place.split(".")): listed for place, listed in described["indices"].items()}
            indices = {(int(layer), group): listed for (layer, group), listed in places.items()}
            shape = described["model"], described["widths"], described["n_layers"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SetError(
                f"The description of the {self.noun} in {path} is damaged ({error!r}); save it again"
            ) from error
        if version != _VERSION:
            raise SetError(
                f"{path} has {self.noun} format {version}; this Polyneuron reads format {_VERSION}. Update it"
            )
        return NeuronSet.from_indices(*shape, indices), tensors, about

    def holds(self, path: str | Path) -> bool:
        """Whether `path` is a file of this kind."""
        try:
            with safe_open(path, framework="pt") as file:
                return self.key in (file.metadata() or {})
        except (OSError, SafetensorError):
            return False

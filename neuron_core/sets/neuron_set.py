"""NeuronSet: an immutable set of neurons of one model, with set algebra, counts and files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.common.html import html_table
from polyneuron.neuron_core.model.groups import GROUPS

if TYPE_CHECKING:
    import pyarrow as pa

Indices = npt.NDArray[np.int64]
Key = tuple[int, str]
"""(layer, group)."""

_EMPTY: Indices = np.zeros(0, np.int64)
_EMPTY.setflags(write=False)

_METADATA = b"polyneuron.neuron_set"
"""Where an Arrow schema holds the model's name, widths and layers."""


class NeuronSet:
    """Neurons of one model, addressed by (layer, group, index). Make one with `from_indices`, `empty` or `load`. model: the
    model's name. widths: neurons per layer of each group the set may hold. n_layers: decoder layers. Two sets are equal
    when they name the same model, the same shape and the same neurons."""

    def __init__(
        self, model: str, widths: Mapping[str, int], n_layers: int, members: Mapping[Key, Indices]
    ) -> None:
        """Takes arrays that are already sorted, unique and in range; elsewhere use `from_indices`."""
        self._model = model
        self._widths = {group: int(widths[group]) for group in GROUPS if group in widths}
        self._n_layers = int(n_layers)
        ordered = sorted(
            (key for key in members if len(members[key])), key=lambda key: (key[0], GROUPS.index(key[1]))
        )
        self._members: dict[Key, Indices] = {key: members[key] for key in ordered}
        for indices in self._members.values():
            indices.setflags(write=False)
        self._fingerprint: str | None = None

    @classmethod
    def from_indices(
        cls, model: str, widths: Mapping[str, int], n_layers: int, indices: Mapping[Key, Iterable[int]]
    ) -> NeuronSet:
        """The set of the given indices per (layer, group); order and repeats do not matter. Raises SetError for an unknown
        group, a layer or an index outside the model, or an index that is not a whole number."""
        if unknown := sorted(set(widths) - set(GROUPS)):
            raise SetError(f"Unknown groups {unknown} in widths; there are {', '.join(GROUPS)}")
        members = {}
        for (layer, group), listed in indices.items():
            where = f"(layer {layer}, group {group!r})"
            if group not in widths:
                raise SetError(
                    f"{where}: the set's widths hold only {', '.join(widths)}; name the group's width as well"
                )
            if not 0 <= layer < n_layers:
                raise SetError(f"{where}: {model or 'the model'} has layers 0 to {n_layers - 1}")
            unique = np.unique(listed if isinstance(listed, np.ndarray) else np.asarray(list(listed)))
            if unique.size == 0:
                continue
            if not np.issubdtype(unique.dtype, np.integer):
                raise SetError(f"{where}: indices must be whole numbers, not {unique.dtype}")
            if unique[0] < 0 or unique[-1] >= widths[group]:
                outside = int(unique[0] if unique[0] < 0 else unique[-1])
                raise SetError(
                    f"{where}: index {outside} is outside 0 to {widths[group] - 1}; the set is of another "
                    "model, or its indices are in another numbering"
                )
            members[int(layer), group] = unique.astype(np.int64)
        return cls(model, widths, n_layers, members)

    @classmethod
    def empty(cls, model: str, widths: Mapping[str, int], n_layers: int) -> NeuronSet:
        """The set of no neurons."""
        return cls.from_indices(model, widths, n_layers, {})

    @property
    def model(self) -> str:
        """Name of the model the neurons belong to."""
        return self._model

    @property
    def widths(self) -> Mapping[str, int]:
        """Neurons per layer of each group."""
        return MappingProxyType(self._widths)

    @property
    def n_layers(self) -> int:
        """Decoder layers of the model."""
        return self._n_layers

    def indices(self, layer: int, group: str) -> Indices:
        """The neurons of one layer and group: int64, ascending, unique, read-only; empty where there are none."""
        return self._members.get((layer, group), _EMPTY)

    def places(self) -> tuple[Key, ...]:
        """Every (layer, group) that holds a neuron, by layer and then in the order of `GROUPS`."""
        return tuple(self._members)

    def __len__(self) -> int:
        return sum(len(indices) for indices in self._members.values())

    def __iter__(self) -> Iterator[tuple[int, str, int]]:
        """(layer, group, index), one at a time, in order."""
        for (layer, group), indices in self._members.items():
            for index in indices:
                yield layer, group, int(index)

    def __contains__(self, neuron: object) -> bool:
        if not (isinstance(neuron, tuple) and len(neuron) == 3):
            return False
        indices = self.indices(neuron[0], neuron[1])
        at = int(np.searchsorted(indices, neuron[2]))
        return at < len(indices) and bool(indices[at] == neuron[2])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NeuronSet):
            return NotImplemented
        return self._mismatch(other) is None and self.fingerprint() == other.fingerprint()

    def __hash__(self) -> int:
        return hash(self.fingerprint())

    def __repr__(self) -> str:
        counts = ", ".join(f"{group} {n}" for group, n in self.counts().items())
        return f"NeuronSet({self._model!r}, {len(self)} neurons: {counts})"

    def _repr_html_(self) -> str:
        layers = [[place[0] for place in self.places() if place[1] == group] for group in self.widths]
        rows = [
            (group, n, f"{min(own)} to {max(own)}" if own else "none")
            for (group, n), own in zip(self.counts().items(), layers, strict=True)
        ]
        return html_table(f"{len(self)} neurons of {self.model}", ("group", "neurons", "layers"), rows)

    def __or__(self, other: NeuronSet) -> NeuronSet:
        return self._combined(other, np.union1d)

    def __and__(self, other: NeuronSet) -> NeuronSet:
        return self._combined(other, np.intersect1d)

    def __sub__(self, other: NeuronSet) -> NeuronSet:
        return self._combined(other, np.setdiff1d)

    def _combined(self, other: NeuronSet, operation: Any) -> NeuronSet:
        if not isinstance(other, NeuronSet):
            return NotImplemented
        if reason := self._mismatch(other):
            raise SetError(f"These sets cannot be combined: {reason}. Only sets of one model can")
        keys = self._members.keys() | other._members.keys()
        members = {key: operation(self.indices(*key), other.indices(*key)) for key in keys}
        return NeuronSet(self._model, {**other._widths, **self._widths}, self._n_layers, members)

    def _mismatch(self, other: NeuronSet) -> str | None:
        if self._model != other._model:
            return f"one is of {self._model!r}, the other of {other._model!r}"
        if self._n_layers != other._n_layers:
            return f"one has {self._n_layers} layers, the other {other._n_layers}"
        for group in self._widths.keys() & other._widths.keys():
            if self._widths[group] != other._widths[group]:
                widths = self._widths[group], other._widths[group]
                return f"group {group!r} has {widths[0]} neurons a layer in one and {widths[1]} in the other"
        return None

    def counts(self) -> dict[str, int]:
        """Neurons of each group of `widths`."""
        counts = dict.fromkeys(self._widths, 0)
        for (_, group), indices in self._members.items():
            counts[group] += len(indices)
        return counts

    def counts_by_layer(self) -> dict[Key, int]:
        """Neurons of each (layer, group), zeros included."""
        places = [(layer, group) for layer in range(self._n_layers) for group in self._widths]
        return {place: len(self.indices(*place)) for place in places}

    def restrict(self, groups: Iterable[str]) -> NeuronSet:
        """The neurons of some groups only. The widths stay those of the whole model."""
        wanted = set(groups)
        if unknown := sorted(wanted - set(GROUPS)):
            raise SetError(f"Unknown groups {unknown}; there are {', '.join(GROUPS)}")
        members = {key: indices for key, indices in self._members.items() if key[1] in wanted}
        return NeuronSet(self._model, self._widths, self._n_layers, members)

    def fingerprint(self) -> str:
        """128-bit xxhash (hex) of the model's name, its layers and the neurons; equal for equal sets in every process."""
        if self._fingerprint is None:
            import xxhash

            digest = xxhash.xxh3_128(json.dumps([self._model, self._n_layers]).encode())
            for (layer, group), indices in self._members.items():
                digest.update(f"|{layer},{group},{len(indices)}:".encode())
                digest.update(indices.astype("<i8").tobytes())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def to_arrow(self) -> pa.Table:
        """One row per neuron (`SET_SCHEMA`); widths and layers travel in the schema's metadata."""
        import pyarrow as pa

        from polyneuron.neuron_core.sets.schema import SET_SCHEMA

        places = self.places()
        members = [self.indices(*place) for place in places]
        lengths, n_total = [len(indices) for indices in members], len(self)
        codes = np.array([GROUPS.index(group) for _, group in places], np.int32)
        columns = [
            pa.array([self.model], pa.string()).take(pa.array(np.zeros(n_total, np.int32))),
            pa.array(np.repeat(np.array([layer for layer, _ in places], np.int32), lengths)),
            pa.array(GROUPS, pa.string()).take(pa.array(np.repeat(codes, lengths))),
            pa.array(np.concatenate([*members, np.zeros(0, np.int64)]).astype(np.int32)),
        ]
        shape = {"model": self.model, "widths": dict(self.widths), "n_layers": self.n_layers}
        schema = SET_SCHEMA.with_metadata({_METADATA: json.dumps(shape).encode()})
        return pa.Table.from_arrays(columns, schema=schema)

    @classmethod
    def from_arrow(
        cls,
        table: pa.Table,
        model: str | None = None,
        widths: Mapping[str, int] | None = None,
        n_layers: int | None = None,
    ) -> NeuronSet:
        """The set of a table with columns layer, group, neuron. The shape comes from the metadata `to_arrow` wrote; a table
        without it (of the store) needs all three arguments. Raises SetError when a column or the shape is missing, or a
        neuron lies outside the model."""
        if missing := [name for name in ("layer", "group", "neuron") if name not in table.column_names]:
            raise SetError(
                f"The table has no column {', '.join(missing)}; it holds {', '.join(table.column_names)}"
            )
        shape = json.loads((table.schema.metadata or {}).get(_METADATA, b"{}"))
        model = shape.get("model") if model is None else model
        widths = shape.get("widths") if widths is None else widths
        n_layers = shape.get("n_layers") if n_layers is None else n_layers
        if model is None or widths is None or n_layers is None:
            raise SetError(
                "The table does not say which model its neurons are of; give model, widths and n_layers"
            )
        layers, neurons = table["layer"].to_numpy(), table["neuron"].to_numpy()
        encoded = table["group"].combine_chunks().dictionary_encode()
        codes, names = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
        order = np.lexsort((codes, layers))
        layers, codes, neurons = layers[order], codes[order], neurons[order]
        starts = np.flatnonzero((np.diff(layers, prepend=-1) != 0) | (np.diff(codes, prepend=-1) != 0))
        parts = np.split(neurons, starts[1:]) if len(starts) else []
        indices = {(int(layers[at]), names[codes[at]]): part for at, part in zip(starts, parts, strict=True)}
        return cls.from_indices(model, widths, n_layers, indices)

    def save(self, path: str | Path) -> Path:
        """Writes the set as Parquet, JSON or CSV, as the suffix of `path` says, whole or not at all. Raises SetError where it
        cannot be written, and for another suffix."""
        from polyneuron.neuron_core.sets.neuron_set_files import write_set

        return write_set(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> NeuronSet:
        """Reads what `save` wrote. Raises SetError for a missing, broken or foreign file."""
        from polyneuron.neuron_core.sets.neuron_set_files import read_set

        return read_set(Path(path))

"""Neuron sets as Arrow tables, apart from `NeuronSet` itself, which needs no Arrow."""

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.schema import SET_SCHEMA

_METADATA = b"polyneuron.neuron_set"


def to_arrow(neuron_set: NeuronSet) -> pa.Table:
    """The table that `NeuronSet.to_arrow` describes."""
    places = neuron_set.places()
    members = [neuron_set.indices(*place) for place in places]
    lengths, n_total = [len(indices) for indices in members], len(neuron_set)
    codes = np.array([GROUPS.index(group) for _, group in places], np.int32)
    columns = [
        pa.array([neuron_set.model], pa.string()).take(pa.array(np.zeros(n_total, np.int32))),
        pa.array(np.repeat(np.array([layer for layer, _ in places], np.int32), lengths)),
        pa.array(GROUPS, pa.string()).take(pa.array(np.repeat(codes, lengths))),
        pa.array(np.concatenate([*members, np.zeros(0, np.int64)]).astype(np.int32)),
    ]
    shape = {"model": neuron_set.model, "widths": dict(neuron_set.widths), "n_layers": neuron_set.n_layers}
    schema = SET_SCHEMA.with_metadata({_METADATA: json.dumps(shape).encode()})
    return pa.Table.from_arrays(columns, schema=schema)


def from_arrow(
    table: pa.Table, model: str | None, widths: Mapping[str, int] | None, n_layers: int | None
) -> NeuronSet:
    """The set that `NeuronSet.from_arrow` describes."""
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
    return NeuronSet.from_indices(model, widths, n_layers, indices)

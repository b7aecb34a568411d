"""Neuron sets in files: Parquet, JSON or CSV, as the file's suffix says. All three hold the shape of the model."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.common.files import write_whole
from polyneuron.neuron_core.sets.neuron_set import NeuronSet

SUFFIXES = (".parquet", ".json", ".csv")
_SHAPE = "# polyneuron neuron set "
"""How the first line of a CSV file begins; the model, its widths and its layers follow as JSON."""
_COLUMNS = ["layer", "group", "neuron"]


def write_set(neurons: NeuronSet, path: Path) -> Path:
    """Writes a set, whole or not at all. Raises SetError where it cannot be written, and for another suffix."""
    writers = {".parquet": _write_parquet, ".json": _write_json, ".csv": _write_csv}
    write = writers[_suffix(path)]
    return write_whole(path, lambda file: write(neurons, file), "set")


def read_set(path: Path) -> NeuronSet:
    """Reads what `write_set` wrote. Raises SetError for a missing, broken or foreign file, and for another suffix."""
    import pyarrow as pa

    readers = {".parquet": _read_parquet, ".json": _read_json, ".csv": _read_csv}
    read = readers[_suffix(path)]
    try:
        return read(path)
    except (
        OSError,
        pa.ArrowInvalid,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise SetError(
            f"No neuron set can be read from {path}: {error}. Give a file that NeuronSet.save wrote"
        ) from error


def _suffix(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise SetError(f"{path}: a set is kept in a file that ends in {', '.join(SUFFIXES)}")
    return path.suffix


def _write_parquet(neurons: NeuronSet, path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(neurons.to_arrow(), path)


def _read_parquet(path: Path) -> NeuronSet:
    import pyarrow.parquet as pq

    return NeuronSet.from_arrow(pq.read_table(path, partitioning=None))


def _shape(neurons: NeuronSet) -> dict[str, Any]:
    return {"model": neurons.model, "widths": dict(neurons.widths), "n_layers": neurons.n_layers}


def _set(shape: Mapping[str, Any], places: Mapping[tuple[int, str], list[int]]) -> NeuronSet:
    return NeuronSet.from_indices(str(shape["model"]), shape["widths"], int(shape["n_layers"]), places)


def _write_json(neurons: NeuronSet, path: Path) -> None:
    places = [
        {"layer": layer, "group": group, "neurons": neurons.indices(layer, group).tolist()}
        for layer, group in neurons.places()
    ]
    path.write_text(json.dumps(_shape(neurons) | {"places": places}, indent=1) + "\n", encoding="utf-8")


def _read_json(path: Path) -> NeuronSet:
    held = json.loads(path.read_text(encoding="utf-8"))
    places = {(int(each["layer"]), str(each["group"])): each["neurons"] for each in held["places"]}
    return _set(held, places)


def _write_csv(neurons: NeuronSet, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{_SHAPE}{json.dumps(_shape(neurons))}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(neurons)


def _read_csv(path: Path) -> NeuronSet:
    with path.open(encoding="utf-8", newline="") as file:
        first = file.readline()
        if not first.startswith(_SHAPE):
            raise ValueError("its first line does not say which model the neurons are of")
        rows = csv.reader(file)
        if next(rows, None) != _COLUMNS:
            raise ValueError(f"its columns are not {', '.join(_COLUMNS)}")
        places: dict[tuple[int, str], list[int]] = {}
        for layer, group, neuron in rows:
            places.setdefault((int(layer), group), []).append(int(neuron))
    return _set(json.loads(first.removeprefix(_SHAPE)), places)

"""The files of edits and interventions are read as they were written, and those of another version or damaged are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.common.files import write_whole
from polyneuron.neuron_core.edits.intervention import Intervention
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.sets.neuron_set import NeuronSet

MODEL: dict[str, Any] = {"model": "tiny", "widths": {"q": 4, "ffn": 6}, "n_layers": 3}
EDIT = {"version": 1, "kind": "values", "name": "tuned"} | MODEL | {"indices": {"0.q": [3], "2.ffn": [1, 5]}}
HELD = {"version": 1, "name": "means", "operation": "shift", "mode": "matched"} | MODEL
HELD |= {"indices": {"0.ffn": [2], "2.ffn": [1, 5]}}


def written(path: Path, key: str, described: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Path:
    save_file(tensors, path, metadata={f"polyneuron.{key}": json.dumps(described)})
    return path


def description(path: Path, key: str) -> Any:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()[f"polyneuron.{key}"])


def test_an_edits_file(tmp_path: Path) -> None:
    values = {"layers.0.q.weight:q": torch.ones(1, 2, dtype=torch.bfloat16)}
    edit = WeightEdit.load(written(tmp_path / "first", "weight_edit", EDIT, values))
    indices = {(0, "q"): [3], (2, "ffn"): [1, 5]}
    assert edit.neuron_set == NeuronSet.from_indices("tiny", MODEL["widths"], 3, indices)
    assert (edit.kind, edit.name) == ("values", "tuned") and edit.values is not None
    assert edit.values.keys() == values.keys()
    assert description(edit.save(tmp_path / "again"), "weight_edit") == EDIT
    assert (tmp_path / "again").read_bytes() == (tmp_path / "first").read_bytes()


def test_an_interventions_file(tmp_path: Path) -> None:
    constants = {"0": torch.tensor([0.5]), "2": torch.tensor([1.0, -1.0])}
    held = Intervention.load(written(tmp_path / "first", "intervention", HELD, constants))
    assert [*held.neuron_set] == [(0, "ffn", 2), (2, "ffn", 1), (2, "ffn", 5)] and held.name == "means"
    assert held.constants[2].tolist() == [1.0, -1.0]
    held.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "first").read_bytes()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"version": 2}, "has edit format 2; this Polyneuron reads format 1"),
        ({"version": ...}, "is damaged .*'version'"),
        ({"kind": ...}, "is damaged .*'kind'"),
        ({"indices": {"0": [3]}}, "is damaged"),
        ({"indices": {"x.q": [3]}}, "is damaged"),
        ({"indices": [3]}, "is damaged"),
        ({"indices": {"0.q": [4]}}, "outside 0 to 3"),
        ({"n_layers": ...}, "is damaged .*'n_layers'"),
    ],
)
def test_other_versions_and_damaged_descriptions_are_refused(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    described = {name: value for name, value in (EDIT | changed).items() if value is not ...}
    with pytest.raises(SetError, match=words):
        WeightEdit.load(written(tmp_path / "file", "weight_edit", described, {}))


@pytest.mark.parametrize(
    ("error", "seen", "words"),
    [
        (OSError("disk full"), SetError, "The thing cannot be written to .*file: disk full"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_what_was_there_stays_when_writing_fails(
    tmp_path: Path, error: BaseException, seen: type[BaseException], words: str | None
) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def half(file: Path) -> None:
        file.write_text("half")
        raise error

    with pytest.raises(seen, match=words):
        write_whole(path, half, "thing")
    assert path.read_text() == "before" and [file.name for file in tmp_path.iterdir()] == ["file"]
    with pytest.raises(SetError, match="cannot be written"):
        write_whole(path / "below a file", lambda file: file.write_text("x"), "thing")

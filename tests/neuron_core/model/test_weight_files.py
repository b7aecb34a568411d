"""Any run of elements comes out of the files as safetensors itself would give it."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from polyneuron.neuron_core.common.errors import ModelError
from polyneuron.neuron_core.model.weight_files import WeightFiles

GENERATOR = torch.Generator().manual_seed(0)
TENSORS = {
    "a": torch.randn(7, 11, generator=GENERATOR).bfloat16(),
    "b": torch.randn(50, generator=GENERATOR),
    "c": torch.randn(3, 2, 5, generator=GENERATOR).double(),
    "d": torch.randn(4, 4, generator=GENERATOR).half(),
    "empty": torch.zeros(0, 3),
}


@pytest.fixture
def files(tmp_path: Path) -> WeightFiles:
    save_file({name: TENSORS[name] for name in "ab"}, tmp_path / "1.safetensors", {"format": "pt"})
    save_file({name: TENSORS[name] for name in ("c", "d", "empty")}, tmp_path / "2.safetensors")
    return WeightFiles([tmp_path / "1.safetensors", tmp_path / "2.safetensors"])


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_ranges_in_any_dtype(
    files: WeightFiles, name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "polyneuron.neuron_core.model.weight_files._CHUNK_BYTES", 64
    )  # so that conversion takes several chunks
    flat = TENSORS[name].flatten()
    for start, stop in {(0, len(flat)), (len(flat) // 3, len(flat)), (1, max(1, len(flat) - 1)), (0, 0)}:
        into = torch.empty(max(0, stop - start), dtype=dtype)
        files.read(name, into, start)
        assert torch.equal(into, flat[start:stop].to(dtype))


def test_what_is_read_is_counted_in_bytes_of_the_file(files: WeightFiles) -> None:
    files.read("a", torch.empty(10), 5)
    files.read("c", torch.empty(30, dtype=torch.float64))
    assert files.bytes_read == 10 * 2 + 30 * 8


def test_reading_beyond_the_file_is_an_error(files: WeightFiles) -> None:
    last = max(files.tensors, key=lambda name: (files.tensors[name].path, files.tensors[name].first_byte))
    with pytest.raises(ModelError, match="the file ends before the tensor does"):
        files.read(last, torch.empty(1000, dtype=files.tensors[last].dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_file_that_is_written_meanwhile_is_refused(files: WeightFiles, dtype: torch.dtype) -> None:
    path = files.tensors["a"].path
    content = path.read_bytes()
    files.read("a", torch.empty(77, dtype=dtype))
    with path.open("r+b") as file:  # in place, as rsync --inplace or a finetuning script would
        file.seek(len(content) - 300)
        file.write(bytes(2))
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))  # times of files may be coarse
    with pytest.raises(ModelError, match=r"1\.safetensors was changed"):
        files.read("a", torch.empty(77, dtype=dtype))
    path.unlink()
    path.write_bytes(content)  # the same bytes again, and another file
    with pytest.raises(ModelError, match=r"1\.safetensors was changed"):
        files.read("b", torch.empty(50, dtype=dtype))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.safetensors cannot be read"):
        WeightFiles([tmp_path / "gone.safetensors"])

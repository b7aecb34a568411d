"""What waits between layers comes back bit for bit, from memory or from a file, within the budget."""

import os
from pathlib import Path

import pytest
import torch

from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.neuron_core.passes.hidden_store import HiddenStore, KeptTensor
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from tests.neuron_core.model.test_streaming import BATCHES
from tests.small_files import small_files
from tests.tiny_models import tiny_model

CPU = torch.device("cpu")
BITS = torch.tensor([0x7FC0, 0xFF81, 0x8000, 0x0001, 0x3F80], dtype=torch.int32).to(torch.int16)
"""NaN with and without payload, minus zero, the least subnormal, and one, as bfloat16."""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def spilled_file_bytes(store: HiddenStore) -> int:
    assert store._file is not None
    return os.fstat(store._file.fileno()).st_size


@pytest.mark.parametrize("budget", [None, 0])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.bool])
def test_bits_come_back(temporary: Path, budget: int | None, dtype: torch.dtype) -> None:
    store = HiddenStore(budget)
    tensor = BITS.view(torch.bfloat16) if dtype == torch.bfloat16 else torch.randn(3, 4, 5).to(dtype)
    kept, scalar = KeptTensor(store, tensor), KeptTensor(store, torch.tensor(7))
    found = kept.get(CPU)
    assert found.dtype == dtype and found.shape == tensor.shape
    assert torch.equal(found.view(torch.uint8), tensor.view(torch.uint8))
    assert scalar.get(CPU).item() == 7
    kept.replace(tensor.flip(0))
    assert torch.equal(kept.get(CPU).view(torch.uint8), tensor.flip(0).view(torch.uint8))


def test_views_that_are_not_contiguous_come_back(temporary: Path) -> None:
    tensor = torch.arange(12.0).view(3, 4).T.expand(2, 4, 3)
    assert torch.equal(KeptTensor(HiddenStore(0), tensor).get(CPU), tensor)


def test_the_budget_is_kept_and_places_are_used_again(temporary: Path) -> None:
    store = HiddenStore(1000)
    kept = [KeptTensor(store, torch.full((100,), float(i))) for i in range(5)]  # 400 bytes each
    assert (store.memory_bytes, store.spilled_bytes) == (800, 1200)
    del kept[3]  # in the file
    del kept[0]  # in memory
    assert (store.memory_bytes, store.spilled_bytes) == (400, 800)
    kept.append(KeptTensor(store, torch.full((100,), 5.0)))
    kept.append(KeptTensor(store, torch.full((100,), 6.0)))
    assert (store.memory_bytes, store.spilled_bytes) == (800, 1200)
    assert [float(each.get(CPU)[0]) for each in kept] == [1, 2, 4, 5, 6]
    assert spilled_file_bytes(store) == 1200
    kept.clear()
    assert (store.memory_bytes, store.spilled_bytes, spilled_file_bytes(store)) == (0, 0, 0)


def test_the_file_has_no_name(temporary: Path) -> None:
    """So nothing is left of it when the process is killed."""
    store = HiddenStore(0)
    kept = KeptTensor(store, torch.ones(1000))
    assert spilled_file_bytes(store) == 4000 and not list(temporary.iterdir())
    assert kept.get(CPU).sum() == 1000


def test_a_full_disk_is_one_clear_error(temporary: Path) -> None:
    store = HiddenStore(2**20)
    held = KeptTensor(store, torch.zeros(2**18))
    with (
        small_files(4096),
        pytest.raises(StoreError, match=r"is full: .* Set TMPDIR .* cluster.hidden_states_gib"),
    ):
        KeptTensor(store, torch.zeros(2000))
    assert float(held.get(CPU).sum()) == 0


def test_forks_part_when_they_advance() -> None:
    runner = LayerMajor(tiny_model("gemma3"), hidden_bytes=0)
    one = runner.begin(BATCHES[0])
    before, size = one.hidden, runner.hidden.spilled_bytes
    two = one.fork()
    assert runner.hidden.spilled_bytes == size, "a fork costs nothing until it advances"
    two.advance(before + 1)
    assert torch.equal(one.hidden, before) and torch.equal(two.hidden, before + 1)
    one.advance(before + 2)
    assert torch.equal(one.hidden, before + 2) and torch.equal(two.hidden, before + 1)
    del one, two
    assert runner.hidden.spilled_bytes == 0

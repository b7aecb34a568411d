"""The fingerprint of a model follows every byte of the files that decide its results, and nothing else."""

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from polyneuron.neuron_core.common.errors import ModelError
from polyneuron.neuron_core.model import identity
from polyneuron.neuron_core.model.identity import model_fingerprint, require_fingerprint, require_finite_files
from tests.tiny_models import save_tiny_model, tiny_model

SHARDS = "model-00001-of-"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYNEURON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(identity, "SETTLED_S", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model in several files with an index."""
    folder = save_tiny_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    tiny_model("llama-gqa-tied", vocab_size=rows).save_pretrained(folder, max_shard_size="20KB")
    (folder / "special_tokens_map.json").write_text("{}")
    (folder / "merges.txt").write_text("a b\n")
    (folder / "tokenizer.model").write_bytes(b"pieces")
    return folder


def test_any_changed_byte_of_a_deciding_file_changes_it(folder: Path) -> None:
    draw = random.Random(0)
    files = sorted(folder.iterdir())
    assert {"config.json", "tokenizer.json", "generation_config.json"} < {path.name for path in files}
    assert sum(path.suffix == ".safetensors" for path in files) > 2
    before, seen = model_fingerprint(folder), set()
    for path in files:
        whole = path.read_bytes()
        header = 8 + int.from_bytes(whole[:8], "little") if path.suffix == ".safetensors" else 0
        for _ in range(5):
            at = draw.randrange(header, len(whole))
            changed = bytearray(whole)
            changed[at] ^= 1 << draw.randrange(3)  # not so high a bit that a float becomes infinite
            path.write_bytes(changed)
            if not path.name.endswith("index.json"):  # which may name other files now
                seen.add(model_fingerprint(folder))
        path.write_bytes(whole)
    assert model_fingerprint(folder) == before and before not in seen


def test_what_decides_nothing_changes_nothing(folder: Path) -> None:
    before = model_fingerprint(folder)
    for name in (
        "README.md",
        "training_args.bin",
        "optimizer.pt",
        "chat_template.jinja",
        "modeling_x.py",
        ".gitattributes",
    ):
        (folder / name).write_text("x")
    (folder / "runs").mkdir()
    for path in folder.glob("*.safetensors"):
        os.utime(path, (1, 1))
    assert model_fingerprint(folder) == before
    assert model_fingerprint(folder, trust_remote_code=True) != before


def test_names_of_files_count(folder: Path) -> None:
    before = model_fingerprint(folder)
    (folder / "added_tokens.json").write_bytes((folder / "special_tokens_map.json").read_bytes())
    assert model_fingerprint(folder) != before


def read_bytes(folder: Path) -> int:
    """How much a fingerprint has to read."""
    done = [0]
    model_fingerprint(folder, None, lambda at, total: done.append(at))
    return done[-1]


def test_files_are_read_once(folder: Path) -> None:
    assert read_bytes(folder) == sum(path.stat().st_size for path in folder.iterdir())
    assert read_bytes(folder) == 0
    one = next(folder.glob("*.safetensors"))
    os.utime(one)
    assert read_bytes(folder) == one.stat().st_size


def test_a_change_that_keeps_size_and_time_is_seen(folder: Path) -> None:
    before = model_fingerprint(folder)
    one = next(folder.glob("*.safetensors"))
    stat, content = one.stat(), bytearray(one.read_bytes())
    content[-4] ^= 1
    with one.open("r+b") as file:
        file.write(content)
    os.utime(one, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert model_fingerprint(folder) != before


def test_files_of_a_moment_ago_are_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "SETTLED_S", 3600.0)
    assert read_bytes(folder) == read_bytes(folder) > 0


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"version": 1, "files": 3}', '{"version": 1, "files": {"config.json": 3}}']
)
def test_a_damaged_memory_costs_only_time(folder: Path, own_cache: Path, content: str) -> None:
    before = model_fingerprint(folder)
    (kept,) = (own_cache / "identity").glob("*.json")
    kept.write_text(content)
    assert model_fingerprint(folder) == before


def test_an_unwritable_cache_costs_only_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = model_fingerprint(folder)
    monkeypatch.setenv("POLYNEURON_CACHE", "/proc/nope")
    assert model_fingerprint(folder) == before


def test_a_file_that_changes_meanwhile_is_refused(folder: Path) -> None:
    def change(done: int, total: int) -> None:
        os.utime(folder / "model.safetensors.index.json")
        for path in folder.glob("*.safetensors"):
            os.utime(path, (done, done))

    with pytest.raises(ModelError, match="changed while it was read"):
        model_fingerprint(folder, None, change)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_nan_and_infinity_are_found_wherever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    """With blocks so small that tensors, and elements, lie across their ends; odd, so that they are not aligned."""
    monkeypatch.setattr(identity, "_BLOCK_BYTES", 37)
    tensors = {"a": torch.zeros(3, 5, dtype=dtype), "b": torch.zeros(31, dtype=dtype), "none": torch.zeros(0)}
    path = tmp_path / "x.safetensors"
    save_file(tensors, path)
    require_finite_files([path])
    for name in ("a", "b"):
        for at in range(tensors[name].numel()):
            for value in (float("nan"), float("inf"), -float("inf")):
                tensors[name].view(-1)[at] = value
                save_file(tensors, path)
                with pytest.raises(ModelError, match=rf"^{name} in .*x\.safetensors"):
                    require_finite_files([path])
            tensors[name].view(-1)[at] = 0


def test_other_files_than_those_of_the_start_are_refused(folder: Path) -> None:
    before = model_fingerprint(folder)
    require_fingerprint(folder, before)
    one = next(folder.glob("*.safetensors"))
    content = bytearray(one.read_bytes())
    content[-4] ^= 1
    one.write_bytes(content)
    with pytest.raises(ModelError, match=f"{folder} on .* are not those"):
        require_fingerprint(folder, before)


def test_of_several_that_start_on_a_model_one_reads_it(folder: Path) -> None:
    read: list[list[int]] = [[0] for _ in range(4)]

    def look(done: list[int]) -> str:
        return model_fingerprint(folder, None, lambda at, total: done.append(at))

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(look, read))) == 1
    assert sorted(done[-1] for done in read)[:3] == [0, 0, 0]


def test_the_hash_does_not_depend_on_threads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = model_fingerprint(folder)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setenv("POLYNEURON_CACHE", "/proc/nope")
    assert model_fingerprint(folder) == before


def test_a_row_of_zeros_is_seen(tmp_path: Path) -> None:
    """What a hash of samples of the file did not see."""
    folder = save_tiny_model(tmp_path / "model")
    before = model_fingerprint(folder)
    tensors = load_file(folder / "model.safetensors")
    for row in range(3):
        tensors["model.layers.1.mlp.up_proj.weight"][row] = 0
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        now = model_fingerprint(folder)
        assert now != before
        before = now

"""Headers of GGUF files that are cut short or damaged: refused at once, whatever they say."""

import random
import struct
import time
from pathlib import Path

import gguf
import numpy as np
import pytest

import polyneuron as pn
from polyneuron.neuron_core.common.errors import ModelError
from polyneuron.neuron_core.model.gguf_header import require_whole_gguf
from tests.real_models import gemma3_gguf, smollm2_gguf


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A GGUF with every kind of value: numbers, texts, lists of both, and tensors of two types."""
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_float32("llama.rope.freq_base", 1e4)
    writer.add_bool("tokenizer.ggml.add_bos_token", True)
    writer.add_token_list([f"<{i}>" for i in range(40)])
    writer.add_token_scores([0.5] * 40)
    for layer in range(2):
        writer.add_tensor(f"blk.{layer}.attn_q.weight", np.ones((4, 32), np.float32))
        quantised = gguf.quants.quantize(np.ones((4, 32), np.float32), gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(f"blk.{layer}.attn_k.weight", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_whole_files_pass(tiny: Path) -> None:
    for path in (tiny, smollm2_gguf(), gemma3_gguf()):
        require_whole_gguf(path)


def test_every_cut_is_seen(tiny: Path) -> None:
    whole = tiny.read_bytes()
    last = max(tensor.data_offset + tensor.n_bytes for tensor in gguf.GGUFReader(tiny).tensors)
    for size in [*range(0, last, 7), last - 1]:
        tiny.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"\w"):
            require_whole_gguf(tiny)


def test_damaged_headers_end_soon(tiny: Path) -> None:
    whole, n_refused = tiny.read_bytes(), 0
    for seed in range(400):
        draw, changed = random.Random(seed), bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(4, 1400)
            changed[at] = draw.randrange(256)
            if draw.random() < 0.3:
                changed[at : at + 8] = struct.pack("<Q", draw.choice([2**60, 2**63, 2**31, 10**6]))
        tiny.write_bytes(changed)
        began = time.process_time()
        try:
            require_whole_gguf(tiny)
        except ValueError:
            n_refused += 1
        assert time.process_time() - began < 2, seed
    assert n_refused > 100


def test_layers_that_are_not_there(tiny: Path) -> None:
    whole = tiny.read_bytes()
    at = whole.index(b"llama.block_count") + len(b"llama.block_count") + 4
    for n in (0, 1, 3, 10**9):
        tiny.write_bytes(whole[:at] + struct.pack("<I", n) + whole[at + 4 :])
        with pytest.raises(ModelError, match=f"tiny.gguf.* {n} layers"):
            pn.load_model(tiny)


@pytest.mark.slow
def test_a_real_file_with_a_damaged_header_is_refused_or_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the header survives, transformers reads the file, and what it raises is one message of ours."""
    monkeypatch.setenv("POLYNEURON_CACHE", str(tmp_path / "cache"))
    whole, ends = smollm2_gguf().read_bytes(), []
    for seed in range(24):
        draw, changed = random.Random(seed), bytearray(whole)
        for _ in range(3):
            changed[draw.randrange(24, 1800)] = draw.randrange(256)
        path = tmp_path / "m.gguf"
        path.write_bytes(changed)
        try:
            pn.load_model(path)
            ends.append("read")
        except ModelError as error:
            assert "m.gguf" in error.message or str(tmp_path) in error.message, error.message
            ends.append("refused")
    assert ends.count("refused") >= 12, ends

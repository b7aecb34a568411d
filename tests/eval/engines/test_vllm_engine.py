"""Every packing that vLLM uses takes the same edits as the Hugging Face model, and gives them back."""

from pathlib import Path
from typing import Any

import pytest

from polyneuron.neuron_core.edits.modes import OPERATIONS
from tests.own_process import found_by
from tests.tiny_models import save_tiny_model

# Sizes that vLLM's attention accepts: heads of 32.
FAMILIES: dict[str, dict[str, Any]] = {
    "llama-gqa-tied": dict(hidden_size=128),
    "llama-biased": dict(hidden_size=128),
    "phi3": dict(hidden_size=128),
    "qwen3": dict(head_dim=32),
    "gemma2": dict(head_dim=32, sliding_window=16),
    "gemma3": dict(head_dim=32, sliding_window=16),
}


def compared(folder: Path, name: str, tensor_parallel: int = 1, **changes: Any) -> dict[str, Any]:
    save_tiny_model(folder, name, spread=0.1, **changes)
    return found_by("tests.eval.engines.engine_checks", folder, tensor_parallel, threads=1, timeout_s=280)


def check(found: dict[str, Any]) -> None:
    hf, vllm = found["hf"], found["vllm"]
    for name in ("base", "zero", "values", *OPERATIONS, "both"):
        assert vllm[name] == pytest.approx(hf[name], abs=2e-4), name
        moved = max(abs(a - b) for a, b in zip(vllm[name], vllm["base"], strict=True))
        largest = max(abs(a - b) for a, b in zip(vllm[name], hf[name], strict=True))
        print(f"{name}: largest difference of a sentence {largest:.1e} nats (the change moves {moved:.2f})")
        assert moved > 0.01 or name == "base", name
    assert vllm["both"] not in (vllm["values"], vllm["set"])
    assert vllm["again"] == vllm["base"]  # bit for bit, also after the refused change
    assert "layers" in vllm["refused"] and "layers" in hf["refused"]
    assert vllm["open_to_others"] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_edits_agree_with_hugging_face_and_are_undone_exactly(name: str, tmp_path: Path) -> None:
    check(compared(tmp_path, name, **FAMILIES[name]))


@pytest.mark.slow  # two engine processes on two cores: minutes, where the fast tests may take twelve in all
def test_tensor_parallel_ranks_write_their_own_shares(tmp_path: Path) -> None:
    check(compared(tmp_path, "qwen2", tensor_parallel=2, hidden_size=128))

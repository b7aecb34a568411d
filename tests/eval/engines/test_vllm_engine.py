"""Every packing that vLLM uses takes the same edits as the Hugging Face model, and gives them back."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
    ran = subprocess.run(
        [sys.executable, "-m", "tests.eval.engines.engine_checks", str(folder), str(tensor_parallel)],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[3],
    )
    lines = [line for line in ran.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, ran.stderr[-3000:]
    found: dict[str, Any] = json.loads(lines[0].removeprefix("RESULT "))
    return found


def check(found: dict[str, Any]) -> None:
    hf, vllm = found["hf"], found["vllm"]
    for name in ("base", "zero", "values", "held"):
        assert vllm[name] == pytest.approx(hf[name], abs=2e-4), name
        if name != "base":
            moved = max(abs(a - b) for a, b in zip(vllm[name], vllm["base"], strict=True))
            assert moved > 0.01, name
    assert vllm["again"] == vllm["base"]  # bit for bit, also after the refused edit
    assert "layers" in vllm["refused"] and "layers" in hf["refused"]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_edits_agree_with_hugging_face_and_are_undone_exactly(name: str, tmp_path: Path) -> None:
    check(compared(tmp_path, name, **FAMILIES[name]))


def test_tensor_parallel_ranks_write_their_own_shares(tmp_path: Path) -> None:
    check(compared(tmp_path, "qwen2", tensor_parallel=2, hidden_size=128))

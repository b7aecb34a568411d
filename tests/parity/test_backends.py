"""vLLM and Hugging Face give the same log-probabilities, answers and prompts for the same edits of real models."""

import json
from typing import Any

import pytest

from polyneuron.neuron_core.edits.modes import OPERATIONS
from tests.own_process import found_by

TOLERANCE_NATS = 1e-3
"""Of one token, float32 against float32; the edits move single tokens by whole nats."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_backends_agree_on_real_models(name: str) -> None:
    found = found_by("tests.parity.backend_checks", name, threads=1, timeout_s=890)
    hf, vllm = found["hf"], found["vllm"]
    assert vllm["again"] == vllm["base"]["logprobs"]  # restored bit for bit
    for variant in ("base", "zero", "values", *OPERATIONS):
        ours, theirs = flat(vllm[variant]["logprobs"]), flat(hf[variant]["logprobs"])
        largest = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        moved = max(abs(a - b) for a, b in zip(ours, flat(vllm["base"]["logprobs"]), strict=True))
        n_items, furthest = compare_items(vllm[variant]["items"], hf[variant]["items"])
        print(
            f"{name} {variant}: largest difference of a token {largest:.1e} nats (the edit moves {moved:.2f}); "
            f"{n_items} items: answers equal, log-likelihoods within {furthest:.1e}"
        )
        assert largest < TOLERANCE_NATS and furthest < TOLERANCE_NATS
        assert moved > 0.1 or variant == "base"


def flat(rows: list[list[float]]) -> list[float]:
    return [value for row in rows for value in row]


def compare_items(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> tuple[int, float]:
    """Number of items, and the largest difference of a choice's log-likelihood."""
    furthest = 0.0
    for a, b in zip(ours, theirs, strict=True):
        for column in ("task", "item", "prompt_hash", "tokens_hash", "doc_hash"):
            assert a[column] == b[column], column
        if a["response"].startswith("[-"):
            pairs = zip(json.loads(a["response"]), json.loads(b["response"]), strict=True)
            furthest = max(furthest, *(abs(x - y) for x, y in pairs))
        else:
            assert a["response"] == b["response"]
        assert a["value"] == b["value"]
    return len(ours), furthest

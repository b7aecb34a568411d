"""The published selection, against a transcription of its steps in plain Python."""

import numpy as np
import pytest

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.published.selection import (
    published_quotas,
    published_sets,
    reference_selection,
    top_of_every_prompt,
)
from tests.tiny_models import tiny_model

GQA = anatomy_of(
    tiny_model("llama-gqa-tied")
)  # q 32, k and v 16, FFN 40, head dim 8, 2 query heads per kv head


def test_quotas_are_swapped() -> None:
    assert published_quotas(GQA, 0.1) == {"q": 4, "k": 4, "v": 4, "ffn": 3, "o": 4}


def test_top_of_every_prompt_by_hand() -> None:
    scores = np.array([[5.0, 4.0, 1.0, 3.0], [9.0, 1.0, 0.0, 8.0], [3.0, 7.0, 1.0, 2.0]])
    assert top_of_every_prompt(scores, 2).tolist() == [0]
    assert top_of_every_prompt(scores, 3).tolist() == [0, 1, 3]
    assert top_of_every_prompt(scores, 0).tolist() == [] and top_of_every_prompt(scores, 9).tolist() == [
        0,
        1,
        2,
        3,
    ]


def random_scores(seed: int, shift: np.ndarray | None = None) -> dict:
    rng = np.random.default_rng(seed)
    widths = {"q": 32, "k": 32, "v": 32, "ffn": 40}
    # entry 5 is strong in every prompt, so that intersections are not empty
    scores = {
        (layer, g): rng.random((4, w)) + 3 * (np.arange(w) % 11 == 5)
        for layer in range(3)
        for g, w in widths.items()
    }
    return scores


def transcribed(scores: dict, ratio: float) -> dict:
    found = {}
    for (layer, group), per_prompt in scores.items():
        k = int(ratio * 32) if group == "ffn" else int(ratio * 40)
        tops = [set(np.argsort(row)[-k:][::-1].tolist()) for row in per_prompt]
        found[layer, group] = set.intersection(*tops)
    return found


def test_selection_follows_the_published_steps() -> None:
    scores, ratio = random_scores(0), 0.2
    entries = transcribed(scores, ratio)
    found = reference_selection(scores, GQA, "m", ratio)
    published = reference_selection(scores, GQA, "m", ratio, kv_map="published")
    assert sum(map(len, entries.values())) > 12
    for (layer, group), expected in entries.items():
        if group in ("k", "v"):
            assert set(published.indices(layer, group).tolist()) == {i // 2 for i in expected}
            assert set(found.indices(layer, group).tolist()) == {(i // 16) * 8 + i % 8 for i in expected}
        else:
            assert set(found.indices(layer, group).tolist()) == expected


def test_shared_and_exclusive_are_split_before_the_row_map() -> None:
    scores = {"en": random_scores(1), "sw": random_scores(2)}
    entries = {language: transcribed(own, 0.3) for language, own in scores.items()}
    related, shared, exclusive = published_sets(scores, GQA, "m", 0.3)
    assert set(related) == set(exclusive) == {"en", "sw"}
    for layer in range(3):
        both = entries["en"][layer, "ffn"] & entries["sw"][layer, "ffn"]
        assert set(shared.indices(layer, "ffn").tolist()) == both
        assert set(exclusive["en"].indices(layer, "ffn").tolist()) == entries["en"][layer, "ffn"] - both
        rows = {(i // 16) * 8 + i % 8 for i in entries["en"][layer, "k"] & entries["sw"][layer, "k"]}
        assert set(shared.indices(layer, "k").tolist()) == rows


def test_bad_scores_are_refused() -> None:
    with pytest.raises(SetError, match="16 scores, but the code gives 32"):
        reference_selection({(0, "k"): np.ones((2, 16))}, GQA, "m", 0.1)
    with pytest.raises(SetError, match="NaN"):
        reference_selection({(0, "q"): np.full((2, 32), np.nan)}, GQA, "m", 0.1)
    with pytest.raises(SetError, match="at least one prompt"):
        reference_selection({(0, "q"): np.ones((0, 32))}, GQA, "m", 0.1)
    with pytest.raises(SetError, match="kv_map"):
        reference_selection({}, GQA, "m", 0.1, kv_map="guess")
    with pytest.raises(SetError, match="at least one language"):
        published_sets({}, GQA, "m", 0.1)
    with pytest.raises(SetError, match="different layers"):
        published_sets({"en": random_scores(0), "sw": {}}, GQA, "m", 0.1)

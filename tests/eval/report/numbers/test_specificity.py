"""Own effects beside others', against matrices done by hand."""

import math

import numpy as np
import pytest

from polyneuron.eval.report.numbers.effects import effects_of
from polyneuron.eval.report.numbers.specificity import Specificity, specificity_of
from polyneuron.eval.report.numbers.variants import ShownVariant, Variants

TOKENS = np.array([2.0, 3.0, 5.0] * 4)


def variant(name: str, nats: dict[str, np.ndarray], language: str | None = None) -> ShownVariant:
    nll = {code: (np.arange(len(TOKENS)), values, TOKENS) for code, values in nats.items()}
    kind = "base" if language is None else "exclusive"
    return ShownVariant(name=name, kind=kind, set_language=language, n_neurons=3, nll=nll)


def measured(changes: dict[str, dict[str, float]], noise: float = 0.0) -> Specificity | None:
    """changes: by owner of the set and language, nats per token more than before."""
    languages = tuple(dict.fromkeys(code for row in changes.values() for code in row))
    spread = np.random.default_rng(0).normal(0, noise, len(TOKENS)) if noise else 0.0
    variants = [variant("base", {code: 2 * TOKENS for code in languages})]
    for owner, row in changes.items():
        nats = {code: (2 + change + spread) * TOKENS for code, change in row.items()}
        variants.append(variant(f"exclusive-{owner}", nats, owner))
    made = Variants(variants)
    effects = effects_of(made)
    assert effects is not None
    return specificity_of(made, effects, languages, "exclusive")


def test_margins_and_hits_by_hand() -> None:
    found = measured(
        {
            "en": {"en": 0.3, "sw": 0.1, "th": 0.2},
            "sw": {"en": 0.1, "sw": 0.2, "th": 0.6},
            "th": {"en": 0.0, "sw": 0.3, "th": 0.5},
        }
    )
    assert found is not None
    assert found.victims == {"en": "en", "sw": "th", "th": "th"}
    assert found.margins["en"].times == pytest.approx(math.exp(0.3 - 0.15))
    assert found.margins["sw"].times == pytest.approx(math.exp(0.2 - 0.35))
    assert (found.margins["th"].low, found.margins["th"].high) == pytest.approx(
        (math.exp(0.5 - 0.15),) * 2
    )  # every sentence loses alike
    # Sets hit en, th, th. Of the six ways to hand them out, two hit twice, two once, two never.
    assert (found.sets.n, found.sets.found, found.sets.chance) == (3, 2, 1.0)
    assert found.sets.p_value == pytest.approx(2 / 6)
    # English is hurt most by its own set, Swahili by Thai's, Thai by Swahili's.
    assert (found.languages.found, found.languages.chance, found.languages.p_value) == (
        1,
        1.0,
        pytest.approx(4 / 6),
    )


def test_every_set_at_home_is_as_rare_as_one_of_all_ways() -> None:
    codes = [f"l{i}" for i in range(6)]
    found = measured({a: {b: 0.5 if a == b else 0.1 for b in codes} for a in codes})
    assert found is not None and found.sets.found == 6
    assert found.sets.p_value == pytest.approx(1 / 720) == found.languages.p_value


def test_more_languages_are_drawn() -> None:
    codes = [f"l{i}" for i in range(10)]
    found = measured({a: {b: 0.5 if a == b else 0.1 for b in codes} for a in codes})
    assert found is not None and found.sets.p_value == pytest.approx(1 / 20_001)


def test_a_set_that_hurts_no_language_hits_nothing() -> None:
    found = measured({"en": {"en": -0.1, "sw": -0.3}, "sw": {"en": -0.2, "sw": 0.1}})
    assert found is not None
    assert found.victims == {"en": None, "sw": "sw"} and found.sets.found == 1 and found.sets.chance == 0.5


def test_intervals_are_of_sentences() -> None:
    found = measured({a: {b: 0.5 * (a == b) for b in ("en", "sw")} for a in ("en", "sw")}, noise=0.2)
    assert found is not None
    margin = found.margins["en"]
    assert margin.low < margin.times < margin.high and margin.times == pytest.approx(math.exp(0.5))


@pytest.mark.parametrize("seed", range(3))
def test_handed_out_at_random_few_p_values_are_small(seed: int) -> None:
    """Of matrices that know nothing of their owners, at most alpha have a p-value of at most alpha."""
    generator = np.random.default_rng(seed)
    codes, small = ["a", "b", "c", "d"], 0
    for _ in range(60):
        rows = generator.random((4, 4)) * np.array([1, 1, 3, 1])  # the third language breaks easily
        found = measured({a: dict(zip(codes, rows[i], strict=True)) for i, a in enumerate(codes)})
        assert found is not None
        small += found.sets.p_value <= 0.05
    assert small <= 8  # above that with a probability below 0.5% at 5%


def test_one_language_or_a_gap_is_no_matrix() -> None:
    assert measured({"en": {"en": 0.3}}) is None
    assert (
        measured({"en": {"en": 0.3, "sw": 0.1}, "sw": {"sw": 0.1}}) is None
    )  # Swahili's set was not measured in English

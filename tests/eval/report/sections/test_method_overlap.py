"""Overlaps of methods, with numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.report.numbers.methods import OtherMethods
from polyneuron.eval.report.numbers.study import read_report
from polyneuron.eval.report.sections.method_cells import ABOVE, BELOW, WITHIN
from polyneuron.eval.report.sections.method_overlap import (
    APART,
    EMPTY,
    language_matrices,
    layer_tally,
    overlap_lines,
    p_words,
    pairs_of,
    verdict_of,
)
from polyneuron.eval.store.store import Store
from tests.eval.report.method_rows import Members, put_detector, put_overlaps
from tests.eval.report.synthetic import Plan, store_with

PLAN = Plan(languages=("en", "sw"), n_layers=2, n_draws=0, n_sentences=4)
LAPE = {"en": [(0, 1), (0, 2)], "sw": [(0, 1), (0, 2)]}
POOLED = {"en": [(0, 1), (0, 9)], "sw": [(0, 1), (0, 2)]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path / "store", PLAN)


def methods(store: Store, detectors: dict[str, Members]) -> OtherMethods:
    for name, members in detectors.items():
        put_detector(store, PLAN, name, members)
    put_overlaps(store, PLAN, detectors)
    found = read_report(store).studies[0].others
    assert found is not None
    return found


def row(**other: Any) -> dict[str, Any]:
    return {
        "n_a": 9,
        "n_b": 9,
        "n_common": 4,
        "chance_common": 4.0,
        "chance_low": 2,
        "chance_high": 6,
    } | other


@pytest.mark.parametrize(
    "n_common, verdict",
    [(1, BELOW), (2, WITHIN), (6, WITHIN), (7, ABOVE)],
    ids=["below", "low", "high", "above"],
)
def test_the_ends_of_the_interval_are_chance(n_common: int, verdict: str) -> None:
    assert verdict_of(row(n_common=n_common)) == verdict


def test_what_cannot_be_compared_is_not_judged() -> None:
    assert verdict_of(row(n_b=0, n_common=0, chance_common=0.0, chance_low=0, chance_high=0)) == EMPTY
    assert verdict_of(row(n_common=0, chance_common=0.0, chance_low=0, chance_high=0)) == APART


def test_layers_are_tallied_without_the_whole_model() -> None:
    rows = [
        row(layer=None, n_common=9),
        row(layer=0, n_common=7),
        row(layer=1),
        row(layer=2, n_a=0, n_common=0, chance_common=0.0),
    ]
    assert layer_tally(rows) == {ABOVE: 1, WITHIN: 1, BELOW: 0}


def test_cells_hold_the_jaccard_chance_and_verdict(store: Store) -> None:
    """Two of 64 neurons each. English shares one: J = 1/3. Swahili both: J = 1, p = 2/(64·63) = 0.0005. By chance
    2·2/64 = 0.0625 neurons, J = 0.0615·1/3 + 0.0005·1 = 0.021."""
    found = methods(store, {"lape": LAPE, "act_prob_pooled": POOLED})
    line = next(line for line in overlap_lines(found) if line.a == "LAPE")
    assert line.b == "Act-Prob-90p (pooled)"
    english, swahili = line.cells
    assert (english.text, english.mark, english.css, english.shade) == ("0.333", "○ as chance", WITHIN, 5)
    assert english.details == ("by chance 0.021", "1 common, ×16.0", "0.062 [0, 1], p 0.062")
    assert (swahili.text, swahili.mark, swahili.css, swahili.shade) == ("1.000", "▲ above chance", ABOVE, 6)
    assert swahili.details == ("by chance 0.021", "2 common, ×32.0", "0.062 [0, 1], p <0.001")


def test_a_line_for_every_pair_in_the_order_of_the_methods(store: Store) -> None:
    found = methods(store, {"act_prob_pooled": POOLED, "lape": LAPE})
    assert [sets.name for sets in found.methods] == [
        "impact_related",
        "impact_exclusive",
        "lape",
        "act_prob_pooled",
    ]
    pairs = pairs_of(found)
    assert pairs[0] == ("impact_related", "lape") and len(pairs) == 5


def test_empty_sets_and_missing_comparisons_have_words(store: Store) -> None:
    empty: dict[str, Members] = {"lape": LAPE | {"sw": []}, "act_prob_pooled": {"en": [(1, 0)], "sw": []}}
    found = methods(store, empty)
    line = next(
        line for line in overlap_lines(found) if "LAPE" in (line.a, line.b) and "pooled" in line.a + line.b
    )
    assert [cell.mark for cell in line.cells] == ["no common layer", "an empty set"]
    assert [cell.text for cell in line.cells] == ["–", "–"]
    del found.overlaps["impact_related", "lape", "sw"]
    first = next(line for line in overlap_lines(found) if (line.a, line.b) == ("impact (related)", "LAPE"))
    assert first.cells[1].details == ("not compared",)


def test_languages_within_a_method(store: Store) -> None:
    """English 2 and Swahili 2 of 64 neurons of layer 0, one in common: J = 1/3, by chance 4/64."""
    found = methods(store, {"lape": {"en": [(0, 1), (0, 2)], "sw": [(0, 2), (0, 3)]}})
    names = [matrix.name for matrix in language_matrices(found)]
    assert names == ["impact (exclusive)", "LAPE"]
    lape = language_matrices(found)[1]
    assert lape.languages == ["English", "Swahili"]
    (_, (own, other)), _ = lape.lines
    assert (own.text, own.details) == ("–", ("2",))
    assert (other.text, other.details) == ("0.333", ("1 common", "chance 0.062"))


def test_probabilities_are_short() -> None:
    assert [p_words(p) for p in (1.0, 0.5, 0.0421, 0.00012, 0.0)] == [
        "p 1.00",
        "p 0.50",
        "p 0.042",
        "p <0.001",
        "p <0.001",
    ]

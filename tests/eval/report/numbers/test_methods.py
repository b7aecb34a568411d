"""What is read of other methods, and that the impact study's sections do not know them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.report.numbers.effects import ABOVE, BELOW, WITHIN
from polyneuron.eval.report.numbers.methods import APART, EMPTY, OtherMethods, layer_tally, overlap_verdict
from polyneuron.eval.report.page import render
from polyneuron.eval.store.store import Store
from tests.eval.report.method_rows import put_changes, put_detector, put_overlaps, usual_methods
from tests.eval.report.synthetic import Plan, store_with, studied, tables_of
from tests.eval.report.training_rows import usual_training

PLAN = Plan(languages=("en", "sw"), n_layers=2, n_draws=1, n_sentences=4)
LAPE = {"en": [(0, 1), (1, 2)], "sw": [(0, 1), (0, 2), (0, 3)]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path / "store", PLAN)


def others(store: Store) -> OtherMethods:
    found = studied(store).studies[0].others
    assert found is not None
    return found


def test_without_detectors_there_is_nothing(store: Store) -> None:
    report = studied(store)
    assert report.studies[0].others is None
    assert "tiny-model-a-methods" not in render(report, "t") and ">Other methods<" not in render(report, "t")


def test_other_sections_do_not_change(store: Store) -> None:
    """Without the new section, its link and what pages of neurons say of the new sets, the report is the same."""
    usual_training(store, languages=("sw",))
    before = render(studied(store), "t")
    usual_methods(store, PLAN)
    after = render(studied(store), "t")
    cut = re.sub(
        r'<details class="part" id="tiny-model-a-methods".*?(?=<details class="part" id=)',
        "",
        after,
        flags=re.S,
    )
    cut = cut.replace('<li><a href="#tiny-model-a-methods">Other methods</a></li>', "")
    assert len(cut) < len(after) and _without_pages(cut) == _without_pages(before)


def _without_pages(page: str) -> str:
    """Without the data of neurons' pages, and with spaces alike."""
    bare, n_found = re.subn(r'<script type="application/json" data-pages>.*?</script>', "", page, flags=re.S)
    assert n_found
    return re.sub(r"\s+", " ", bare)


def test_the_study_keeps_its_sets_perplexities_and_selection(store: Store) -> None:
    before = studied(store).studies[0]
    usual_methods(store, PLAN)
    after = studied(store).studies[0]
    assert [v.name for v in after.variants] == [v.name for v in before.variants]
    assert after.sets.counts.keys() == before.sets.counts.keys()
    assert (after.selection, after.other_selections) == (before.selection, ())
    assert (after.languages, after.rows) == (before.languages, before.rows)


def test_sets_layers_and_variants_are_the_stored_ones(store: Store) -> None:
    put_detector(store, PLAN, "lape", LAPE)
    put_changes(store, PLAN, "lape", {"sw": {"sw": 1.5}}, {"sw": 1.1})
    put_overlaps(store, PLAN, {"lape": LAPE})
    found = others(store)
    (lape,) = found.detectors
    assert (lape.sets.size("en"), lape.sets.size("sw"), lape.sets.size("de")) == (2, 3, None)
    assert lape.sets.by_layer("en").tolist() == [1, 1] and lape.sets.by_layer("sw").tolist() == [3, 0]
    assert (found.n_neurons, lape.row["site"], lape.sets.n_layers) == (2 * 64, "matched", 2)
    assert [v.name for v in lape.variants] == ["base", "control-lape-sw-0", "lape-sw"]
    related = [
        row
        for row in tables_of(PLAN)["neuron_sets"].to_pylist()
        if (row["kind"], row["language"], row["group"]) == ("related", "sw", "ffn")
    ]
    assert found.impacts[0].size("sw") == len(related) > 0
    assert list(found.overlaps) == [("impact_related", "lape"), ("impact_exclusive", "lape")]
    assert [list(by_language) for by_language in found.overlaps.values()] == [["en", "sw"]] * 2
    assert [row["layer"] for row in found.overlaps["impact_related", "lape"]["sw"]] == [None, 0, 1]


def test_an_empty_set_is_not_one_that_nobody_asked_for(store: Store) -> None:
    members = {"en": [(0, 1)], "sw": []}
    put_detector(store, PLAN, "lape", members)
    put_overlaps(store, PLAN, {"lape": members})
    assert others(store).detectors[0].sets.size("sw") == 0
    assert others(store).detectors[0].sets.size("de") is None


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
    assert overlap_verdict(row(n_common=n_common)) == verdict


def test_what_cannot_be_compared_is_not_judged() -> None:
    assert overlap_verdict(row(n_b=0, n_common=0, chance_common=0.0, chance_low=0, chance_high=0)) == EMPTY
    assert overlap_verdict(row(n_common=0, chance_common=0.0, chance_low=0, chance_high=0)) == APART


def test_layers_are_tallied_without_the_whole_model() -> None:
    rows = [
        row(layer=None, n_common=9),
        row(layer=0, n_common=7),
        row(layer=1),
        row(layer=2, n_a=0, n_common=0, chance_common=0.0),
    ]
    assert layer_tally(rows) == {ABOVE: 1, WITHIN: 1, BELOW: 0}

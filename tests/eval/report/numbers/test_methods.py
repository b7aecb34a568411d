"""What is read of other methods, and that the impact study's sections do not know them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from polyneuron.eval.report.numbers.methods import OtherMethods
from polyneuron.eval.report.numbers.study import read_report
from polyneuron.eval.report.page import render
from polyneuron.eval.store.store import Store
from tests.eval.report.method_rows import put_changes, put_detector, put_overlaps, selection_of, usual_methods
from tests.eval.report.synthetic import Plan, store_with, tables_of
from tests.eval.report.training_rows import put_mixture, usual_training

PLAN = Plan(languages=("en", "sw"), n_layers=2, n_draws=1, n_sentences=4)
LAPE = {"en": [(0, 1), (1, 2)], "sw": [(0, 1), (0, 2), (0, 3)]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path / "store", PLAN)


def others(store: Store) -> OtherMethods:
    found = read_report(store).studies[0].others
    assert found is not None
    return found


def test_without_detectors_there_is_nothing(store: Store) -> None:
    report = read_report(store)
    assert report.studies[0].others is None
    assert "m0-methods" not in render(report, "t") and "Other methods" not in render(report, "t")


def test_other_sections_do_not_change(store: Store) -> None:
    """Without the new section, its link and its two findings the page is the same to the byte."""
    usual_training(store, languages=("sw",))
    before = render(read_report(store), "t")
    usual_methods(store, PLAN)
    after = render(read_report(store), "t")
    cut = re.sub(r'<h2 id="m0-methods">.*?(?=<h2 id="m0-omissions">)', "", after, flags=re.S)
    cut = cut.replace('<li><a href="#m0-methods">Other methods</a></li>', "")
    findings = re.findall(r'<li class="(?:yes|no|mixed|note)"><b>.*?</li>\n', cut, re.S)
    for finding in findings[-2:]:
        cut = cut.replace(finding, "")
    assert len(cut) < len(after) and re.sub(r"\s+", " ", cut) == re.sub(r"\s+", " ", before)


def test_the_study_keeps_its_sets_perplexities_and_selection(store: Store) -> None:
    before = read_report(store).studies[0]
    usual_methods(store, PLAN)
    after = read_report(store).studies[0]
    assert [v.name for v in after.variants] == [v.name for v in before.variants]
    assert after.sets.counts.keys() == before.sets.counts.keys()
    assert (after.selection, after.other_selections) == (before.selection, ())
    assert after.superseded == before.superseded == {} and after.languages == before.languages
    assert dataclasses.replace(after, others=None).metrics == before.metrics


def test_sets_layers_and_variants_are_the_stored_ones(store: Store) -> None:
    put_detector(store, PLAN, "lape", LAPE)
    put_changes(store, PLAN, "lape", {"sw": {"sw": 1.5}}, {"sw": 1.1})
    put_overlaps(store, PLAN, {"lape": LAPE})
    found = others(store)
    (lape,) = found.detectors
    assert (lape.sets.size("en"), lape.sets.size("sw"), lape.sets.size("de")) == (2, 3, None)
    assert lape.sets.by_layer("en").tolist() == [1, 1] and lape.sets.by_layer("sw").tolist() == [3, 0]
    assert (lape.n_neurons, lape.site, found.n_layers) == (2 * 64, "matched", 2)
    assert [v.name for v in lape.variants] == ["base", "control-lape-sw-0", "lape-sw"]
    related = [
        row
        for row in tables_of(PLAN)["neuron_sets"].to_pylist()
        if (row["kind"], row["language"], row["group"]) == ("related", "sw", "ffn")
    ]
    assert found.impacts[0].size("sw") == len(related) > 0
    assert set(found.overlaps) == {
        (impact, "lape", code) for impact in ("impact_related", "impact_exclusive") for code in ("en", "sw")
    }
    assert [row["layer"] for row in found.overlaps["impact_related", "lape", "sw"]] == [None, 0, 1]


def test_an_empty_set_is_not_one_that_nobody_asked_for(store: Store) -> None:
    members = {"en": [(0, 1)], "sw": []}
    put_detector(store, PLAN, "lape", members)
    put_overlaps(store, PLAN, {"lape": members})
    assert others(store).detectors[0].sets.size("sw") == 0
    assert others(store).detectors[0].sets.size("de") is None


def test_overlaps_of_other_sets_are_left_out(store: Store) -> None:
    put_detector(store, PLAN, "lape", LAPE)
    put_overlaps(store, PLAN, {"lape": LAPE | {"sw": [(0, 9)]}, "gone": LAPE})
    found = others(store)
    assert {key for key in found.overlaps} == {
        ("impact_related", "lape", "en"),
        ("impact_exclusive", "lape", "en"),
    }
    assert found.contradicted == 2 + 2 * 2 + 2  # lape's Swahili, all of gone's, and lape against gone


def test_the_newest_of_a_detector_is_shown_and_the_older_owned_up_to(store: Store) -> None:
    put_detector(store, PLAN, "lape", LAPE)
    put_mixture(store, "embedded")  # a later run
    put_detector(store, PLAN, "lape", {"en": [(1, 5)]}, mark="bbbb", run_id="run-0002")
    study = read_report(store).studies[0]
    assert study.others is not None
    (lape,) = study.others.detectors
    assert lape.selection == selection_of("lape", "bbbb") and lape.sets.size("en") == 1
    assert study.others.superseded == {"detectors": 1} and study.superseded == {}


def test_only_the_named_units_are_read(store: Store) -> None:
    mine = {unit for table in tables_of(PLAN).values() for unit in table["unit"].to_pylist()}
    theirs = put_detector(store, PLAN, "lape", LAPE)
    assert read_report(store, mine).studies[0].others is None
    assert read_report(store, mine | set(theirs)).studies[0].others is not None

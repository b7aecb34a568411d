"""The part on other methods: overlaps and perplexity changes with numbers worked out by hand, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyneuron.eval.report.numbers.effects import ABOVE, BELOW, WITHIN
from polyneuron.eval.report.numbers.methods import OtherMethods
from polyneuron.eval.report.page import render
from polyneuron.eval.report.sections.methods import (
    change_grids,
    language_grid,
    methods_part,
    overlap_grid,
    p_words,
    profile_grid,
    size_grid,
)
from polyneuron.eval.store.store import Store
from polyneuron.eval.tables.grid import Grid
from tests.eval.report.grids import cell_of, rows_of
from tests.eval.report.method_rows import Members, put_changes, put_detector, put_overlaps, usual_methods
from tests.eval.report.synthetic import Plan, store_with, studied
from tests.eval.report.test_page import assert_sound

PLAN = Plan(languages=("en", "sw"), n_layers=2, n_draws=0, n_sentences=4)
LAPE: Members = {"en": [(0, 1), (0, 2)], "sw": [(0, 1), (0, 2)]}
POOLED: Members = {"en": [(0, 1), (0, 9)], "sw": [(0, 1), (0, 2)]}
SPREAD: Members = {"en": [(0, 1), (1, 2)], "sw": [(0, 1), (0, 2), (0, 3)]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path / "store", PLAN)


def read(store: Store) -> OtherMethods:
    others = studied(store).studies[0].others
    assert others is not None
    return others


def compared(store: Store, detectors: dict[str, Members]) -> Grid:
    """The table of overlaps."""
    for name, members in detectors.items():
        put_detector(store, PLAN, name, members)
    put_overlaps(store, PLAN, detectors)
    others = read(store)
    return overlap_grid(others)


def test_cells_hold_the_jaccard_chance_and_verdict(store: Store) -> None:
    """Two of 64 neurons each. English shares one: J = 1/3. Swahili both: J = 1, p = 2/(64·63) = 0.0005. By chance
    2·2/64 = 0.0625 neurons, J = 0.0615·1/3 + 0.0005·1 = 0.021."""
    table = compared(store, {"lape": LAPE, "act_prob_pooled": POOLED})
    row = "LAPE and Act-Prob-90p (pooled)"
    english, swahili = cell_of(table, row), cell_of(table, row, 1)
    assert (english.text, english.tone, english.shade) == ("0.333", WITHIN, 5)
    assert english.details == ("by chance 0.021", "1 common, ×16.0", "0.062 [0, 1], p 0.062")
    assert (swahili.text, swahili.tone, swahili.shade) == ("1.000", ABOVE, 6)
    assert swahili.details == ("by chance 0.021", "2 common, ×32.0", "0.062 [0, 1], p <0.001")
    assert english.marks[0].startswith("○") and swahili.marks[0].startswith("▲")


def test_a_line_for_every_pair_in_the_order_of_the_methods(store: Store) -> None:
    table = compared(store, {"act_prob_pooled": POOLED, "lape": LAPE})
    others = read(store)
    names = ["impact_related", "impact_exclusive", "lape", "act_prob_pooled"]
    assert [sets.name for sets in others.methods] == names
    assert next(iter(others.overlaps)) == ("impact_related", "lape")
    assert len(table.rows) == len(others.overlaps) == 5


def test_empty_sets_and_missing_comparisons_say_so(store: Store) -> None:
    empty: dict[str, Members] = {"lape": LAPE | {"sw": []}, "act_prob_pooled": {"en": [(1, 0)], "sw": []}}
    table = compared(store, empty)
    row = "LAPE and Act-Prob-90p (pooled)"
    cells = [cell_of(table, row, i) for i in (0, 1)]
    assert [(cell.text, cell.tone) for cell in cells] == [("–", "empty")] * 2
    assert cells[0].marks != cells[1].marks  # no common layer, an empty set
    others = read(store)
    del others.overlaps["impact_related", "lape"]["sw"]
    cell = cell_of(overlap_grid(others), "impact (related) and LAPE", 1)
    assert (cell.text, cell.marks) == ("", ()) and cell.details


def test_languages_within_a_method(store: Store) -> None:
    """English 2 and Swahili 2 of 64 neurons of layer 0, one in common: J = 1/3, by chance 4/64."""
    members: Members = {"en": [(0, 1), (0, 2)], "sw": [(0, 2), (0, 3)]}
    put_detector(store, PLAN, "lape", members)
    put_overlaps(store, PLAN, {"lape": members})
    others = read(store)
    assert list(methods_part(others)["between_languages"]) == ["impact (exclusive)", "LAPE"]
    table = language_grid(others.methods[-1], ["en", "sw"], others.n_neurons)
    assert rows_of(table)["English"] == ["– 2", "0.333 1 common chance 0.062"]


def test_probabilities_are_short() -> None:
    expected = ["p 1.00", "p 0.50", "p 0.042", "p <0.001", "p <0.001"]
    assert [p_words(p) for p in (1.0, 0.5, 0.0421, 0.00012, 0.0)] == expected


def changes(store: Store) -> Grid:
    others = read(store)
    (table,) = change_grids(others).values()
    return table


def test_rows_are_switched_off_and_columns_measured(store: Store) -> None:
    put_detector(store, PLAN, "lape", SPREAD)
    ratios = {"en": {"en": 1.25, "sw": 1.0}, "sw": {"en": 0.9, "sw": 1.6}}
    put_changes(store, PLAN, "lape", ratios, {"en": 1.1, "sw": 1.1})
    table = changes(store)
    assert [column.text for column in table.columns[1:]] == ["English", "Swahili"]
    assert [row.tone for row in table.rows] == ["base", "", "draws", "", "draws"]
    for row, cells in (
        ("English 2 neurons", [("×1.250", ABOVE, True), ("×1.000", BELOW, False)]),
        ("Swahili 3 neurons", [("×0.900", BELOW, False), ("×1.600", ABOVE, True)]),
    ):
        found = [cell_of(table, row, i) for i in (0, 1)]
        assert [(cell.text, cell.tone, cell.framed) for cell in found] == cells
    swahili = cell_of(table, "Swahili", 1)
    assert swahili.details == ("×1.600 to ×1.600",) and swahili.shade == 2
    assert [cell.text for cell in table.rows[2].cells[1:]] == ["×1.100", "×1.100"]


def test_what_random_neurons_do_too_is_as_random(store: Store) -> None:
    put_detector(store, PLAN, "lape", SPREAD)
    put_changes(store, PLAN, "lape", {"sw": {"en": 1.1, "sw": 1.1}}, {"sw": 1.1})
    assert [cell.marks[0][:1] for cell in changes(store).rows[2].cells[1:]] == ["○"] * 2


def test_without_controls_nothing_is_judged(store: Store) -> None:
    put_detector(store, PLAN, "lape", SPREAD)
    put_changes(store, PLAN, "lape", {"sw": {"en": 1.0, "sw": 3.0}}, {})
    table = changes(store)
    assert [row.tone for row in table.rows] == ["base", "", ""]
    assert {cell.tone for cell in table.rows[2].cells[1:]} == {"quiet"}
    assert all(cell.text == "" and cell.details for cell in table.rows[1].cells[1:])


def test_an_empty_set_is_not_one_that_was_not_measured(store: Store) -> None:
    members = SPREAD | {"en": []}
    put_detector(store, PLAN, "lape", members)
    put_overlaps(store, PLAN, {"lape": members})
    put_changes(store, PLAN, "lape", {"sw": {"sw": 1.2}}, {"sw": 1.0})
    empty = cell_of(changes(store), "English 0 neurons")
    put_detector(store, PLAN, "lape", SPREAD)
    put_overlaps(store, PLAN, {"lape": SPREAD})
    assert empty.details != cell_of(changes(store), "English 2 neurons").details


def test_one_sentence_has_no_interval(tmp_path: Path) -> None:
    plan = Plan(languages=("en", "sw"), n_layers=2, n_draws=0, n_sentences=1)
    store = store_with(tmp_path / "store", plan)
    put_detector(store, plan, "lape", SPREAD)
    put_changes(store, plan, "lape", {"sw": {"en": 1.0, "sw": 2.5}}, {"sw": 1.0})
    cell = cell_of(changes(store), "Swahili", 1)
    assert (cell.text, cell.tone) == ("×2.50", "quiet") and "to" not in cell.details[0].split()


def test_sizes_and_layers_are_listed(store: Store) -> None:
    put_detector(store, PLAN, "lape", SPREAD)
    others = read(store)
    assert rows_of(size_grid(others))["English"][-1] == "2 (1.6%)"  # of 128
    table = profile_grid(others.methods[-1], ["en", "sw"])
    assert rows_of(table) == {"0": ["1", "3"], "1": ["1", "0"]}


def test_one_detector_alone_is_shown_with_what_is_missing(store: Store) -> None:
    put_detector(store, PLAN, "lape", SPREAD)
    values = methods_part(read(store))
    assert values["overlaps"] is None and values["changes"] == {} and values["degenerate"] is None
    ((name, _, least),) = values["detectors"]
    assert (name, least) == ("LAPE", "10.0%")


def test_the_page_is_sound(store: Store) -> None:
    usual_methods(store, PLAN)
    assert_sound(render(studied(store), "t"))
    values = methods_part(read(store))
    assert values["degenerate"] == "Act-Prob-90p (as published)"
    assert len(values["agreement_degenerate"]) == 4 and len(values["agreement"]) == 5


def test_names_from_outside_are_escaped(store: Store) -> None:
    evil = "<img src=x onerror=alert(1)>"
    members = {evil: [(0, 1)], "sw": [(0, 1)]}
    put_detector(store, PLAN, evil, members, site=evil)
    put_overlaps(store, PLAN, {evil: members})
    put_changes(store, PLAN, evil, {"sw": {"sw": 1.5}}, {"sw": 1.0})
    text = render(studied(store), "t")
    assert "<img" not in text and text.count("&lt;img") > 10

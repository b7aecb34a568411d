"""Matrices of perplexity changes: multiples that are exact, because every sentence changes alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyneuron.eval.report.numbers.study import read_report
from polyneuron.eval.report.sections.method_cells import ABOVE, BELOW
from polyneuron.eval.report.sections.method_perplexity import ChangeMatrix, change_matrices
from polyneuron.eval.store.store import Store
from tests.eval.report.method_rows import put_changes, put_detector, put_overlaps
from tests.eval.report.synthetic import Plan, store_with

PLAN = Plan(languages=("en", "sw"), n_layers=2, n_draws=0, n_sentences=4)
LAPE = {"en": [(0, 1), (1, 2)], "sw": [(0, 1), (0, 2), (0, 3)]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = store_with(tmp_path / "store", PLAN)
    put_detector(store, PLAN, "lape", LAPE)
    return store


def matrices(store: Store) -> list[ChangeMatrix]:
    found = read_report(store).studies[0].others
    assert found is not None
    return change_matrices(found)


def test_rows_are_switched_off_and_columns_measured(store: Store) -> None:
    ratios = {"en": {"en": 1.25, "sw": 1.0}, "sw": {"en": 0.9, "sw": 1.6}}
    put_changes(store, PLAN, "lape", ratios, {"en": 1.1, "sw": 1.1})
    (matrix,) = matrices(store)
    assert (matrix.name, matrix.languages) == ("LAPE", ["English", "Swahili"])
    assert [line.name for line in matrix.lines] == [
        "nothing off: perplexity",
        "English",
        "1 random draw",
        "Swahili",
        "1 random draw",
    ]
    english, draw, swahili = matrix.lines[1], matrix.lines[2], matrix.lines[3]
    assert (english.remark, swahili.remark) == ("2 neurons", "3 neurons")
    assert [(c.text, c.mark, c.css, c.own) for c in english.cells] == [
        ("×1.250", "▲ above random", ABOVE, True),
        ("×1.000", "▼ below random", BELOW, False),
    ]
    assert [(c.text, c.css, c.own) for c in swahili.cells] == [
        ("×0.900", BELOW, False),
        ("×1.600", ABOVE, True),
    ]
    assert swahili.cells[1].details == ("×1.600 to ×1.600",) and swahili.cells[1].shade == 2
    assert [c.text for c in draw.cells] == ["×1.100", "×1.100"]


def test_what_random_neurons_do_too_is_as_random(store: Store) -> None:
    put_changes(store, PLAN, "lape", {"sw": {"en": 1.1, "sw": 1.1}}, {"sw": 1.1})
    assert [cell.mark for cell in matrices(store)[0].lines[2].cells] == ["○ as random"] * 2


def test_without_controls_nothing_is_judged(store: Store) -> None:
    put_changes(store, PLAN, "lape", {"sw": {"en": 1.0, "sw": 3.0}}, {})
    lines = matrices(store)[0].lines
    assert [line.name for line in lines] == ["nothing off: perplexity", "English", "Swahili"]
    assert [cell.mark for cell in lines[2].cells] == ["not judged"] * 2
    assert [cell.details for cell in lines[1].cells] == [("not measured",)] * 2


def test_an_empty_set_says_so(tmp_path: Path) -> None:
    store = store_with(tmp_path / "store", PLAN)
    members = LAPE | {"en": []}
    put_detector(store, PLAN, "lape", members)
    put_overlaps(store, PLAN, {"lape": members})
    put_changes(store, PLAN, "lape", {"sw": {"en": 1.0, "sw": 1.2}}, {"sw": 1.0})
    english = matrices(store)[0].lines[1]
    assert english.remark == "0 neurons" and english.cells[0].details == ("no neurons to switch off",)


def test_one_sentence_has_no_interval(tmp_path: Path) -> None:
    plan = Plan(languages=("en", "sw"), n_layers=2, n_draws=0, n_sentences=1)
    store = store_with(tmp_path / "store", plan)
    put_detector(store, plan, "lape", LAPE)
    put_changes(store, plan, "lape", {"sw": {"en": 1.0, "sw": 2.5}}, {"sw": 1.0})
    cell = matrices(store)[0].lines[2].cells[1]
    assert (cell.text, cell.mark, cell.details) == ("×2.50", "not judged", ("one sentence, no interval",))


def test_without_perplexities_there_is_no_matrix(store: Store) -> None:
    assert matrices(store) == []

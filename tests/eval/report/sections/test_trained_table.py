"""Table 1 against means worked out by hand, with gaps, several seeds and languages trained together."""

from __future__ import annotations

import numpy as np

from polyneuron.eval.report.numbers.training import ShownTraining
from polyneuron.eval.report.sections.trained_table import Form, TrainedOutcome, trained_grids
from polyneuron.eval.tables.grid import Cell, Grid
from tests.eval.report.grids import said

Outcomes = dict[str, TrainedOutcome]
"""By variant and language, ``name:language``."""


def trained(strategy: str, languages: str, seed: int = 0) -> ShownTraining:
    step = np.array([1])
    return ShownTraining(
        name=f"{strategy}-{languages}-{seed}",
        strategy=strategy,
        reason="why",
        languages=tuple(languages.split("+")),
        seed=seed,
        n_neurons=3,
        n_trainable=9,
        steps=step,
        losses=step.astype(float),
        tokens=step,
    )


def grids_of(
    trainings: list[ShownTraining], changes: Outcomes, against: Outcomes | None = None
) -> tuple[Grid, Grid | None]:
    """What has no outcome is "not evaluated"."""

    def pick(outcomes: Outcomes, training: ShownTraining, language: str) -> TrainedOutcome:
        return outcomes.get(f"{training.name}:{language}", TrainedOutcome(reason="not evaluated"))

    form = Form(
        base=lambda language: TrainedOutcome(value=50.0, low=40.0, high=60.0, n=10),
        measure=lambda training, language: pick(changes, training, language),
        against=lambda training, language: pick(against or {}, training, language),
        value="{:g}".format,
        change="{:+g}".format,
        unit="item",
        against_name="− random",
    )
    return trained_grids(trainings, form, "title")


def cells(grid: Grid, row: int) -> list[Cell]:
    return list(grid.rows[row].cells[1:])


def names(grid: Grid) -> list[str]:
    return [said(row.cells[0]) for row in grid.rows]


def outcome(value: float, change: float, verdict: str = "no evidence") -> TrainedOutcome:
    return TrainedOutcome(value=value, change=change, low=change - 1, high=change + 1, verdict=verdict, n=10)


def test_each_cell_is_the_variant_trained_for_its_column() -> None:
    changes = {"shared-sw-0:sw": outcome(54, 4, "better"), "shared-th-0:th": outcome(47, -3, "worse")}
    table, seeds = grids_of([trained("shared", "sw"), trained("shared", "th")], changes)
    assert cells(table, 0) == [Cell(text="50", details=("40 to 60", "10 items"))] * 2 + [Cell()]
    better, worse, average = cells(table, 1)
    assert better == Cell(
        text="54", raised="+4", marks=("▲ better",), details=("+3 to +5", "10 items"), tone="better"
    )
    assert worse == Cell(
        text="47", raised="-3", marks=("▼ worse",), details=("-4 to -2", "10 items"), tone="worse"
    )
    assert average == Cell(text="+0.5")
    assert [column.text for column in table.columns[1:]] == [
        "Swahili",
        "Thai",
        "average change",
    ] and seeds is None


def test_the_comparison_with_random_stands_below_and_random_has_none() -> None:
    table, _ = grids_of(
        [trained("shared", "sw"), trained("random", "sw")],
        {"shared-sw-0:sw": outcome(54, 4), "random-sw-0:sw": outcome(51, 1)},
        {"shared-sw-0:sw": TrainedOutcome(change=3.0, low=2.0, high=4.0, verdict="better", n=10)},
    )
    assert [row.cells[0].text for row in table.rows] == ["none", "shared", "− random", "random"]
    assert [row.tone for row in table.rows] == ["base", "", "draws", ""]
    against = Cell(text="+3", marks=("▲ better",), details=("+2 to +4", "10 items"), tone="better")
    assert cells(table, 2) == [against]
    assert len(table.columns) == 2  # one language has no average


def test_a_gap_is_blank_with_its_reason_and_never_zero() -> None:
    changes = {"shared-sw-0:sw": TrainedOutcome(value=54.0, n=10, reason="not compared")}
    table, _ = grids_of([trained("shared", "sw"), trained("exclusive", "th")], changes)
    shared, exclusive = cells(table, 1), cells(table, 2)
    assert shared[0] == Cell(text="54", details=("not compared",), tone="quiet")
    for cell in (*shared[1:], *exclusive):
        assert (cell.text, cell.tone) == ("", "blank") and cell.details
    assert shared[1].details != exclusive[1].details == ("not evaluated",)


def test_an_average_says_over_how_many_languages() -> None:
    table, _ = grids_of(
        [trained("shared", "sw"), trained("shared", "th")], {"shared-sw-0:sw": outcome(54, 4)}
    )
    assert cells(table, 1)[2] == Cell(text="+4", details=("over 1 of 2",))


def test_seeds_are_averaged_with_their_range_and_kept_apart_below() -> None:
    changes = {
        "shared-sw-0:sw": outcome(54, 4, "better"),
        "shared-sw-1:sw": outcome(51, 1),
        "shared-sw-2:sw": TrainedOutcome(reason="not evaluated"),
    }
    table, seeds = grids_of([trained("shared", "sw", seed) for seed in range(3)], changes)
    assert names(table)[1] == "shared mean of 3 seeds"
    assert cells(table, 1) == [
        Cell(
            text="52.5",
            raised="+2.5",
            marks=("▲ better 1 of 2", "○ no evidence 1 of 2"),
            details=("+1 to +4 over seeds", "2 of 3 seeds", "10 items"),
            tone="quiet",
        )
    ]
    assert seeds is not None and names(seeds) == ["shared seed 0", "shared seed 1", "shared seed 2"]
    assert [cells(seeds, row)[0].tone for row in (0, 2)] == ["better", "blank"]


def test_the_average_over_seeds_is_of_the_means_per_language() -> None:
    trainings = [trained("shared", lang, seed) for lang in ("sw", "th") for seed in (0, 1)]
    changes = {
        "shared-sw-0:sw": outcome(54, 4),
        "shared-sw-1:sw": outcome(52, 2),
        "shared-th-0:th": outcome(51, 1),
    }
    table, _ = grids_of(trainings, changes)
    assert cells(table, 1)[2] == Cell(text="+2")  # of 3 in Swahili and 1 in Thai


def test_languages_trained_together_fill_a_row_of_their_own() -> None:
    changes = {"shared-sw-0:sw": outcome(54, 4), "shared-th+sw-0:th": outcome(52, 2)}
    changes["shared-th+sw-0:sw"] = outcome(53, 3)
    table, _ = grids_of([trained("shared", "sw"), trained("shared", "th+sw")], changes)
    assert names(table)[1:] == ["shared", "shared Thai and Swahili together"]
    assert [cell.raised for cell in cells(table, 2)] == ["+3", "+2", ""] and cells(table, 2)[2].text == "+2.5"

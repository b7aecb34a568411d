"""Table 1 against means worked out by hand, with gaps, several seeds and languages trained together."""

from __future__ import annotations

import numpy as np

from polyneuron.eval.report.numbers.training import Training
from polyneuron.eval.report.sections.training_tables import Cell, Form, Outcome, TrainedTable, trained_table

FORM = Form(lambda value: f"{value:g}", lambda change: f"{change:+g}", "item", "− random")


def trained(strategy: str, languages: str, seed: int = 0) -> Training:
    one = np.array([1])
    return Training(
        f"{strategy}-{languages}-{seed}",
        strategy,
        "why",
        tuple(languages.split("+")),
        seed,
        3,
        9,
        one,
        one.astype(float),
        one,
    )


def table_of(
    trainings: list[Training], languages: list[str], changes: dict[str, Outcome], against: dict[str, Outcome]
) -> TrainedTable:
    """Outcomes by variant and language, ``name:language``; nothing is "not evaluated"."""

    def pick(found: dict[str, Outcome], one: Training, language: str) -> Outcome:
        return found.get(f"{one.name}:{language}", Outcome(reason="not evaluated"))

    return trained_table(
        trainings,
        languages,
        lambda language: Outcome(50.0, low=40.0, high=60.0, n=10),
        lambda one, language: pick(changes, one, language),
        lambda one, language: pick(against, one, language),
        FORM,
    )


def outcome(value: float, change: float, verdict: str = "no evidence") -> Outcome:
    return Outcome(value, change, change - 1, change + 1, verdict, 10)


def test_each_cell_is_the_variant_trained_for_its_column() -> None:
    table = table_of(
        [trained("shared", "sw"), trained("shared", "th")],
        ["sw", "th"],
        {"shared-sw-0:sw": outcome(54, 4, "better"), "shared-th-0:th": outcome(47, -3, "worse")},
        {},
    )
    base, shared = table.lines
    assert base.cells == [Cell("50", details=("40 to 60", "10 items"))] * 2 + [Cell()]
    assert shared.cells[0] == Cell("54", "+4", ("▲ better",), ("+3 to +5", "10 items"), "better")
    assert shared.cells[1] == Cell("47", "-3", ("▼ worse",), ("-4 to -2", "10 items"), "worse")
    assert shared.cells[2] == Cell("+0.5")
    assert table.columns == ["Swahili", "Thai", "average change"] and table.seed_lines == []


def test_the_comparison_with_random_stands_below_and_random_has_none() -> None:
    table = table_of(
        [trained("shared", "sw"), trained("random", "sw")],
        ["sw"],
        {"shared-sw-0:sw": outcome(54, 4), "random-sw-0:sw": outcome(51, 1)},
        {"shared-sw-0:sw": Outcome(None, 3.0, 2.0, 4.0, "better", 10)},
    )
    assert [line.name for line in table.lines] == ["none", "shared", "− random", "random"]
    assert table.lines[2].cells == [Cell("+3", "", ("▲ better",), ("+2 to +4", "10 items"), "better")]
    assert table.columns == ["Swahili"]  # one language has no average


def test_a_gap_is_blank_with_its_reason_and_never_zero() -> None:
    table = table_of(
        [trained("shared", "sw"), trained("exclusive", "th")],
        ["sw", "th"],
        {"shared-sw-0:sw": Outcome(54.0, n=10, reason="not compared")},
        {},
    )
    shared, exclusive = table.lines[1:]
    assert shared.cells[0] == Cell("54", details=("not compared",), css="quiet")
    assert shared.cells[1] == Cell(details=("not trained for it",), css="blank")
    assert shared.cells[2] == Cell(details=("nothing to average",), css="blank")
    assert exclusive.cells[1] == Cell(details=("not evaluated",), css="blank")


def test_an_average_says_over_how_many_languages() -> None:
    table = table_of(
        [trained("shared", "sw"), trained("shared", "th")],
        ["sw", "th"],
        {"shared-sw-0:sw": outcome(54, 4)},
        {},
    )
    assert table.lines[1].cells[2] == Cell("+4", details=("over 1 of 2",))


def test_seeds_are_averaged_with_their_range_and_kept_apart_below() -> None:
    changes = {
        "shared-sw-0:sw": outcome(54, 4, "better"),
        "shared-sw-1:sw": outcome(51, 1),
        "shared-sw-2:sw": Outcome(reason="not evaluated"),
    }
    table = table_of([trained("shared", "sw", seed) for seed in range(3)], ["sw"], changes, {})
    (mean,) = table.lines[1:]
    assert mean.remark == "mean of 3 seeds"
    assert mean.cells == [
        Cell(
            "52.5",
            "+2.5",
            ("▲ better 1 of 2", "○ no evidence 1 of 2"),
            ("+1 to +4 over seeds", "2 of 3 seeds", "10 items"),
            "quiet",
        )
    ]
    assert [line.remark for line in table.seed_lines] == ["seed 0", "seed 1", "seed 2"]
    assert table.seed_lines[0].cells[0].css == "better" and table.seed_lines[2].cells[0].css == "blank"


def test_the_average_over_seeds_is_of_the_means_per_language() -> None:
    trainings = [trained("shared", lang, seed) for lang in ("sw", "th") for seed in (0, 1)]
    changes = {
        "shared-sw-0:sw": outcome(54, 4),
        "shared-sw-1:sw": outcome(52, 2),
        "shared-th-0:th": outcome(51, 1),
    }
    table = table_of(trainings, ["sw", "th"], changes, {})
    assert table.lines[1].cells[2] == Cell("+2")  # of 3 in Swahili and 1 in Thai


def test_languages_trained_together_fill_a_row_of_their_own() -> None:
    changes = {"shared-sw-0:sw": outcome(54, 4), "shared-th+sw-0:th": outcome(52, 2)}
    changes["shared-th+sw-0:sw"] = outcome(53, 3)
    table = table_of([trained("shared", "sw"), trained("shared", "th+sw")], ["sw", "th"], changes, {})
    alone, together = table.lines[1:]
    assert (alone.remark, together.remark) == ("", "Thai and Swahili together")
    assert [cell.change for cell in together.cells] == ["+3", "+2", ""] and together.cells[2].text == "+2.5"

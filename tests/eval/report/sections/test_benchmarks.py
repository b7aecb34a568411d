"""The part on benchmarks: its cells and marks, what stands in, what is missing, and when it is absent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.report.numbers.benchmarks import results_of
from polyneuron.eval.report.page import render, write_report
from polyneuron.eval.report.sections.benchmarks import benchmarks_part
from polyneuron.eval.store.store import Store
from tests.eval.report.benchmark_rows import add, score, unavailable, usual, usual_verdicts, verdict
from tests.eval.report.grids import cell_of, rows_of
from tests.eval.report.synthetic import Plan, list_units, store_with, studied

PLAN = Plan(languages=("en", "sw"), n_layers=2, n_draws=0, n_sentences=4)
Rows = list[dict[str, Any]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path / "store", PLAN)


def values(store: Store) -> dict[str, Any]:
    results = results_of(studied(store).studies[0])
    assert results is not None
    return benchmarks_part(results, False)


def only(store: Store) -> dict[str, Any]:
    (shown,) = values(store)["benchmarks"]
    return dict(shown)


def test_without_scores_there_is_no_part(store: Store) -> None:
    report = studied(store)
    assert results_of(report.studies[0]) is None and "benchmarks" not in render(report, "t")


def test_scores_and_paired_differences_stand_side_by_side(store: Store) -> None:
    add(store, usual(), usual_verdicts())
    row = rows_of(only(store)["table"])["Swahili"]
    assert row[:3] == ["50.0 40.0 to 60.0", "20.0 10.0 to 30.0", "−30.0 ▼ worse −35.0 to −25.0"]
    assert row[-1] == "−10.0 ○ no evidence −15.0 to −5.0"
    assert cell_of(only(store)["table"], "Swahili", 2).tone == "firm"
    heads = [(head.over, head.text) for head in only(store)["table"].columns[:4]]
    assert heads == [("", "language"), ("base", "score"), ("shared", "score"), ("shared", "− base")]
    assert only(store)["asked"] == {
        "dataset": {("openai/MMMLU", "hub", "0123456789ab"): ["en", "sw"]},
        "items": {(50, None): ["en", "sw"]},
        "shots": {(5,): ["en", "sw"]},
        "metric": {("acc", "none"): ["en", "sw"]},
    }
    found = values(store)
    assert (found["engines"], found["starts"], found["family"]) == ([("vllm", "bfloat16")], {True}, 12)
    assert found["judged"]["alpha"] == 0.05 and found["sources"] == {"hub": ["MMMLU"]}


def test_every_verdict_has_a_mark_of_its_own(store: Store) -> None:
    found = ["better", "worse", "no evidence", "not judged"]
    names = [f"exclusive-{lang}" for lang in ("en", "sw", "fr", "de")]
    add(
        store,
        [score(name, "en", 0.5) for name in ("base", *names)],
        [
            verdict(
                name,
                "en",
                None if word == "not judged" else 0.01,
                word,
                reason="why" if word == "not judged" else None,
            )
            for name, word in zip(names, found, strict=True)
        ],
    )
    row = rows_of(only(store)["table"])["English"]
    marks = [mark for cell in row for mark in ("▲", "▼", "○", "– not") if mark in cell]
    assert sorted(marks) == sorted(["▲", "▼", "○", "– not"])
    assert ("judged", (["en"], "exclusive-de", "base", "not judged", "why")) in only(store)["notes"]


@pytest.mark.parametrize("kind", ["hub", "local"])
def test_data_that_is_no_sample_has_a_table_of_its_own(store: Store, kind: str) -> None:
    add(store, usual(data=kind), usual_verdicts())
    assert values(store)["sources"] == {kind: ["MMMLU"]} and only(store)["title"] == "MMMLU"
    assert [key[1] for key in only(store)["asked"]["dataset"]] == [kind]
    assert values(store)["samples"] is None


def test_samples_are_one_table_of_the_unchanged_model(store: Store) -> None:
    add(store, usual() + usual(benchmark="xnli", data="sample"), usual_verdicts())
    found = values(store)
    assert found["sources"] == {"hub": ["MMMLU"]} and [b["title"] for b in found["benchmarks"]] == ["MMMLU"]
    assert rows_of(found["samples"]) == {"XNLI 50 items": ["50.0", "50.0"]}


def test_a_stand_in_and_a_missing_language_are_explained(store: Store) -> None:
    rows = [score("base", "en", 0.5, stand_in="MMLU, the English original"), score("shared", "en", 0.5)]
    rows += [unavailable(name, "sw", "MMMLU has no sw; it has de") for name in ("base", "shared")]
    add(store, rows)
    assert only(store)["notes"] == [
        ("stand_in", ("en", "MMLU, the English original")),
        ("null", ([("sw", None)], "MMMLU has no sw; it has de")),
    ]
    assert rows_of(only(store)["table"]) == {
        "English stand-in": ["50.0 40.0 to 60.0", "50.0 40.0 to 60.0", "–"],
    }
    assert values(store)["judged"] is None and values(store)["changed"]


def test_what_was_not_scored_is_counted(store: Store) -> None:
    rows = [score("base", "en", 0.5, n=48, n_unscored=2), score("shared", "en", 0.0, n=48, n_unscored=2)]
    rows += [score("base", "sw", 0.0), score("shared", "sw", 0.1, n=49, n_unscored=1)]
    add(store, rows)
    assert only(store)["notes"] == [
        ("floor", ["sw"]),
        ("unscored", [(("en", None), 2, 50), (("sw", "shared"), 1, 50)]),
    ]


def test_a_language_not_evaluated_yet_is_named(store: Store) -> None:
    add(store, [score("base", "en", 0.5), score("base", "sw", 0.5), score("shared", "en", 0.5)])
    assert only(store)["notes"] == [("gaps", [("sw", 1, 2)])]
    assert rows_of(only(store)["table"])["Swahili"] == ["50.0 40.0 to 60.0", "–", "–"]


def test_the_base_model_alone(store: Store) -> None:
    add(store, [score("base", "en", 0.5)])
    found = values(store)
    assert not found["changed"] and not found["draws"] and only(store)["chart"] is None


def test_without_the_base_model_there_are_scores_and_no_differences(store: Store) -> None:
    add(store, [score("shared", "en", 0.5)])
    assert rows_of(only(store)["table"])["English"] == ["50.0 40.0 to 60.0"]


def test_sets_are_set_against_their_draws(store: Store) -> None:
    add(store, usual(), usual_verdicts())
    found = values(store)
    assert found["draws"] == [("shared", 2, {"worse": 4})]
    rows = rows_of(found["draws_table"])
    assert list(rows) == ["MMMLU shared − control-shared-0", "MMMLU shared − control-shared-1"]
    assert all(cell.startswith("−27.0 ▼") for row in rows.values() for cell in row)


def test_secondary_metrics_are_left_out(store: Store) -> None:
    add(store, [*usual(), score("base", "en", 0.77, metric="acc_norm", primary=False, benchmark="xnli")])
    assert only(store)["title"] == "MMMLU"


def test_names_are_escaped(store: Store, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    rows: Rows = usual(benchmark=evil, dataset=evil, stand_in=evil, backend=evil)
    rows += [unavailable(f"control-{evil}", evil, evil, benchmark=evil, kind="control", control_of="shared")]
    add(store, rows, usual_verdicts(benchmark=evil, reason=evil))
    text = write_report(list_units(store), tmp_path / "r.html").read_text("utf-8")
    assert "<img" not in text and text.count("&lt;img") > 20


def test_the_chart_says_each_value_and_leaves_gaps_out(store: Store) -> None:
    add(store, usual(), usual_verdicts())
    chart = str(only(store)["chart"])
    assert re.search(r"shared: 20\.0 \(10\.0 to 30\.0\)", chart) and "46.0–48.0" in chart
    assert chart.count(">exclusive</text>") == 1  # in Swahili only
    assert chart.count('class="reference"') == 2

"""A study's result in one table: each number is that of the part of the report that shows it at length."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from polyneuron.eval.report.numbers.chance import beside_draws
from polyneuron.eval.report.numbers.effects import effects_of
from polyneuron.eval.report.numbers.study import Report
from polyneuron.eval.report.numbers.variants import Variants
from polyneuron.eval.report.page import render
from polyneuron.eval.report.sections.summary import sample_benchmarks, summary
from polyneuron.eval.report.words.wording import number, span, times, unfinished
from tests.eval.report.benchmark_rows import add, usual
from tests.eval.report.grids import cell_of, rows_of
from tests.eval.report.synthetic import Plan, store_with, studied
from tests.eval.report.training_rows import usual_training

PLAN = Plan(languages=("en", "sw", "th"), n_draws=3)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return studied(store_with(tmp_path_factory.mktemp("store"), PLAN))


def test_sizes_and_multiples_are_those_of_the_study(report: Report) -> None:
    (study,) = report.studies
    (table,) = summary(study)
    effects = effects_of(study.variants)
    assert effects is not None
    for code, name in (("en", "English"), ("sw", "Swahili"), ("th", "Thai")):
        shared = effects.of(study.variants.of_set("shared"), code)
        own = effects.of(study.variants.of_set("exclusive", code), code)
        chance = next(
            r for r in study.rows["noise_floor"] if (r["kind"], r["language"]) == ("exclusive", code)
        )
        assert shared and own
        assert cell_of(table, name, 0).text == number(effects.base[code])
        assert cell_of(table, name, 1).text == times(shared.times)
        size = cell_of(table, name, 2)
        assert size.text == str(study.sets.total("exclusive", code))
        assert size.details == (f"{number(chance['chance_size'], 2)} by chance",)
        assert cell_of(table, name, 3).details == (span(own.low, own.high, times),)


def test_p_values_are_those_of_all_languages_together(report: Report) -> None:
    (study,) = report.studies
    (table,) = summary(study)
    effects = effects_of(study.variants)
    assert effects is not None
    for control, words in (("control", "p beside random"), ("impact_control", "p beside neurons nearest")):
        for kind, column in (("shared", 1), ("exclusive", 3), ("strict_exclusive", 5)):
            beside = beside_draws(study.variants, effects, study.languages, kind, control)  # type: ignore[arg-type]
            assert beside is not None and beside.p_all is not None
            cell = cell_of(table, words, column)
            assert cell.text == number(beside.p_all, 2)
            assert cell.details == (f"{beside.n_won} of 3 languages",)


def test_what_was_not_measured_is_a_dash(report: Report) -> None:
    (study,) = report.studies
    bare = dataclasses.replace(study, variants=Variants(), rows={**study.rows, "noise_floor": []})
    (table,) = summary(bare)
    assert rows_of(table)["English"][:2] == ["–", "–"]
    assert not any(name.startswith("p beside") for name in rows_of(table))


def test_trained_variants_and_scores_follow(tmp_path: Path) -> None:
    store = store_with(tmp_path, PLAN)
    usual_training(store, languages=("sw",))
    add(store, usual(PLAN.languages))
    (study,) = studied(store).studies
    sets, trained, scores = summary(study)
    assert (sets.title, trained.title, scores.title) == (study.model, "Trained variants", "MMMLU")
    heads = {column.over for column in scores.columns}
    assert {"base", "shared", "exclusive-sw"} <= heads and not any(
        head.startswith("control") for head in heads
    )
    assert not sample_benchmarks(study)


def test_samples_are_only_named(tmp_path: Path) -> None:
    store = store_with(tmp_path, PLAN)
    add(store, usual(PLAN.languages, data="sample"))
    (study,) = studied(store).studies
    assert len(summary(study)) == 1 and sample_benchmarks(study) == ["MMMLU"]


@pytest.mark.parametrize("status", ["interrupted", "failed", "running"])
def test_a_study_that_is_not_at_its_end_says_so(tmp_path: Path, status: str) -> None:
    store = store_with(tmp_path, PLAN)
    run = store.read("runs").to_pylist()[0] | {"status": status}
    store.write("runs", [run], run["unit"], run_id=run["run_id"])
    (study,) = studied(store).studies
    assert study.run_status == status
    (table,) = summary(study)
    assert unfinished(status) and unfinished(status) in table.caption
    assert unfinished(status) in render(studied(store), "title")


def test_a_finished_study_says_nothing_of_its_end(report: Report) -> None:
    (study,) = report.studies
    assert study.run_status == "finished" and unfinished("finished") == ""
    assert "newest run" not in render(report, "title")

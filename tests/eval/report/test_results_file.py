"""`results.json`: the same numbers as the report's, in JSON that any program reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polyneuron.eval.report import write_report
from polyneuron.eval.report.numbers.effects import effects_of
from polyneuron.eval.report.results_file import results_json
from tests.eval.report.benchmark_rows import add, score, unavailable
from tests.eval.report.synthetic import Plan, list_units, store_with, studied

PLAN = Plan(languages=("en", "sw", "th"), n_draws=3)


def loaded(text: str) -> dict[str, object]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)  # type: ignore[no-any-return]


def test_it_lies_beside_the_report(tmp_path: Path) -> None:
    store = list_units(store_with(tmp_path / "store", PLAN))
    path = write_report(store, tmp_path / "out" / "page.html")
    assert loaded((path.parent / "results.json").read_text("utf-8")) == loaded(results_json(studied(store)))


def test_its_numbers_are_the_study_s(tmp_path: Path) -> None:
    report = studied(store_with(tmp_path, PLAN))
    (study,) = report.studies
    effects = effects_of(study.variants)
    assert effects is not None
    found = json.loads(results_json(report))["models"][study.model]
    sizes = {(row["kind"], row["language"]): row["n_neurons"] for row in found["sets"]}
    assert sizes["exclusive", "sw"] == study.sets.total("exclusive", "sw") and sizes["shared", None]
    assert found["perplexity"]["base"]["th"]["ppl"] == effects.base["th"]
    assert found["perplexity"]["shared"]["en"]["times"] == effects.by["shared"]["en"].times
    beside = {(row["set"], row["kind"]): row for row in found["beside_draws"]}
    assert beside["shared", "control"]["p_all"] == pytest.approx(1 / 4)


def test_scores_have_the_shape_of_lm_eval(tmp_path: Path) -> None:
    store = store_with(tmp_path, PLAN)
    rows = [
        score("base", "en", 0.25, settings_json='{"task": "mgsm_direct_en"}'),
    ]
    add(store, [*rows, unavailable("base", "th", "not translated")])
    (of_base,) = json.loads(results_json(studied(store)))["models"][PLAN.model]["evaluations"].values()
    task = of_base["results"]["mgsm_direct_en"]
    key = next(name for name in task if name.endswith(f",{rows[0]['filter']}"))
    metric = rows[0]["metric"]
    assert (
        task[f"{metric},{rows[0]['filter']}"] == 0.25
        and f"{metric}_stderr,{rows[0]['filter']}" in task
        and key
    )
    assert of_base["n-samples"]["mgsm_direct_en"]["effective"] == rows[0]["n"]
    assert not any(name.endswith("_th") for name in of_base["results"])

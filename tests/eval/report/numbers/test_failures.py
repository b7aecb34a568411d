"""A model that failed is on the page, in its own words, until a later run has studied it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from polyneuron.eval.report.numbers.failures import failures_of
from polyneuron.eval.report.numbers.study import read_report
from polyneuron.eval.report.page import render
from tests.eval.report.synthetic import Plan, store_with


def run(run_id: str, models: list[str], failed: list[str] | None) -> dict[str, Any]:
    failures = None if failed is None else [{"model": m, "stage": "detection", "reason": m} for m in failed]
    return {
        "run_id": run_id,
        "config_json": json.dumps({"models": [{"name": None, "path": name} for name in models]}),
        "failures_json": None if failures is None else json.dumps(failures),
    }


def names(*runs: dict[str, Any]) -> list[tuple[str, str]]:
    return [(failure.model, failure.run_id) for failure in failures_of(runs)]


def test_the_newest_run_that_came_to_its_end_decides() -> None:
    first = run("1", ["a", "b", "c"], ["a", "c"])
    assert names(first) == [("a", "1"), ("c", "1")]
    assert names(first, run("2", ["a"], [])) == [("c", "1")]
    assert names(first, run("2", ["a", "b"], ["a", "b"])) == [("a", "2"), ("b", "2"), ("c", "1")]
    assert names(first, run("2", ["a", "b", "c"], None)) == [("a", "1"), ("c", "1")]
    assert names() == []


def test_a_failure_is_shown_as_text(tmp_path: Path) -> None:
    report = read_report(store_with(tmp_path, Plan()))
    assert report.failures == () and 'id="failed"' not in render(report, "t")
    hostile = "<script>alert(1)</script>"
    failures = [{"model": hostile, "stage": "detection", "reason": f"{hostile} is NaN"}]
    row = report.runs[-1] | {"run_id": "later", "started_at": "2030-01-01T00:00:00+00:00"}
    found = failures_of([*report.runs, row | {"failures_json": json.dumps(failures)}])
    page = render(replace(report, failures=found), "t")
    assert 'id="failed"' in page and "&lt;script&gt;alert(1)&lt;/script&gt; is NaN" in page
    assert hostile not in page

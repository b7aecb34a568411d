"""Runs as they are shown, and models that failed: on the page, in their own words, until a later run has studied them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from polyneuron.eval.report.numbers.provenance import failures_of, run_of
from polyneuron.eval.report.page import render
from tests.eval.report.synthetic import Plan, store_with, studied


def run(run_id: str, models: list[str], failed: list[str] | None) -> dict[str, Any]:
    failures = None if failed is None else [{"model": m, "stage": "detection", "reason": m} for m in failed]
    return {
        "run_id": run_id,
        "config_json": json.dumps({"models": [{"name": None, "path": name} for name in models]}),
        "failures_json": None if failures is None else json.dumps(failures),
    }


def names(*runs: dict[str, Any]) -> list[tuple[str, str]]:
    return [(failure["model"], failure["run_id"]) for failure in failures_of(runs)]


def test_the_newest_run_that_came_to_its_end_decides() -> None:
    first = run("1", ["a", "b", "c"], ["a", "c"])
    assert names(first) == [("a", "1"), ("c", "1")]
    assert names(first, run("2", ["a"], [])) == [("c", "1")]
    assert names(first, run("2", ["a", "b"], ["a", "b"])) == [("a", "2"), ("b", "2"), ("c", "1")]
    assert names(first, run("2", ["a", "b", "c"], None)) == [("a", "1"), ("c", "1")]
    assert names() == []


def test_a_failure_is_shown_as_text(tmp_path: Path) -> None:
    report = studied(store_with(tmp_path, Plan(languages=("en",), n_layers=2, n_draws=0)))
    assert 'id="failed"' not in render(report, "t")
    hostile = "<script>alert(1)</script>"
    failures = [{"model": hostile, "stage": "detection", "reason": f"{hostile} is NaN"}]
    row = report.runs[-1] | {"run_id": "later", "started_at": "2030-01-01T00:00:00+00:00"}
    page = render(replace(report, runs=[*report.runs, row | {"failures_json": json.dumps(failures)}]), "t")
    assert 'id="failed"' in page and "&lt;script&gt;alert(1)&lt;/script&gt; is NaN" in page
    assert hostile not in page


def row(**changed: Any) -> dict[str, Any]:
    return {
        "run_id": "r",
        "status": "finished",
        "started_at": "2026-11-21T05:40:00+00:00",
        "finished_at": "2026-11-21T05:47:31+00:00",
        "command": None,
        "config_json": json.dumps(
            {"a": {"b": [1, 2]}, "c": None, "models": [{"path": "m", "trust_remote_code": True}]}
        ),
        "versions_json": None,
        "hardware_json": json.dumps({"memory_bytes": 8 << 30}),
        "seeds_json": "{}",
        "timings_json": json.dumps({"detect_s": 71.3}),
    } | changed


def test_a_run_is_flattened_for_tables() -> None:
    found = run_of(row())
    assert tuple(found[name] for name in ("status", "started", "finished")) == (
        "finished",
        "2026-11-21 05:40 UTC",
        "2026-11-21 05:47 UTC",
    )
    assert found["trusted"] == ["m"]
    sections = {title: dict(pairs) for title, pairs in found["sections"]}
    assert sections.keys() == {"Hardware", "Time taken", "Configuration"}
    assert sections["Time taken"] == {"detect": "1 min 11 s"} and sections["Hardware"] == {
        "memory_bytes": "8.0 GiB"
    }
    assert sections["Configuration"] == {
        "a.b": "1, 2",
        "c": "not set",
        "models[0].path": "m",
        "models[0].trust_remote_code": "yes",
    }


def test_only_a_run_that_ended_is_finished() -> None:
    assert run_of(row(finished_at=None, status="running"))["finished"] is None

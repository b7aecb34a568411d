"""Where the numbers come from: runs with versions, seeds, hardware and timings, and the models that a run could not study."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from polyneuron.eval.report.numbers.units import Row
from polyneuron.eval.report.words.wording import bytes_words, duration


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownRun:
    """One run of the pipeline, flattened for tables."""

    run_id: str
    """As stored."""
    status: str
    """running, finished, failed and so on."""
    started: str
    """When it began."""
    finished: str | None
    """When it ended; None while it runs, or where it was killed."""
    command: str
    """What was typed."""
    trusted: tuple[str, ...]
    """Models whose own Python code ran, because `trust_remote_code` was on for them."""
    sections: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    """Names and values under a heading; a JSON column that is null or empty gives none."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A model that a run could not study, and in which stage it failed, for what reason."""

    model: str
    stage: str
    reason: str
    run_id: str


def run_of(row: Row) -> ShownRun:
    """One row of the table runs."""
    columns = {
        "Versions": "versions_json",
        "Seeds": "seeds_json",
        "Hardware": "hardware_json",
        "Time taken": "timings_json",
        "Configuration": "config_json",
    }
    found = {title: _flat(json.loads(row[column] or "{}")) for title, column in columns.items()}
    write = {"Time taken": _time}
    sections = {
        title: tuple(write.get(title, _pair)(*pair) for pair in pairs) for title, pairs in found.items()
    }
    return ShownRun(
        run_id=row["run_id"],
        status=row["status"] or "unknown",
        started=_moment(row["started_at"]),
        finished=None if row["finished_at"] is None else _moment(row["finished_at"]),
        command=row["command"] or "",
        trusted=tuple(
            str(model.get("name") or model.get("path"))
            for model in _models(row)
            if model.get("trust_remote_code")
        ),
        sections=tuple(section for section in sections.items() if section[1]),
    )


def failures_of(runs: Iterable[Row]) -> tuple[Failure, ...]:
    """The failures that hold, by model. ``runs``: rows of the table, oldest first.

    Of each model the newest run decides that named it and came to its end; a run that was killed before says nothing.
    """
    found: dict[str, Failure] = {}
    for row in runs:
        if row.get("failures_json") is None:
            continue
        for model in _models(row):
            found.pop(str(model.get("name") or model.get("path") or model.get("gguf_package")), None)
        for failure in json.loads(row["failures_json"]):
            name = failure["model"]
            found[name] = Failure(name, failure["stage"], failure["reason"], row["run_id"])
    return tuple(found[name] for name in sorted(found))


def _models(row: Row) -> list[Mapping[str, Any]]:
    """The models that a run's configuration names."""
    config = json.loads(row["config_json"] or "{}")
    models = config.get("models") if isinstance(config, dict) else None
    return [model for model in models or () if isinstance(model, dict)]


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as dotted keys; lists of plain values stay whole."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and any(isinstance(v, dict | list) for v in value):
        for i, inner in enumerate(value):
            yield from _flat(inner, f"{prefix}[{i}]")
    else:
        yield prefix or "value", value


def _pair(key: str, value: Any) -> tuple[str, str]:
    if value is None:
        return key, "not set"
    if isinstance(value, bool):
        return key, "yes" if value else "no"
    if isinstance(value, list):
        return key, ", ".join(str(v) for v in value) or "none"
    return key, bytes_words(value) if key.endswith("_bytes") and isinstance(value, int) else str(value)


def _time(key: str, value: Any) -> tuple[str, str]:
    seconds = isinstance(value, int | float)
    return key.removesuffix("_s"), duration(value) if seconds else _pair(key, value)[1]


def _moment(text: str) -> str:
    moment = datetime.fromisoformat(text)
    return moment.strftime("%Y-%m-%d %H:%M ") + (moment.tzname() or "")

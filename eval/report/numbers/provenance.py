"""Where the numbers come from: runs with versions, seeds, hardware and timings, and the models that a run could not study."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from polyneuron.eval.report.numbers.units import Row
from polyneuron.eval.report.words.wording import bytes_words
from polyneuron.neuron_core.common.durations import duration

_SECTIONS = {
    "Versions": "versions_json",
    "Seeds": "seeds_json",
    "Hardware": "hardware_json",
    "Time taken": "timings_json",
    "Configuration": "config_json",
}


def run_of(row: Row) -> Row:
    """A row of the table runs with what a page shows of it.

    ``started``, ``finished``: moments in words, None for a run that did not end; ``trusted``: models whose own Python code ran,
    because `trust_remote_code` was on for them; ``sections``: headings with names and values, without empty ones.
    """
    versions = dict(_flat(json.loads(row["versions_json"] or "{}")))
    found = {title: _flat(json.loads(row[column] or "{}")) for title, column in _SECTIONS.items()}
    sections = [
        (title, [(_time if title == "Time taken" else _pair)(*pair) for pair in pairs])
        for title, pairs in found.items()
    ]
    return row | {
        "status": row["status"] or "unknown",
        "started": _moment(row["started_at"]),
        "finished": None if row["finished_at"] is None else _moment(row["finished_at"]),
        "trusted": [_name(model) for model in _models(row) if model.get("trust_remote_code")],
        "versions": versions,
        "sections": [section for section in sections if section[1]],
    }


def failures_of(runs: Iterable[Row]) -> list[Row]:
    """The failures that hold, by model: its name, the stage, the reason and the run. ``runs``: rows of the table, oldest first.
    Of each model the newest run decides that named it and came to its end; a run that was killed before says nothing."""
    found: dict[str, Row] = {}
    for row in runs:
        if row.get("failures_json") is None:
            continue
        for model in _models(row):
            found.pop(_name(model), None)
        for failure in json.loads(row["failures_json"]):
            found[failure["model"]] = failure | {"run_id": row["run_id"]}
    return [found[name] for name in sorted(found)]


def _name(model: Mapping[str, Any]) -> str:
    return str(model.get("name") or model.get("path") or model.get("gguf_package"))


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

"""Where the numbers come from: runs with versions, seeds, hardware and timings, flattened for tables."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from polyneuron.eval.report.numbers.study import Row
from polyneuron.eval.report.words.wording import duration


@dataclass(frozen=True)
class Run:
    run_id: str
    status: str
    started: str
    finished: str
    command: str
    trusted: list[str]
    """Models whose own Python code ran, because `trust_remote_code` was on for them."""
    sections: list[tuple[str, list[tuple[str, str]]]]


def run_of(row: Row) -> Run:
    """One row of the runs table; a JSON column that is null or empty gives no section."""
    sections = []
    for title, column in (
        ("Versions", "versions_json"),
        ("Seeds", "seeds_json"),
        ("Hardware", "hardware_json"),
        ("Time taken", "timings_json"),
        ("Configuration", "config_json"),
    ):
        pairs = list(_flat(json.loads(row[column]) if row[column] else {}))
        if column == "timings_json":
            pairs = [(_bare(k), duration(v) if isinstance(v, int | float) else _words(v)) for k, v in pairs]
        else:
            pairs = [
                (k, _size(v) if k.endswith("_bytes") and isinstance(v, int) else _words(v)) for k, v in pairs
            ]
        if pairs:
            sections.append((title, pairs))
    return Run(
        run_id=row["run_id"],
        status=row["status"] or "unknown",
        started=_moment(row["started_at"]),
        finished=_moment(row["finished_at"]),
        command=row["command"] or "",
        trusted=_trusted(json.loads(row["config_json"] or "{}")),
        sections=sections,
    )


def _trusted(config: Any) -> list[str]:
    models = config.get("models") if isinstance(config, dict) else None
    return [
        str(model.get("name") or model.get("path"))
        for model in models or ()
        if isinstance(model, dict) and model.get("trust_remote_code")
    ]


def _flat(value: Any, prefix: str = "") -> Any:
    """Nested mappings as dotted keys; lists of plain values stay whole."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and any(isinstance(v, dict | list) for v in value):
        for i, inner in enumerate(value):
            yield from _flat(inner, f"{prefix}[{i}]")
    else:
        yield prefix or "value", value


def _words(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(v) for v in value) or "none"
    return str(value)


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**28 else f"{n_bytes / 2**20:.1f} MiB"


def _bare(key: str) -> str:
    return key.removesuffix("_s").removesuffix("_seconds")


def _moment(value: Any) -> str:
    if value is None:
        return "not finished"
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment.strftime("%Y-%m-%d %H:%M ") + (moment.tzname() or "")

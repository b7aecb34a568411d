"""Models that a run could not study: name, stage and reason, until a later run has studied them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Failure:
    model: str
    stage: str
    reason: str
    run_id: str


def failures_of(runs: Iterable[Mapping[str, Any]]) -> tuple[Failure, ...]:
    """The failures that hold, by model. ``runs``: rows of the table, oldest first.

    Of each model the newest run decides that named it and came to its end; a run that was killed before says nothing.
    """
    found: dict[str, Failure] = {}
    for row in runs:
        if row.get("failures_json") is None:
            continue
        for model in json.loads(row["config_json"] or "{}").get("models", ()):
            found.pop(str(model.get("name") or model.get("path") or model.get("gguf_package")), None)
        for failure in json.loads(row["failures_json"]):
            name = failure["model"]
            found[name] = Failure(name, failure["stage"], failure["reason"], row["run_id"])
    return tuple(found[name] for name in sorted(found))

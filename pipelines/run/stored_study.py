"""The configuration of a study as its store keeps it, so that whoever has the store needs no file beside it."""

import json

from pydantic import ValidationError

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.pipelines.config.study import StudyConfig


def stored_study(store: str) -> StudyConfig:
    """The configuration of the newest study that ran on a store, with the store where it lies now and the report beside it.
    Credentials in it are blacked out, and no model's own code is trusted: a store may be somebody else's, so that its reader says
    so anew, with `models.0.trust_remote_code=true`.

    Raises:
        StoreError: there is no such store, or no study ran on it whose configuration this version reads.
    """
    opened = Store(store)
    opened.require_marker()
    rows = opened.read("runs", columns=["started_at", "config_json"]).to_pylist()
    for row in sorted(rows, key=lambda row: str(row["started_at"]), reverse=True):
        try:
            kept = StudyConfig.model_validate(
                {**json.loads(row["config_json"] or "{}"), "store": store, "report": None}
            )
        except (ValidationError, ValueError):
            continue  # of a night, a transfer study or another version
        models = tuple(model.model_copy(update={"trust_remote_code": False}) for model in kept.models)
        return kept.model_copy(update={"models": models})
    raise StoreError(
        f"The store {store} keeps no configuration of a study that this version reads, among {len(rows)} runs. Give the "
        "configuration with --config"
    )

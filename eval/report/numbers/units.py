"""Which units of work a report reads: those that the table studies lists for a run, and nothing else."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StudiedTables:
    """The tables of one model's study. ``ranks[unit]``: 0 for a unit of the newest run, more for those of older ones; ``run``:
    the newest run's id."""

    store: Store
    model: str
    ranks: Mapping[str, int]
    run: str

    def read(
        self, table: str, selection: str | None = None, only: Sequence[tuple[str, str, Any]] = ()
    ) -> pa.Table:
        """The rows of the study's units that pass the filters `only`, of one selection when it is given. A table comes whole from
        the newest run that has it; of perplexities, which several commands add to, each variant does."""
        units = pa.array(list(self.ranks), pa.string())
        filters: list[tuple[str, str, Any]] = [("model", "=", self.model), ("unit", "in", units), *only]
        if selection is not None:
            filters.append(("selection", "=", selection))
        rows = self.store.read(table, filters)
        by = ["variant", "unit"] if table == "perplexities" else ["unit"]
        groups = rows.group_by(by).aggregate([]).to_pylist()
        newest: dict[str | None, int] = {}
        for group in groups:
            rank = self.ranks[group["unit"]]
            newest[group.get("variant")] = min(rank, newest.get(group.get("variant"), rank))
        kept = [g["unit"] for g in groups if self.ranks[g["unit"]] == newest[g.get("variant")]]
        return rows.filter(pc.is_in(rows["unit"], value_set=pa.array(kept, pa.string())))

    def chosen(self) -> Row:
        """The newest row of the study's selection. Raises StoreError where a damaged store has none."""
        rows: list[Row] = self.read("selections").to_pylist()
        if not rows:
            raise StoreError(
                f"The store {self.store.root} lists a selection of {self.model}, and has none: run the study again, which makes "
                "what is missing"
            )
        return rows[-1]

    def impact_column(self) -> str:
        """The column of impacts that the selection compares: per token, or Frobenius norms. Raises StoreError as `chosen`."""
        rule = json.loads(self.chosen()["rule_json"] or "{}")
        return "impact_rms_min" if rule.get("per_token", True) else "impact_min"

    def other_selections(self, selection: str) -> tuple[str, ...]:
        """Names of the model's selections in the store but this one."""
        names = self.store.read("selections", [("model", "=", self.model)])["selection"].to_pylist()
        return tuple(dict.fromkeys(name for name in names if name != selection))


def studies_of(store: Store, runs: list[Row], run: str | None) -> list[StudiedTables]:
    """The study of each model, by name: of one run, or of the newest run that reached a selection.

    Without ``run``, tables that the newest run does not have are completed from older runs with the same selection.
    ``runs``: rows of the table, oldest first. Raises StoreError when no run reached a selection.
    """
    listed: dict[str, dict[str, list[Row]]] = {}
    for row in store.read("studies").to_pylist():
        if run in (None, row["run_id"]):
            listed.setdefault(row["model"], {}).setdefault(row["run_id"], []).append(row)
    age = {row["run_id"]: i for i, row in enumerate(runs)}
    found = []
    for model, by_run in sorted(listed.items()):
        ranks: dict[str, int] = {}
        chosen: set[str] = set()
        newest = ""
        for rank, name in enumerate(sorted(by_run, key=lambda name: age.get(name, -1), reverse=True)):
            selected = {row["unit"] for row in by_run[name] if row["table"] == "selections"}
            chosen, newest = (chosen, newest) if chosen else (selected, name)
            if selected and selected == chosen:
                for row in by_run[name]:
                    ranks.setdefault(row["unit"], rank)
        if ranks:
            found.append(StudiedTables(store, model, ranks, newest))
    if not found:
        raise StoreError(
            f"{'No run in the store' if run is None else f'The run {run}'} reached a selection, so there is nothing to "
            "report. Run `polyneuron study` (or `polyneuron detect`) on this store first."
        )
    return found

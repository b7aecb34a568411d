"""What one run knows and writes of one model: the only way in which stages read and write the store."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from polyneuron.eval.store.store import Store
from polyneuron.eval.store.units import unit_key

VERSION = 1
"""Raised when the mathematics of a stage changes, so that old units are not taken for new ones."""
_PARTS = frozenset({"impacts", "neuron_sets", "controls", "sensitivity", "samples", "validations"})
"""Tables in which a part of a unit is written first; the unit is done when it is in the table that is written last."""


def stage_unit(stage: str, **parts: Any) -> str:
    """The key of one unit of a stage: a hash of `parts`, which are all that decides its result."""
    return unit_key(stage=stage, version=VERSION, **parts)


class Ledger:
    """The units of work of one model in a store.

    It keeps a list of the units that the run wrote or found done, each under the table that marks it as done. The list is
    what a report of the run reads: `close_stage` adds it to the table `studies`.
    """

    def __init__(self, store: Store, model: str, run_id: str = "") -> None:
        """A ledger without a `run_id` is for reading alone."""
        self.model = model
        self._store, self._run_id = store, run_id
        self._listed: dict[tuple[str, str], bool] = {}
        self._heard: Callable[[str, str, bool], None] | None = None
        self._n_files = 0

    @property
    def root(self) -> str:
        """The store's folder or URL."""
        return self._store.root

    def hear(self, heard: Callable[[str, str, bool], None]) -> None:
        """From now on `heard(table, unit, is_new)` hears of each unit that comes onto the list; `is_new`: this run made it."""
        self._heard = heard

    @property
    def listed(self) -> set[tuple[str, str]]:
        """(table, unit) of all that was written or found done."""
        return set(self._listed)

    def done(self, table: str, unit: str) -> bool:
        """Whether a unit is in the store."""
        return not self.missing(table, [unit])

    def missing(self, table: str, units: Iterable[str]) -> set[str]:
        """Those of `units` that are not in the store."""
        asked = list(units)
        missing = set(self._store.missing(table, asked))
        self._list(table, [unit for unit in asked if unit not in missing], is_new=False)
        return missing

    def put(self, table: str, unit: str, rows: pa.Table | Sequence[Mapping[str, Any]], **where: str) -> None:
        """Stores `rows` as one unit. `where`: columns by which the table has folders, with the value of all rows; the model
        is added to them.

        Raises:
            StoreError: rows that do not fit the table, or a store that cannot be written.
        """
        self._store.write(table, rows, unit, {"model": self.model, **where}, run_id=self._run_id)
        self._list(table, [unit], is_new=True)

    def read(
        self,
        table: str,
        units: Iterable[str] | None = None,
        columns: Sequence[str] | None = None,
        **where: str,
    ) -> pa.Table:
        """The model's rows of `units` (None: of all) that have the values `where`, in the order in which they are stored.

        Raises:
            StoreError: a damaged file, or an unknown column.
        """
        filters: list[tuple[str, str, Any]]
        filters = [(column, "=", value) for column, value in {"model": self.model, **where}.items()]
        if units is not None:
            filters.append(("unit", "in", list(units)))
        return self._store.read(table, filters, columns)

    def dismiss(self, table: str, units: Iterable[str]) -> None:
        """Takes units off the list that were made on the way to others which take their place."""
        for unit in units:
            self._listed.pop((table, unit), None)

    def close_stage(self) -> None:
        """Stores which units were added to the list since the last call."""
        fresh = [entry for entry, stored in self._listed.items() if not stored]
        if not fresh:
            return
        self._n_files += 1
        rows = [{"table": table, "unit": unit} for table, unit in fresh]
        # another ledger of the run counts from one too, and must not write over what this one lists
        file = f"{self._run_id}-{self._n_files:03}-{unit_key(rows=rows)[:12]}"
        self._store.write("studies", rows, file, {"model": self.model}, run_id=self._run_id)
        self._listed |= dict.fromkeys(fresh, True)

    def _list(self, table: str, units: Iterable[str], *, is_new: bool) -> None:
        for unit in units:
            if table in _PARTS or (table, unit) in self._listed:
                continue
            self._listed[table, unit] = False
            if self._heard is not None:
                self._heard(table, unit, is_new)

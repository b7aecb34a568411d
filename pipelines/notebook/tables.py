"""A table of a stored study, read when its rows are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import pyarrow as pa

from polyneuron.neuron_core.common.html import html_table

_N_SHOWN = 10
_ABOUT_STORAGE = ("run_id", "unit")


class LazyTable:
    """Rows of one table of one model's study. Its `repr` names the columns and reads nothing."""

    def __init__(self, name: str, columns: list[str], read: Callable[[], pa.Table]) -> None:
        """`read` gives the rows with all columns of the store; those that say how a row is stored are left out."""
        self.name, self._read = name, read
        self.columns = tuple(column for column in columns if column not in _ABOUT_STORAGE)

    @cached_property
    def _rows(self) -> pa.Table:
        return self._read().select(list(self.columns))

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table. Raises StoreError for a damaged file."""
        return self._rows

    def to_pandas(self) -> Any:
        """The rows as a pandas data frame. Raises ModuleNotFoundError where pandas is not installed."""
        _require("pandas")
        return self._rows.to_pandas()

    def to_polars(self) -> Any:
        """The rows as a Polars data frame. Raises ModuleNotFoundError where Polars is not installed."""
        return _require("polars").from_arrow(self._rows)

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    def __repr__(self) -> str:
        return f"LazyTable({self.name}: {', '.join(self.columns)})"

    def _repr_html_(self) -> str:
        rows = [list(row.values()) for row in self._rows.slice(0, _N_SHOWN).to_pylist()]
        more = f", the first {len(rows)} here" if len(rows) < len(self) else ""
        return html_table(f"{self.name}: {len(self)} rows{more}", self.columns, rows)


class StoredImpacts(LazyTable):
    """The impacts of a study, which `pn.select` takes as they are."""

    def __init__(
        self, columns: list[str], read: Callable[[], pa.Table], summaries: Callable[[], pa.Table]
    ) -> None:
        """`summaries` reads one row per language and group."""
        super().__init__("impacts", columns, read)
        self._summaries = summaries

    @property
    def summaries(self) -> pa.Table:
        """Per language and group: sentences, tokens, scale and floor."""
        return self._summaries()


def _require(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        message = f"{package} is not installed: pip install {package}; to_arrow() needs nothing more"
        raise ModuleNotFoundError(message, name=package) from None

"""The store of results: Hive-partitioned Parquet tables, each file whole or absent (DESIGN section 5).

    store = Store("results")
    with store.lock():
        unit = unit_key(model=…, stage="detect", language="sw", corpus=…)
        if not store.has("impacts", unit):
            store.write("impacts", rows, unit, {"model": …, "language": "sw"}, run_id=run)
    store.read("impacts", [("model", "=", …)])

A file is `<table>/model=<name>/<column>=<value>/<unit>.parquet`, names percent-encoded. The same rows under
the same unit are the same bytes. Files hold all columns, so the folders' names only serve to find them. Each
holds a checksum of its bytes, which every reader here checks first; `lock` moves damaged units to `damaged/`.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from polyneuron.eval.store.checksum import sealed_parquet
from polyneuron.eval.store.conform import conform
from polyneuron.eval.store.files import open_files, store_errors
from polyneuron.eval.store.inspection import Inspection, unreadable
from polyneuron.eval.store.lock import exclusive_lock
from polyneuron.eval.store.paths import SUFFIX, Partition, is_data_file, is_temporary, partition_folder
from polyneuron.eval.store.schemas import TABLES, table_spec
from polyneuron.eval.store.table_spec import SCHEMA_VERSION, require_version
from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.neuron_core.common.names import safe_name

Filters: TypeAlias = pc.Expression | Sequence[Any] | None
"""An Arrow expression, or as in pyarrow: `[(column, operator, value), …]`, which all hold, or a list of such
lists, of which one holds."""

_STORE_FILE = "store.json"
_FORMAT_NAME = "polyneuron-store"
_DAMAGED = "damaged"
"""The folder of files whose bytes are no longer what was written, outside all tables."""
_FORMAT = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)


class Store:
    """A folder or fsspec URL of result tables. Nothing is made on disk before the first `lock` or `write`."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Raises StoreError when the URL cannot be opened."""
        self._files = open_files(root)
        self.root = self._files.root
        self._inspection = Inspection(self._files)

    def __repr__(self) -> str:
        return f"Store({self.root!r})"

    def exists(self) -> bool:
        """True when there is a folder at the root, even an empty one."""
        return self._files.exists()

    @contextmanager
    def lock(self) -> Iterator[list[str]]:
        """Holds the store for one study, until the block or the process ends, even by SIGKILL.

        Yields the files that were moved aside: those of every unit of work of which a file is damaged, so that the whole unit
        counts as missing. Temporary files of killed writers are removed.

        Raises StoreError at once when another study holds it (naming its process and host), and what `check` raises.
        """
        self._files.make_lock_folder()
        with ExitStack() as stack:
            with store_errors(self.root, "lock"):
                stack.enter_context(exclusive_lock(self._files.lock_path, self.root))
            self.check_marker()
            moved = self._set_aside()
            self.check()
            self._require_marker()
            for path in self._written_files():
                if is_temporary(path):
                    self._files.remove(path)
            yield moved

    def check_marker(self) -> bool:
        """False when the store has no `store.json` yet, and no tables. Raises StoreError for a folder that is no store, or one of
        another version."""
        marker = self._files.read_bytes(_STORE_FILE)
        where = self._files.full_path(_STORE_FILE)
        if marker is None:
            if table := next((table for table in TABLES if self._data_files(table)), None):
                raise StoreError(
                    f"{where} is missing, though there are tables ({table}), so nobody knows by which version they were "
                    f"written. If it was this one, put {_marker().decode().strip()} there; or choose another store folder."
                )
            return False
        try:
            content = json.loads(marker)
        except (ValueError, RecursionError):
            content = None
        version = content.get("schema_version") if isinstance(content, dict) else None
        if type(version) is not int or version < 0 or content.get("format") != _FORMAT_NAME:
            raise StoreError(
                f"{where} is damaged, or of another program: it should hold {_marker().decode().strip()}. "
                "Mend it, or choose another store folder."
            )
        require_version(version, where)
        return True

    def require_marker(self) -> None:
        """Raises StoreError, which names the place, where there is no store; and as `check_marker`."""
        if not self.check_marker():
            raise StoreError(f"There is no store in {self.root}: name its folder with --store")

    def check(self) -> None:
        """Raises StoreError for a store of another version, and for a foreign, truncated or damaged file in its tables."""
        self.check_marker()
        for table in TABLES:
            self.dataset(table)

    def write(
        self,
        table: str,
        rows: pa.Table | Sequence[Mapping[str, Any]],
        unit: str,
        partitions: Mapping[str, Partition] | None = None,
        run_id: str | None = None,
    ) -> str:
        """Stores `rows` as one unit of work, wholly or not at all. Returns the file's path below the root.

        `rows` are a table, or dictionaries, whose values take the declared types.

        `partitions` maps columns to the one value they have in this unit; `model` is needed for every table but `runs`. Columns
        run_id, unit and those of `partitions` may be left out of `rows`. An earlier file of the same unit and partitions is
        replaced. In a table that lists units (`studies`) `unit` names the file alone, and `rows` hold the units that they list.

        Raises StoreError when a column is missing, unknown, of a wrong type, null or NaN (see `conform`), when the store is of
        another version, and when the folder is read-only or the disk full.
        """
        spec, partitions = table_spec(table), partitions or {}
        rows = rows if isinstance(rows, pa.Table) else spec.table(rows)
        path = f"{partition_folder(spec, partitions)}/{safe_name(unit)}{SUFFIX}"
        constants = dict(partitions) if spec.lists_units else {**partitions, "unit": unit}
        if run_id is not None:
            constants["run_id"] = run_id
        conformed = conform(spec, rows, constants)
        self._require_marker()
        self._files.write(path, sealed_parquet(conformed))
        return path

    def has(self, table: str, unit: str) -> bool:
        """True when the unit of work is stored, in whatever partition. Unfinished files do not count."""
        return not self.missing(table, [unit])

    def missing(self, table: str, units: Iterable[str]) -> list[str]:
        """Those of `units` that are not stored in `table`, in order; one listing for all of them."""
        table_spec(table)
        stored = {_file_name(path) for path in self._data_files(table)}
        return [unit for unit in units if safe_name(unit) + SUFFIX not in stored]

    def read(self, table: str, filters: Filters = None, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of `table` that pass `filters`, if any, ordered by file path and then as written. Raises StoreError for an
        unknown table or column, and what `check` raises."""
        dataset = self.dataset(table, filters)
        if not table_spec(table).lists_units:
            filters = _besides_units(
                filters
            )  # which the files were chosen by: Arrow would compare each file with all of them
        try:
            names = None if columns is None else list(columns)
            # Arrow keeps the footers of all files of a dataset, some 10 KB each, unless it is told not to
            return dataset.to_table(columns=names, filter=_expression(filters), cache_metadata=False)
        except (pa.ArrowException, OSError, ValueError, TypeError) as error:
            self.raise_if_unreadable(dataset)
            raise StoreError(
                f"Cannot read {table} with filters {filters!r} and columns {columns!r}: {error}. "
                f"Its columns are: {', '.join(table_spec(table).schema.names)}."
            ) from error

    def dataset(self, table: str, filters: Filters = None) -> ds.Dataset:
        """The files of `table` that `filters` do not rule out by their folders or by the units asked for, for scans that need not
        fit into memory. Every such file is read once to check it: raises StoreError as `check`."""
        spec = table_spec(table)
        self.check_marker()
        names = None if spec.lists_units else _file_names(filters)
        paths = [
            path
            for path in self._data_files(table)
            if (names is None or _file_name(path) in names) and _may_hold(path, filters)
        ]
        if not paths:
            return ds.dataset(spec.schema.empty_table())
        for path in paths:
            self._inspection.require_sound(spec, path)
        return ds.FileSystemDataset.from_paths(
            [self._files.full_path(path) for path in paths],
            schema=spec.schema,
            format=_FORMAT,
            filesystem=self._files.arrow,
        )

    def _set_aside(self) -> list[str]:
        """Moves all files of damaged units below `damaged/`; returns their paths."""
        stored = [path for table in TABLES for path in self._data_files(table)]
        damaged = {path for path in stored if self._inspection.is_damaged(path)}
        units = {_file_name(path) for path in damaged}
        moved = [path for path in stored if _file_name(path) in units]
        # Damaged ones last: if this is killed halfway, the next study still finds the unit.
        for path in sorted(moved, key=damaged.__contains__):
            self._files.move(path, f"{_DAMAGED}/{path}")
        return moved

    def raise_if_unreadable(self, dataset: ds.Dataset) -> None:
        """After a failed scan: raises StoreError naming the first file of `dataset` that cannot be read."""
        for fragment in dataset.get_fragments() if isinstance(dataset, ds.FileSystemDataset) else ():
            try:
                fragment.to_table()
            except (pa.ArrowException, OSError) as error:
                raise unreadable(fragment.path, error) from error

    def _data_files(self, table: str) -> list[str]:
        return [path for path in self._files.list_files(table) if is_data_file(path)]

    def _written_files(self) -> Iterator[str]:
        """All files where this class writes: whatever else lies in the folder is not looked at."""
        yield from self._files.list_files("", deep=False)
        for table in TABLES:
            yield from self._files.list_files(table)

    def _require_marker(self) -> None:
        if not self.check_marker():
            self._files.write(_STORE_FILE, _marker())


def _marker() -> bytes:
    return (json.dumps({"format": _FORMAT_NAME, "schema_version": SCHEMA_VERSION}) + "\n").encode()


def _file_name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _expression(filters: Filters) -> pc.Expression | None:
    if filters is None or isinstance(filters, pc.Expression):
        return filters
    return pq.filters_to_expression(list(filters)) if filters else None


def _all_of(filters: Filters) -> list[tuple[str, str, Any]]:
    """The conditions that every row must meet, where `filters` are a list of them; else none."""
    if not isinstance(filters, Sequence) or not all(isinstance(part, tuple) for part in filters):
        return []
    return list(filters)


def _names_units(column: str, operator: str) -> bool:
    return column == "unit" and operator in ("=", "==", "in")


def _file_names(filters: Filters) -> set[str] | None:
    """The names that the files of the units asked for have; None where all units are asked for."""
    names: set[str] | None = None
    for column, operator, value in _all_of(filters):
        if _names_units(column, operator):
            asked = value.to_pylist() if isinstance(value, pa.Array) else value
            units = asked if operator == "in" else [asked]
            found = {safe_name(unit) + SUFFIX for unit in units if isinstance(unit, str) and unit}
            names = found if names is None else names & found
    return names


def _besides_units(filters: Filters) -> Filters:
    """`filters` without the conditions that `_file_names` reads."""
    conditions = _all_of(filters)
    rest = [condition for condition in conditions if not _names_units(*condition[:2])]
    return rest if conditions else filters


def _may_hold(path: str, filters: Filters) -> bool:
    """False when a folder of `path` contradicts an equality that all rows must meet."""
    folders = dict(part.split("=", 1) for part in path.split("/")[1:-1] if "=" in part)
    wanted = {column: value for column, operator, value in _all_of(filters) if operator in ("=", "==")}
    # Case folded: on some file systems two names that differ in case share a folder.
    return not any(
        safe_name(value).casefold() != folders[column].casefold()
        for column, value in wanted.items()
        if column in folders and isinstance(value, str) and value
    )

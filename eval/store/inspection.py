"""What can be wrong with a file of the store: each file is read once to find out, and again only after it has changed."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from polyneuron.eval.store.checksum import is_damaged
from polyneuron.eval.store.files import Files
from polyneuron.eval.store.paths import SUFFIX
from polyneuron.eval.store.table_spec import TableSpec, require_version
from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.neuron_core.common.names import safe_name

_MAGIC = b"PAR1"
"""What every whole Parquet file ends with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Footer:
    """What the end of an undamaged file says of it."""

    stamp: str
    """Of the file when it was read."""
    table: bytes = b""
    """The table that it was written for."""
    version: bytes = b""
    """The schema version it was written with, in digits."""
    units: frozenset[str] = frozenset()
    """The smallest and the largest name of a unit among its rows; empty where it has none, or does not say."""
    fault: StoreError | None = None
    """Why it cannot be read as Parquet."""


class Inspection:
    """Looks at files, and remembers a hundred bytes of each: however many there are, none is held open."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._footers: dict[str, _Footer] = {}

    def is_damaged(self, path: str) -> bool:
        """Whether a file is gone, not whole, or not the bytes that were written."""
        return self._look(path) is None

    def require_sound(self, spec: TableSpec, path: str) -> None:
        """Raises StoreError for a damaged file, a file of another table or version, and one that is not named for its unit."""
        footer, where = self._look(path), self._files.full_path(path)
        if footer is None:
            raise StoreError(
                f"{where} is damaged (its checksum does not fit). Run the study again: it moves the file aside and makes what is "
                "missing anew."
            )
        if footer.fault is not None:
            raise footer.fault
        if not footer.version.isdigit() or footer.table != spec.name.encode():
            raise StoreError(f"{where} is not a file of the table {spec.name}. Move it out of the store.")
        require_version(int(footer.version), where)
        name = path.rsplit("/", 1)[-1]
        if not spec.lists_units and any(safe_name(unit) + SUFFIX != name for unit in footer.units):
            raise StoreError(
                f"{where} holds the unit {min(footer.units)}, for which it is not named. Move it out of the store."
            )

    def _look(self, path: str) -> _Footer | None:
        """None where the file is damaged."""
        stamp, known = self._files.stamp(path), self._footers.get(path)
        if known is not None and known.stamp == stamp:
            return known
        data = self._files.read_bytes(path)
        if data is None or is_damaged(data) or data[-4:] != _MAGIC:
            return None
        self._footers[path] = _read(data, stamp, self._files.full_path(path))
        return self._footers[path]


def _read(data: bytes, stamp: str, where: str) -> _Footer:
    try:
        footer = pq.read_metadata(pa.BufferReader(data))
        said = footer.metadata or {}
        units = set()
        for column in range(footer.num_columns if footer.num_row_groups else 0):
            chunk = footer.row_group(0).column(column)
            if chunk.path_in_schema == "unit":
                if chunk.is_stats_set and chunk.statistics.has_min_max:
                    units = {chunk.statistics.min, chunk.statistics.max}
                break
    except (pa.ArrowException, OSError) as error:
        return _Footer(stamp=stamp, fault=unreadable(where, error))
    return _Footer(
        stamp=stamp,
        table=said.get(b"polyneuron.table", b""),
        version=said.get(b"polyneuron.schema_version", b""),
        units=frozenset(units),
    )


def unreadable(path: str, error: Exception) -> StoreError:
    """The error for a file that Arrow cannot read."""
    reason = str(error).splitlines()[0]
    if isinstance(error, OSError) and error.errno:
        return StoreError(f"Cannot read {path}: {reason}. Check the disk and the file's permissions.")
    return StoreError(
        f"{path} is damaged ({reason}). Delete it and the files of the same name in other tables, then run the study "
        "again, which makes only what is missing."
    )

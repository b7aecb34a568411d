"""Names in the store's folders: whatever a model or language is called, its files stay inside the store."""

from collections.abc import Mapping

from polyneuron.eval.store.table_spec import TableSpec
from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.neuron_core.common.names import safe_name

Partition = str | int | None

SUFFIX = ".parquet"
TEMPORARY_PREFIX, TEMPORARY_SUFFIX = ".writing-", ".tmp"
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
"""Hive's name for null. No value is spelt so, because `safe_name` encodes a leading underscore."""


def partition_folder(spec: TableSpec, partitions: Mapping[str, Partition]) -> str:
    """`table/model=…/column=…`, in the order of the schema's columns. Raises StoreError for an unknown column and when the model
    is missing."""
    unknown = [name for name in partitions if name not in spec.schema.names]
    if unknown:
        raise StoreError(
            f"{spec.name} has no column {unknown[0]} to be partitioned by. "
            f"It has: {', '.join(spec.schema.names)}."
        )
    if spec.partitioned_by_model and partitions.get("model") is None:
        raise StoreError(f"A unit of {spec.name} needs its model: pass partitions={{'model': …}}.")
    ordered = [name for name in spec.schema.names if name in partitions]
    return "/".join([spec.name, *(f"{name}={_spelt(partitions[name])}" for name in ordered)])


def _spelt(value: Partition) -> str:
    return NULL_PARTITION if value is None else safe_name(str(value))


def is_data_file(path: str) -> bool:
    """True for a finished Parquet file, false for a temporary one that a writer left or is still writing."""
    name = path.rsplit("/", 1)[-1]
    return name.endswith(SUFFIX) and not name.startswith(".")


def is_temporary(path: str) -> bool:
    """True for a temporary file of a writer of this store."""
    name = path.rsplit("/", 1)[-1]
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)

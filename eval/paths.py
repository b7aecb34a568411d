"""Names in the store's folders: whatever a model or language is called, its files stay inside the store."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from xxhash import xxh3_128_hexdigest

from eval.schemas import TableSpec
from neuron_core.errors import StoreError

Partition = str | int | None

SUFFIX = ".parquet"
TEMPORARY_PREFIX, TEMPORARY_SUFFIX = ".writing-", ".tmp"
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
"""Hive's name for null. No value is spelt so, because `safe_name` encodes a leading underscore."""

_MAX_CHARACTERS = 180
"""A folder or file name may have 255 bytes on common file systems; this leaves room for `column=` and
suffixes."""


def safe_name(value: str) -> str:
    """`value` as one file name of ASCII letters, digits and `_ - .`, the rest percent-encoded: `Qwen/Qwen3`
    is `Qwen%2FQwen3`.

    Never empty, never `.` or `..`, never hidden: a leading dot or underscore is encoded too. Different values
    have different names; a name over 180 characters is cut and closed with `~` and a hash. Raises StoreError
    for an empty or unencodable value.
    """
    if not value:
        raise StoreError(
            "An empty name cannot name a folder of the store. Give the model, language or unit a name."
        )
    try:
        name = quote(value, safe="").replace("~", "%7E")
    except UnicodeEncodeError as error:
        raise StoreError(
            f"The name {value!r} is not valid Unicode, so the store cannot use it. Rename it."
        ) from error
    if name[0] in "._":
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if len(name) <= _MAX_CHARACTERS:
        return name
    return f"{name[:_MAX_CHARACTERS]}~{xxh3_128_hexdigest(value.encode())}"


def partition_folder(spec: TableSpec, partitions: Mapping[str, Partition]) -> str:
    """`table/model=…/column=…`, in the order of the schema's columns.

    Raises StoreError for an unknown column and when the model is missing.
    """
    unknown = [name for name in partitions if name not in spec.schema.names]
    if unknown:
        raise StoreError(
            f"{spec.name} has no column {unknown[0]} to be partitioned by. "
            f"It has: {', '.join(spec.schema.names)}."
        )
    if spec.partitioned_by_model and partitions.get("model") is None:
        raise StoreError(f"A unit of {spec.name} needs its model: pass partitions={{'model': …}}.")
    ordered = [name for name in spec.schema.names if name in partitions]
    return "/".join([spec.name, *(partition_segment(name, partitions[name]) for name in ordered)])


def partition_segment(column: str, value: Partition) -> str:
    """One Hive folder name, `column=value`."""
    return f"{column}={NULL_PARTITION if value is None else safe_name(str(value))}"


def is_data_file(path: str) -> bool:
    """True for a finished Parquet file, false for a temporary one that a writer left or is still writing."""
    name = path.rsplit("/", 1)[-1]
    return name.endswith(SUFFIX) and not name.startswith(".")


def is_temporary(path: str) -> bool:
    """True for a temporary file of a writer of this store."""
    name = path.rsplit("/", 1)[-1]
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)

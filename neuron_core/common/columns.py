"""How the columns of a table are declared, where its rows are made: a name, an Arrow type, and what the column says."""

from collections.abc import Mapping
from typing import TypeAlias

import pyarrow as pa

Columns: TypeAlias = Mapping[str, tuple[str | pa.DataType, str]]
"""By name, the Arrow type (or its name, such as "int32") and a description; a name with a question mark may hold nulls."""


def arrow_schema(columns: Columns) -> pa.Schema:
    """The columns as an Arrow schema, in their order and without descriptions."""
    return pa.schema((name.rstrip("?"), arrow_type(kind)) for name, (kind, _) in columns.items())


def arrow_type(kind: str | pa.DataType) -> pa.DataType:
    """The type that a declaration means. Raises ValueError for a name that Arrow does not have."""
    return pa.type_for_alias(kind) if isinstance(kind, str) else kind

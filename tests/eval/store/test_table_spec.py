"""Columns come from where rows are made: Arrow schemas and records."""

import subprocess
import sys
from dataclasses import dataclass

import pyarrow as pa
import pytest

from polyneuron.eval.store.schemas import TABLES, table_spec
from polyneuron.eval.store.table_spec import table_of
from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.neuron_core.impacts.schema import IMPACTS_SCHEMA


@dataclass
class Row:
    name: str
    """What it is called."""
    n: int
    """How many
    there are."""
    share: float | None
    """Of all."""
    layer: int | None


def test_parts_are_put_together_in_order_and_the_first_of_a_name_stands() -> None:
    named = {
        "model?": ("string", "The model."),
        "name": ("string", "Its name."),
        "unit": ("string", "Its unit."),
    }
    fixed = {
        "name": ("string", "Another."),
        "pair": (pa.list_(pa.float32(), 2), "Two."),
        "share?": ("double", "Some."),
    }
    spec = table_of("t", "name n", "One row\n    a name.", [named, fixed, Row])
    assert [(field.name, field.type) for field in spec.schema] == [
        ("run_id", pa.string()),
        ("unit", pa.string()),
        ("model", pa.string()),
        ("name", pa.string()),
        ("pair", pa.list_(pa.float32())),
        ("share", pa.float64()),
        ("n", pa.int64()),
        ("layer", pa.int32()),
    ]
    assert spec.says == "One row a name."
    assert spec.key == ("name", "n") and spec.optional == {"model", "share", "layer"}
    assert list(spec.descriptions().values()) == [
        "The run that wrote the row.", "Its unit.", "The model.", "Its name.", "Two.", "Some.", "How many there are.", ""
    ]  # fmt: skip


def test_every_table_and_column_is_described() -> None:
    said = {
        f"{spec.name}.{name}": words
        for spec in TABLES.values()
        for name, words in spec.descriptions().items()
    }
    assert len(said) == sum(len(spec.schema) for spec in TABLES.values())
    assert [name for name, words in said.items() if not words.endswith((".", "…"))] == []
    assert [spec.name for spec in TABLES.values() if not spec.says.endswith(".")] == []


def test_rows_take_the_declared_types_and_must_be_alike() -> None:
    spec = table_spec("validations")
    assert spec.table([]).column_names == [
        name for name in spec.schema.names if name not in ("run_id", "unit")
    ]
    assert spec.table([{"step": 1, "nll_nats": None}]).schema.types == [pa.int32(), pa.float64()]
    with pytest.raises(KeyError):
        spec.table([{"step": 1}, {"nll_nats": 1.0}])


def test_every_table_has_its_marks_and_a_key_of_its_own_columns() -> None:
    for name, spec in TABLES.items():
        assert spec.name == name and spec.schema.names[:2] == ["run_id", "unit"]
        assert set(spec.key) | spec.optional <= set(spec.schema.names)
    assert [*TABLES["impacts"].schema][3:] == [*IMPACTS_SCHEMA]
    with pytest.raises(StoreError, match="nowhere"):
        table_spec("nowhere")


def test_declaring_tables_loads_nothing_heavy() -> None:
    code = "import sys, polyneuron.eval.store.query; print({'torch', 'scipy', 'transformers'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "set()"

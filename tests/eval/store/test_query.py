"""SQL over the store, and nothing but the store."""

import time
from pathlib import Path

import pyarrow as pa
import pytest

from polyneuron.eval.store.query import answered, query
from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError
from tests.eval.store_rows import MODEL, impacts, metrics


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    for language in ("en", "sw"):
        store.write("impacts", impacts(language), language, {"model": MODEL, "language": language}, "r")
    store.write("metrics", metrics([1.5, None]), "m", {"model": MODEL}, "r")
    return store


def test_select_over_tables(store: Store) -> None:
    sql = """
        SELECT language, count(*) AS n, sum(impact_min) AS s FROM impacts
        WHERE model = 'org/tiny model' GROUP BY 1 ORDER BY 1
    """
    assert query(store, sql) == (["language", "n", "s"], [("en", 4, 8.0), ("sw", 4, 8.0)])
    columns, rows = query(
        store,
        "SELECT i.model, m.value FROM impacts i JOIN metrics m USING (model) WHERE value IS NULL LIMIT 1",
    )
    assert (columns, rows) == (["model", "value"], [(MODEL, None)])
    assert query(store, "SELECT impact_smallest FROM impacts WHERE neuron = 1 AND language = 'en'")[1] == [
        ([1.25, 1.5],)
    ]
    assert query(store, "WITH t AS (SELECT 1 AS x) SELECT x FROM t;") == (["x"], [(1,)])


def test_every_table_of_an_empty_store_can_be_asked(tmp_path: Path) -> None:
    for root in (tmp_path / "none", "memory://nothing-here"):
        store = Store(root)
        with pytest.raises(StoreError, match=rf"no store in \S*{Path(root).name}"):
            query(store, "SELECT 1")
        with store.lock():
            for table, spec in TABLES.items():
                assert query(store, f"SELECT * FROM {table}") == (spec.schema.names, [])


@pytest.mark.parametrize(
    "sql",
    [
        "SELEC 1",
        "SELECT nothing FROM impacts",
        "SELECT * FROM nowhere",
        "SELECT 1/'a'::INT",
        "",
        "SELECT 1; SELECT 2",
    ],
)
def test_bad_sql_lists_tables_and_columns(store: Store, sql: str) -> None:
    with pytest.raises(StoreError) as caught:
        query(store, sql)
    assert all(table in caught.value.message for table in TABLES)
    columns = ", ".join(TABLES["impacts"].schema.names)
    assert (f"impacts({columns})" in str(caught.value)) == ("impacts" in sql)
    assert len(str(caught.value).splitlines()) <= 10


def test_nothing_outside_the_store_is_reachable(store: Store, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("password\nhunter2\n")
    data = next((tmp_path / "store").rglob("*.parquet"))
    out = tmp_path / "out.csv"
    dataset = "a Python variable"  # noqa: F841
    attempts = [
        f"SELECT * FROM read_csv('{secret}')",
        f"SELECT * FROM '{secret}'",
        f"SELECT * FROM read_parquet('{data}')",
        f"SELECT content FROM read_text('{secret}')",
        f"SELECT * FROM glob('{tmp_path}/*')",
        "SELECT * FROM dataset",
        "SELECT * FROM datasets",
        "SELECT getenv('HOME')",
        f"COPY impacts TO '{out}'",
        f"ATTACH '{tmp_path}/x.db'",
        "INSTALL httpfs",
        "SET enable_external_access=true",
        "CREATE TABLE t AS SELECT 1",
        "DROP VIEW impacts",
        f"EXPORT DATABASE '{tmp_path}/dump'",
        f"SELECT 1; COPY impacts TO '{out}'",
    ]
    for sql in attempts:
        with pytest.raises(StoreError):
            query(store, sql)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.csv", "store"]


def test_a_damaged_file_is_named(store: Store, tmp_path: Path) -> None:
    path = (
        tmp_path
        / "store"
        / store.write("impacts", impacts("de", 5000), "de", {"model": MODEL, "language": "de"}, "r")
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"de\.parquet is damaged"):
        query(store, "SELECT min(COLUMNS(*)) FROM impacts")


def test_rows_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    """Files do not pile up in memory, however slowly the rows are taken; Arrow alone would hold 22 of the 24."""
    store = Store(tmp_path / "store")
    for number in range(24):
        rows = impacts("en", 20_000, model=f"m{number}")
        store.write("impacts", rows, f"u{number}", {"model": f"m{number}", "language": "en"}, "r")
    before = pa.total_allocated_bytes()
    with answered(store, "SELECT * FROM impacts") as answer:
        batches = answer.to_arrow_reader(1000)
        n_rows = len(batches.read_next_batch())
        time.sleep(0.5)
        assert pa.total_allocated_bytes() - before < 8 * rows.nbytes
        assert n_rows + sum(map(len, batches)) == 24 * 20_000

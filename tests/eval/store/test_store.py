"""Writing, finding and reading units of work, on a disk and in another fsspec file system."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from polyneuron.eval.store.checksum import sealed_parquet
from polyneuron.eval.store.query import query
from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.eval.store.table_spec import SCHEMA_VERSION
from polyneuron.neuron_core.common.errors import StoreError
from tests.eval.store_rows import MODEL, impacts, listed_units, metrics, run_row


@pytest.fixture(params=["folder", "file url", "memory url"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    root = {
        "folder": str(tmp_path / "deep" / "store"),
        "file url": f"file://{tmp_path}/by-url",
        "memory url": f"memory://{uuid.uuid4().hex}/study",
    }
    yield Store(root[request.param])


def test_what_is_written_is_read_back(store: Store) -> None:
    assert not store.has("impacts", "u-en")
    path = store.write("impacts", impacts("en"), "u-en", {"model": MODEL, "language": "en"}, run_id="r1")
    assert path == "impacts/model=org%2Ftiny%20model/language=en/u-en.parquet"
    assert store.has("impacts", "u-en") and store.missing("impacts", ["a", "u-en", "b"]) == ["a", "b"]
    found = store.read("impacts")
    assert found.schema.equals(TABLES["impacts"].schema, check_metadata=True)
    assert found.drop_columns(["run_id", "unit"]).to_pylist() == impacts("en").to_pylist()
    assert found["run_id"].to_pylist() == ["r1"] * 4
    store.check()


def test_a_run_lists_units_of_many_tables_in_one_file(store: Store) -> None:
    listed = listed_units(("impacts", "u-en"), ("metrics", "m"))
    path = store.write("studies", listed, "r1", {"model": MODEL}, run_id="r1")
    assert path == "studies/model=org%2Ftiny%20model/r1.parquet" and store.has("studies", "r1")
    assert query(store, 'SELECT run_id, model, "table", unit FROM studies')[1] == [
        ("r1", MODEL, "impacts", "u-en"),
        ("r1", MODEL, "metrics", "m"),
    ]
    store.write("studies", listed.slice(1), "r1", {"model": MODEL}, run_id="r1")
    assert store.read("studies", columns=["unit"]).to_pylist() == [{"unit": "m"}]
    with pytest.raises(StoreError, match="lacks column unit"):
        store.write("studies", listed.drop_columns(["unit"]), "r1", {"model": MODEL}, run_id="r1")


def test_rows_as_dictionaries_take_the_declared_types(store: Store) -> None:
    rows = impacts("en").to_pylist()
    store.write("impacts", rows, "u", {"model": MODEL}, run_id="r")
    assert store.read("impacts").drop_columns(["run_id", "unit"]).to_pylist() == rows
    with pytest.raises(StoreError, match="unknown column colour"):
        store.write("impacts", [row | {"colour": "red"} for row in rows], "v", {"model": MODEL}, run_id="r")
    store.write("impacts", [], "nothing", {"model": MODEL}, run_id="r")
    assert store.has("impacts", "nothing") and len(store.read("impacts")) == 4


def test_filters_and_columns(store: Store) -> None:
    for language in ("sw", "en"):
        for model in ("a", "b/c"):
            rows = impacts(language, model=model)
            store.write("impacts", rows, f"{model}-{language}", {"model": model, "language": language}, "r")
    assert len(store.read("impacts")) == 16
    one = [("model", "=", "b/c"), ("language", "=", "sw"), ("neuron", ">", 1)]
    assert store.read("impacts", one, ["language", "neuron"]).to_pylist() == [
        {"language": "sw", "neuron": 2},
        {"language": "sw", "neuron": 3},
    ]
    assert len(store.read("impacts", [[("language", "=", "sw")], [("neuron", "=", 0)]])) == 10
    assert len(store.read("impacts", pc.field("language") == "en")) == 8
    assert len(store.read("impacts", [("model", "=", "none")])) == 0
    assert len(store.read("impacts", [("language", "in", ["en"])])) == 8
    with pytest.raises(StoreError, match="colour"):
        store.read("impacts", [("colour", "=", "red")])


def test_an_empty_store_has_empty_tables(store: Store) -> None:
    for table, spec in TABLES.items():
        found = store.read(table)
        assert len(found) == 0 and found.schema == spec.schema
    store.check()
    assert not store.exists()
    with pytest.raises(StoreError, match=r"no table 'impact' .* impacts"):
        store.read("impact")


def test_a_unit_written_again_is_replaced(store: Store) -> None:
    store.write("runs", run_row("first"), "run")
    store.write("runs", run_row("second"), "run")
    assert store.read("runs")["run_id"].to_pylist() == ["second"]


def test_names_never_leave_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for model in ("../../escaped", "/etc", "..", "a\0b"):
        rows = impacts("..", model=model)
        store.write("impacts", rows, "../" * 5 + "x" + model, {"model": model, "language": ".."}, "r")
        assert len(store.read("impacts", [("model", "=", model), ("language", "=", "..")])) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["store"]
    assert sorted(p.name for p in (tmp_path / "store").iterdir()) == ["impacts", "store.json"]


def test_the_same_unit_is_the_same_bytes(tmp_path: Path) -> None:
    rows = impacts("en", n=1000)
    chunked = pa.concat_tables([rows.slice(0, 300), rows.slice(300)]).replace_schema_metadata({"pandas": "x"})
    paths = [
        Store(tmp_path / name).write("impacts", table, "u", {"model": MODEL}, "r")
        for name, table in (("a", rows), ("b", chunked))
    ]
    a, b = ((tmp_path / name / path).read_bytes() for name, path in zip("ab", paths, strict=True))
    assert a == b
    assert (tmp_path / "a/store.json").read_bytes() == (tmp_path / "b/store.json").read_bytes()


def test_rows_keep_their_order(tmp_path: Path) -> None:
    rows = impacts("en", n=50).take(list(reversed(range(50))))
    store = Store(tmp_path)
    store.write("impacts", rows, "u", {"model": MODEL}, "r")
    assert store.read("impacts")["neuron"].to_pylist() == list(reversed(range(50)))


def test_an_empty_unit_is_done(tmp_path: Path) -> None:
    store = Store(tmp_path)
    nothing = TABLES["neuron_sets"].schema.empty_table()
    with pytest.raises(StoreError, match="needs its model"):
        store.write("neuron_sets", nothing, "u", {})
    store.write("neuron_sets", nothing, "u", {"model": MODEL, "selection": "default", "language": None})
    assert store.has("neuron_sets", "u") and len(store.read("neuron_sets")) == 0


def test_other_readers_find_the_hive_partitions(tmp_path: Path) -> None:
    Store(tmp_path).write("impacts", impacts("en"), "u", {"model": MODEL, "language": "en"}, "r")
    plain = ds.dataset(tmp_path / "impacts", partitioning="hive")
    assert plain.to_table(filter=pc.field("model") == MODEL).num_rows == 4


def test_unfinished_files_do_not_count_and_are_swept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = tmp_path / store.write("impacts", impacts("en"), "u", {"model": MODEL}, "r")
    left = path.parent / ".writing-0123.tmp"
    left.write_bytes(path.read_bytes()[:50])
    (path.parent / "notes.txt").write_text("mine")
    assert len(store.read("impacts")) == 4 and store.missing("impacts", ["0123", ".writing-0123"])
    with store.lock():
        assert not left.exists() and path.exists() and (path.parent / "notes.txt").exists()


def _rewritten(path: Path, metadata: dict[bytes, bytes]) -> None:
    table = pq.read_table(path, partitioning=None)
    schema = TABLES[path.parent.parent.name].schema
    path.write_bytes(sealed_parquet(table.replace_schema_metadata({**schema.metadata, **metadata})))


@pytest.mark.parametrize("version", [SCHEMA_VERSION - 1, 7])
def test_a_file_of_another_version_is_refused(tmp_path: Path, version: int) -> None:
    store = Store(tmp_path)
    path = tmp_path / store.write("metrics", metrics([1.0]), "u", {"model": MODEL}, "r")
    _rewritten(path, {b"polyneuron.schema_version": b"%d" % version})
    for action in (store.check, lambda: store.read("metrics"), lambda: store.lock().__enter__()):
        with pytest.raises(StoreError, match=f"{path}.*version {version}; .*version {SCHEMA_VERSION}"):
            action()


@pytest.mark.parametrize("version", [SCHEMA_VERSION - 1, SCHEMA_VERSION + 1])
def test_a_store_of_another_version_is_refused_and_left_alone(tmp_path: Path, version: int) -> None:
    marker = tmp_path / "store.json"
    marker.write_text(json.dumps({"format": "polyneuron-store", "schema_version": version}))
    store = Store(tmp_path)
    actions = (store.check, lambda: store.read("runs"), lambda: store.write("runs", run_row(), "u"))
    for action in (*actions, lambda: store.lock().__enter__()):
        with pytest.raises(StoreError, match=rf"store\.json.*version {version};"):
            action()
    assert not (tmp_path / "runs").exists()


ODD_VERSIONS = ["-1", "true", "1.0", '"1"', "null", "[1]", "1e400"]
MARKERS = [
    "", "{", "null", "[]", "3", '"text"', "{}", "[" * 20_000, "\0", "NaN",
    '{"format": "polyneuron-store"}', '{"format": "other", "schema_version": 1}', '{"schema_version": 1}',
    *(f'{{"format": "polyneuron-store", "schema_version": {version}}}' for version in ODD_VERSIONS),
]  # fmt: skip


@pytest.mark.parametrize("marker", [*MARKERS, None, Path])
def test_a_store_that_is_none_is_refused_in_one_message(tmp_path: Path, marker: object) -> None:
    """None: no file, where tables are; Path: a folder in its place."""
    store, file = Store(tmp_path), tmp_path / "store.json"
    kept = tmp_path / store.write("runs", run_row(), "u")
    file.unlink()
    if marker is Path:
        file.mkdir()
    elif isinstance(marker, str):
        file.write_text(marker)
    before, content = sorted(tmp_path.rglob("*")), kept.read_bytes()
    actions = (store.check, lambda: store.read("runs"), lambda: store.write("runs", run_row(), "v"))
    for action in (*actions, lambda: query(store, "SELECT 1"), lambda: store.lock().__enter__()):
        with pytest.raises(StoreError) as refused:
            action()
        assert "store.json" in str(refused.value) and len(str(refused.value).splitlines()) == 1
    assert kept.read_bytes() == content and set(tmp_path.rglob("*")) - set(before) <= {tmp_path / ".lock"}


@pytest.mark.parametrize(
    "place", ["nosuch://place/x", "s3://", "~no-such-user/x", "a\0b", "x" * 5000, "http://127.0.0.1:9/x"]
)
def test_a_place_that_cannot_hold_a_store_is_refused(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError), Store(place).lock():
        pass
    assert not list(tmp_path.iterdir())


def test_a_foreign_file_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = tmp_path / store.write("metrics", metrics([1.0]), "u", {"model": MODEL}, "r")
    pq.write_table(pa.table({"x": [1]}), path.with_name("foreign.parquet"))
    with pytest.raises(StoreError, match=r"foreign\.parquet is not a file of the table metrics"):
        store.read("metrics")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_file_is_named_with_the_way_out(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    for language in ("en", "sw"):
        path = tmp_path / store.write(
            "impacts", impacts(language, 5000), f"u-{language}", {"model": MODEL, "language": language}, "r"
        )
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 3] ^= 0x10
    path.write_bytes({"truncated": bytes(data[:-40]), "flipped": bytes(data), "empty": b""}[damage])
    with pytest.raises(
        StoreError,
        match=r"language=sw/u-sw\.parquet is damaged.*Run the study again: it moves the file aside",
    ):
        store.read("impacts")
    assert len(store.read("impacts", [("language", "=", "en")])) == 5000


def test_unknown_url_protocols_are_refused() -> None:
    with pytest.raises(StoreError, match="nosuch://"):
        Store("nosuch://bucket/x")

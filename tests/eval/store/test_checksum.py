"""Damage to a file of the store is found wherever it is, and the unit of work it belongs to counts as missing."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from polyneuron.eval.store.checksum import is_damaged, sealed_parquet
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError
from tests.eval.store_rows import MODEL, impacts, run_row


def test_every_flipped_byte_is_found_but_in_the_checksums_own_name() -> None:
    """There the file counts as one of another writer: what it holds is untouched."""
    data = sealed_parquet(impacts("en", 50))
    assert not is_damaged(data)
    name = data.rfind(b"polyneuron.xxh3_128")
    for index in range(len(data)):
        flipped = bytearray(data)
        flipped[index] ^= 0x10
        in_name = name <= index < name + len(b"polyneuron.xxh3_128")
        assert is_damaged(bytes(flipped)) is not in_name, index


def test_other_readers_take_a_sealed_file(tmp_path: Path) -> None:
    rows = impacts("en", 50)
    (tmp_path / "x.parquet").write_bytes(sealed_parquet(rows))
    assert pq.read_table(tmp_path / "x.parquet", page_checksum_verification=True).equals(rows)


def _damage(path: Path) -> bytes:
    data = bytearray(path.read_bytes())
    data[-60] ^= 0x10  # in the footer, which Parquet's own checksums leave out
    path.write_bytes(bytes(data))
    return bytes(data)


def _stored(root: Path) -> tuple[Store, dict[str, Path]]:
    store, paths = Store(root), {}
    for language in ("en", "sw"):
        where = {"model": MODEL, "language": language}
        paths[language] = root / store.write("impacts", impacts(language), f"u-{language}", where, "r")
    paths["run"] = root / store.write("runs", run_row(), "r")
    return store, paths


def test_damage_is_found_by_the_reader_that_had_read_it_before(tmp_path: Path) -> None:
    store, paths = _stored(tmp_path)
    assert len(store.read("impacts")) == 8
    _damage(paths["sw"])
    for reader in (store, Store(tmp_path)):
        with pytest.raises(StoreError, match=r"u-sw\.parquet is damaged .*moves the file aside"):
            reader.read("impacts")
        assert len(reader.read("impacts", [("language", "=", "en")])) == 4


@pytest.mark.parametrize("victim", ["first", "second"])
def test_a_damaged_unit_is_moved_aside_whole_and_counts_as_missing(tmp_path: Path, victim: str) -> None:
    """A unit may have files in several tables, of which one marks it as done."""
    store, paths = _stored(tmp_path)
    beside = store.write("impacts", impacts("de"), "u-sw", {"model": MODEL, "language": "de"}, "r")
    damaged = paths["sw"] if victim == "first" else tmp_path / beside
    content = _damage(damaged)
    with store.lock() as moved:
        assert moved == sorted(str(path.relative_to(tmp_path)) for path in (paths["sw"], tmp_path / beside))
        assert store.missing("impacts", ["u-en", "u-sw"]) == ["u-sw"] and store.has("runs", "r")
        store.write("impacts", impacts("sw"), "u-sw", {"model": MODEL, "language": "sw"}, "r2")
    assert (
        tmp_path / "damaged" / damaged.relative_to(tmp_path)
    ).read_bytes() == content  # nothing is deleted
    with store.lock() as moved:
        assert moved == [] and len(store.read("impacts")) == 8


@pytest.mark.parametrize("victim", ["first", "second"])
def test_a_kill_between_two_moves_leaves_no_half_unit(
    tmp_path: Path, victim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, paths = _stored(tmp_path)
    beside = tmp_path / store.write("impacts", impacts("de"), "u-sw", {"model": MODEL, "language": "de"}, "r")
    _damage(paths["sw"] if victim == "first" else beside)
    move, moved = store._files.move, list[str]()

    def killed_at_the_second(path: str, to: str) -> None:
        if moved:
            raise KeyboardInterrupt
        moved.append(path)
        move(path, to)

    with monkeypatch.context() as patched:
        patched.setattr(store._files, "move", killed_at_the_second)
        with pytest.raises(KeyboardInterrupt), store.lock():
            pass
    assert len(moved) == 1
    with Store(tmp_path).lock() as rest:
        assert len(rest) == 1 and store.missing("impacts", ["u-sw"]) == ["u-sw"]


def test_a_store_at_a_url_moves_damaged_files_too() -> None:
    import fsspec

    store = Store("memory://damaged-store/study")
    path = store.write("impacts", impacts("en"), "u", {"model": MODEL, "language": "en"}, "r")
    files = fsspec.filesystem("memory")
    files.pipe_file(f"/damaged-store/study/{path}", files.cat_file(f"/damaged-store/study/{path}")[:-9])
    with store.lock() as moved:
        assert moved == [path] and not store.has("impacts", "u")
    assert files.exists(f"/damaged-store/study/damaged/{path}")

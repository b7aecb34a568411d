"""What a full disk, a read-only folder and an interruption leave behind: a clear error, and no half file."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from polyneuron.eval.store.files import LocalFiles
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError
from tests.eval.store_rows import MODEL, impacts, run_row
from tests.small_files import small_files
from tests.time_limit import no_longer_than

NOBODY = 65534


def big_rows() -> pa.Table:
    """About 1 MB of Parquet that does not compress."""
    noise = np.random.default_rng(0).random(200_000, np.float32)
    n = len(noise)
    return impacts("en", n, impact_min=pa.array(noise), impact_rms_min=pa.array(noise[::-1].copy()))


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root; the size limit below covers the same path")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this container may not mount; the size limit below covers the same path")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    store.write("runs", run_row(), "run")
    with pytest.raises(StoreError, match=r"No space left.*disk or a quota is full"):
        store.write("impacts", big_rows(), "u", {"model": MODEL}, "r")
    assert files_below(small_disk / "store") == ["runs/run.parquet", "store.json"]
    assert not store.has("impacts", "u")
    store.write("impacts", impacts("en"), "u", {"model": MODEL}, "r")
    assert len(store.read("impacts")) == 4


def test_a_file_size_limit(tmp_path: Path) -> None:
    store, rows = Store(tmp_path), big_rows()
    with small_files(100_000), pytest.raises(StoreError, match=r"File too large.*disk or a quota is full"):
        store.write("impacts", rows, "u", {"model": MODEL}, "r")
    assert files_below(tmp_path) == ["store.json"]
    store.write("impacts", rows, "u", {"model": MODEL}, "r")
    assert store.has("impacts", "u")


def is_everybodys(folder: Path) -> bool:
    return all(place.stat().st_mode & 0o001 for place in (folder.resolve(), *folder.resolve().parents))


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder this user may read but not write; root steps down, since it may write anywhere, and needs a folder that others
    may look into."""
    everybodys = [
        place for place in (tempfile.gettempdir(), "/tmp", "/var/tmp") if is_everybodys(Path(place))
    ]
    if not everybodys:
        pytest.skip("no folder for temporary files that every user may look into")
    with tempfile.TemporaryDirectory(dir=everybodys[0]) as name:
        root = Path(name)
        Store(root).write("impacts", impacts("en"), "u", {"model": MODEL}, "r")
        root.chmod(0o555)
        was = os.geteuid()
        if was == 0:
            os.seteuid(NOBODY)
        try:
            yield root
        finally:
            os.seteuid(was)
            root.chmod(0o755)


def test_a_read_only_folder(read_only: Path) -> None:
    store = Store(read_only)
    assert len(store.read("impacts")) == 4
    before = files_below(read_only)
    with pytest.raises(
        StoreError, match=r"Cannot write the store .*Permission denied.*Make the folder writable"
    ):
        store.write("runs", run_row(), "run")
    with (
        pytest.raises(
            StoreError, match=r"Cannot lock the store .*Permission denied.*Make the folder writable"
        ),
        store.lock(),
    ):
        pass
    assert files_below(read_only) == before


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="stands where the store needs a folder"), Store(root).lock():
            pass


def test_an_interruption_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: LocalFiles, path: str) -> None:
        if ".writing-" in path:
            raise KeyboardInterrupt

    store = Store(tmp_path)
    store.write("runs", run_row(), "run")
    monkeypatch.setattr(LocalFiles, "_sync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write("impacts", impacts("en"), "u", {"model": MODEL}, "r")
    assert files_below(tmp_path) == ["runs/run.parquet", "store.json"]


KILLED_WRITER = """
import os, signal, sys
from polyneuron.eval.store.files import LocalFiles
from polyneuron.eval.store.store import Store
from tests.eval.store_rows import MODEL, impacts

def stop(self, path):
    if ".writing-" in path:
        os.truncate(path, 13)
        os.kill(os.getpid(), signal.SIGKILL)

with Store(sys.argv[1]).lock():
    LocalFiles._sync = stop
    Store(sys.argv[1]).write("impacts", impacts("en"), "u", {"model": MODEL}, "r")
"""


def test_a_writer_killed_while_writing(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(tmp_path)])
    assert ended.returncode == -signal.SIGKILL
    store = Store(tmp_path)
    assert any(".writing-" in path for path in files_below(tmp_path))
    assert not store.has("impacts", "u") and len(store.read("impacts")) == 0
    with store.lock():
        store.write("impacts", impacts("en"), "u", {"model": MODEL}, "r")
    assert not any(".writing-" in path for path in files_below(tmp_path))
    assert len(store.read("impacts")) == 4


@pytest.mark.parametrize("kind", ["device", "pipe"])
@pytest.mark.parametrize("name", ["store.json", "impacts"])
def test_what_never_ends_is_not_read(name: str, kind: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.write("impacts", impacts("en"), "u", {"model": MODEL}, "r")
    (path,) = [p for p in (tmp_path / "store").rglob("*") if p.is_file() and name in str(p)]
    path.unlink()
    if kind == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
    with no_longer_than(20), pytest.raises(StoreError, match="device or a pipe"):
        store.read("impacts")
    with no_longer_than(20), pytest.raises(StoreError, match="device or a pipe"), store.lock():
        pass

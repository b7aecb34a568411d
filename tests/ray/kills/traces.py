"""What a command has started and what it leaves: its processes are known by a variable of their environment, its files by the
folders that it is given for itself."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_VARIABLE = "POLYNEURON_TEST_OF_KILLS"
_SHARED_MEMORY, _RAY = Path("/dev/shm"), Path("/tmp/ray")
DRIVER = "driver"
_SIGNS = {
    "gcs": ("gcs_server",),
    "raylet": ("/raylet/raylet",),
    "worker": ("ray::Worker",),
    "engine": ("ray::_Shell", "VLLM::EngineCore"),
}
"""What begins, or names, the command line of a process of each kind."""
KINDS = (DRIVER, *_SIGNS)


class Traces:
    """The folders and processes of one study, started as often as need be."""

    def __init__(self, folder: Path) -> None:
        """folder: empty, and with a short path, since Ray makes sockets in it."""
        self.folder, self._mark = folder, uuid.uuid4().hex
        self.temporary, self.cache, self.store = (folder / name for name in ("t", "cache", "store"))
        self.temporary.mkdir(parents=True)
        self._shared_before = _names(_SHARED_MEMORY)
        self._sessions_before = _names(_RAY)

    @property
    def environment(self) -> dict[str, str]:
        """That of the command."""
        own = {_VARIABLE: self._mark, "TMPDIR": str(self.temporary), "POLYNEURON_CACHE": str(self.cache)}
        own["TORCHINDUCTOR_CACHE_DIR"] = str(
            self.cache / "torch"
        )  # torch makes it in TMPDIR when transformers imports it
        own["RAY_worker_niceness"] = "0"  # else everything else that a machine does comes before the study
        return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | own

    def processes(self) -> list[psutil.Process]:
        """All that run and were started by the command, whoever their parent is now."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def orphans(self, grace_s: float) -> list[str]:
        """Those that still run `grace_s` after the command has ended."""
        deadline = time.monotonic() + grace_s
        while (alive := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return [_words(process)[:100] for process in alive]

    def files(self) -> list[str]:
        """Temporary files and folders, half-written ones, and segments of shared memory that nobody has open."""
        found = [*self.temporary.iterdir()]
        for place in (self.store, self.cache):
            found += [path for path in place.rglob("*") if _is_half(path)]
        found += [path / "held" for path in self.folder.rglob("*.lock") if _is_locked(path)]
        segments = _names(_SHARED_MEMORY) - self._shared_before
        if segments:
            segments -= set(_mapped())
        found += [_SHARED_MEMORY / name for name in segments]
        sessions = _names(_RAY) - self._sessions_before
        found += [_RAY / name for name in sessions if not psutil.pid_exists(int(name.rsplit("_", 1)[-1]))]
        return sorted(map(str, found))

    def _is_ours(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                return bool(process.environ().get(_VARIABLE) == self._mark)
        return False


def by_kind(driver: psutil.Process) -> dict[str, list[psutil.Process]]:
    """The command and the processes below it that run, by kind."""
    found: dict[str, list[psutil.Process]] = {kind: [] for kind in KINDS}
    with suppress(psutil.Error):
        if driver.status() != psutil.STATUS_ZOMBIE:
            found[DRIVER] = [driver]
        for child in driver.children(recursive=True):
            if (kind := _kind(child)) is not None:
                found[kind].append(child)
    return found


def _kind(process: psutil.Process) -> str | None:
    with suppress(psutil.Error):
        name = (process.cmdline() or [""])[0]
        for kind, signs in _SIGNS.items():
            if name.startswith(signs) or name.endswith(signs):
                return kind
    return None


def _words(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return f"{process.pid} {' '.join(process.cmdline())}"
    return f"{process.pid}"


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _is_half(path: Path) -> bool:
    return path.suffix == ".tmp" or path.name.startswith((".writing-", ".report"))


def _is_locked(path: Path) -> bool:
    import fcntl

    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _mapped() -> Iterator[str]:
    """Segments of shared memory that some process has mapped; others may work on this machine."""
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):
            for line in maps.read_text().splitlines():
                if str(_SHARED_MEMORY) in line:
                    yield Path(line.split(maxsplit=5)[5].removesuffix(" (deleted)")).name

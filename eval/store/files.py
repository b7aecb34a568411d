"""Where the store's files lie: a local folder through `os`, any other fsspec URL through its file system.

Both write whole files only: a temporary file in the same folder is renamed into place once its bytes are
safe.
"""

from __future__ import annotations

import errno
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyarrow.fs as arrow_fs
from xxhash import xxh3_128_hexdigest

from polyneuron.eval.store.paths import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from polyneuron.neuron_core.common.errors import StoreError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Files(Protocol):
    """Files below one root. Paths are relative to it, with `/` between parts."""

    root: str
    arrow: arrow_fs.FileSystem
    lock_path: Path

    def exists(self) -> bool: ...
    def full_path(self, path: str) -> str: ...
    def list_files(self, folder: str) -> list[str]: ...
    def read_bytes(self, path: str) -> bytes | None: ...
    def write(self, path: str, fill: Callable[[BinaryIO], None]) -> None: ...
    def remove(self, path: str) -> None: ...
    def move(self, path: str, to: str) -> None: ...
    def stamp(self, path: str) -> tuple[int, int | None]: ...
    def make_lock_folder(self) -> None: ...


def open_files(root: str | os.PathLike[str]) -> Files:
    """Files of a folder or fsspec URL. Raises StoreError when the URL's protocol is unknown or its package is
    not installed."""
    text = os.fspath(root)
    if "://" not in text:
        return LocalFiles(Path(text).expanduser().absolute())
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(text)
    except (ValueError, ImportError) as error:
        raise StoreError(
            f"The store {text} cannot be opened: {error}. Use a folder, or install what the URL needs."
        ) from error
    if "file" in (filesystem.protocol if isinstance(filesystem.protocol, tuple) else (filesystem.protocol,)):
        return LocalFiles(Path(path))
    return RemoteFiles(text, filesystem, path.rstrip("/"))


class LocalFiles:
    """A folder on this machine. Written files and their folders are synced, so a rename that happened
    survives power loss."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.arrow = arrow_fs.LocalFileSystem()
        self.lock_path = root / ".lock"

    def exists(self) -> bool:
        return os.path.isdir(self.root)

    def full_path(self, path: str) -> str:
        return os.path.join(self.root, path)

    def list_files(self, folder: str) -> list[str]:
        """All files below `folder`, sorted; none when it does not exist."""

        def fail(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                raise error

        found = []
        with store_errors(self.root, "read"):
            for place, _, names in os.walk(self.full_path(folder), onerror=fail):
                found += [os.path.relpath(os.path.join(place, name), self.root) for name in names]
        return sorted(found)

    def read_bytes(self, path: str) -> bytes | None:
        """The file's bytes, or None when there is no such file."""
        with store_errors(self.full_path(path), "read"):
            try:
                return Path(self.full_path(path)).read_bytes()
            except FileNotFoundError:
                return None

    def write(self, path: str, fill: Callable[[BinaryIO], None]) -> None:
        """Makes the file `path` with what `fill` writes, wholly or not at all; an older file of that name is
        replaced."""
        target = Path(self.full_path(path))
        with store_errors(self.root, "write"):
            _make_folders(target.parent)
            temporary = target.parent / _temporary_name()
            try:
                with open(temporary, "xb") as file:
                    fill(file)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _sync_folder(target.parent)

    def remove(self, path: str) -> None:
        with store_errors(self.root, "write"):
            Path(self.full_path(path)).unlink(missing_ok=True)

    def move(self, path: str, to: str) -> None:
        """Renames a file; one of that name is replaced."""
        target = Path(self.full_path(to))
        with store_errors(self.root, "write"):
            _make_folders(target.parent)
            os.replace(self.full_path(path), target)
            _sync_folder(target.parent)

    def stamp(self, path: str) -> tuple[int, int | None]:
        """Size in bytes and time of the last change in ns: what a file that was not touched keeps."""
        with store_errors(self.root, "read"):
            found = os.stat(self.full_path(path))
        return found.st_size, found.st_mtime_ns

    def make_lock_folder(self) -> None:
        with store_errors(self.root, "write"):
            _make_folders(Path(self.root))


class RemoteFiles:
    """A folder of any fsspec file system, such as `s3://bucket/study` or `memory://study`.

    Object stores have no lock that ends with its holder: the lock of such a store keeps two studies of one
    user on one machine apart. Two machines that study into one URL repeat work, but do no harm: files are
    named by what decides their content.
    """

    def __init__(self, url: str, filesystem: Any, root: str) -> None:
        self.root = url
        self._fs, self._path = filesystem, root
        self.arrow = arrow_fs.PyFileSystem(arrow_fs.FSSpecHandler(filesystem))
        folder = Path(tempfile.gettempdir()) / f"polyneuron-locks-{os.getuid()}"
        self.lock_path = folder / f"{xxh3_128_hexdigest(url.rstrip('/').encode())}.lock"

    def exists(self) -> bool:
        with store_errors(self.root, "read"):
            return bool(self._fs.exists(self._path))

    def full_path(self, path: str) -> str:
        return f"{self._path}/{path}"

    def list_files(self, folder: str) -> list[str]:
        with store_errors(self.root, "read"):
            self._fs.invalidate_cache()
            try:
                found = self._fs.find(self.full_path(folder))
            except FileNotFoundError:
                return []
        prefix = self._path.lstrip("/") + "/"
        return sorted(path.lstrip("/").removeprefix(prefix) for path in found)

    def read_bytes(self, path: str) -> bytes | None:
        with store_errors(self.root, "read"):
            try:
                return bytes(self._fs.cat_file(self.full_path(path)))
            except FileNotFoundError:
                return None

    def write(self, path: str, fill: Callable[[BinaryIO], None]) -> None:
        """As `LocalFiles.write`, as durable as the file system's own close and move."""
        target = self.full_path(path)
        folder = target.rsplit("/", 1)[0]
        temporary = f"{folder}/{_temporary_name()}"
        with store_errors(self.root, "write"):
            self._fs.makedirs(folder, exist_ok=True)
            try:
                with self._fs.open(temporary, "wb") as file:
                    fill(file)
                self._fs.mv(temporary, target)
            except BaseException:
                if self._fs.exists(temporary):
                    self._fs.rm_file(temporary)
                raise

    def remove(self, path: str) -> None:
        with store_errors(self.root, "write"):
            self._fs.rm_file(self.full_path(path))

    def move(self, path: str, to: str) -> None:
        """As `LocalFiles.move`."""
        target = self.full_path(to)
        with store_errors(self.root, "write"):
            self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            self._fs.mv(self.full_path(path), target)

    def stamp(self, path: str) -> tuple[int, int | None]:
        """Size in bytes, and the time of the last change in ns where the file system tells."""
        with store_errors(self.root, "read"):
            found = self.arrow.get_file_info(self.full_path(path))
        return found.size or 0, found.mtime_ns

    def make_lock_folder(self) -> None:
        with store_errors(str(self.lock_path.parent), "write"):
            self.lock_path.parent.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def store_errors(where: str, doing: str) -> Iterator[None]:
    """Turns what the operating system refuses into a StoreError that says so."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            advice = "The disk or a quota is full: free some space and start again; what is stored stays."
        elif error.errno in _READ_ONLY:
            advice = "Make the folder writable for this user, or choose another store folder."
        elif error.errno in (errno.ENOTDIR, errno.EEXIST):
            advice = "A file stands where the store needs a folder: choose another store folder."
        else:
            advice = "Check the disk and the folder, then start again; what is stored stays."
        raise StoreError(f"Cannot {doing} the store {where}: {reason}. {advice}") from error


def _temporary_name() -> str:
    return f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}{TEMPORARY_SUFFIX}"


def _make_folders(folder: Path) -> None:
    """Makes `folder` and its parents, each synced into the one above it."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Where the store's files lie: a folder of any fsspec file system; in a local one, what is written survives power loss.

Whole files only are written: a temporary file in the same folder is renamed into place once its bytes are safe.
"""

import errno
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.fs as arrow_fs
from fsspec.implementations.local import LocalFileSystem
from xxhash import xxh3_128_hexdigest

from polyneuron.eval.store.paths import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from polyneuron.neuron_core.common.errors import PolyneuronError, StoreError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Files:
    """The files below one folder. Paths are relative to it, with `/` between parts.

    Object stores have no lock that ends with its holder: the lock of such a store keeps two studies of one user on one machine
    apart. Two machines that study into one URL repeat work, but do no harm: files are named by what decides their content.
    """

    arrow: arrow_fs.FileSystem
    """The same file system, for Arrow's readers of `full_path`."""
    lock_path: Path
    """A file of this machine that a study locks."""

    def __init__(self, url: str, filesystem: Any, folder: str) -> None:
        """The folder `folder` of an fsspec file system, which people know as `url`."""
        self.root = url
        self._fs, self._folder = filesystem, folder.rstrip("/")
        self.arrow = arrow_fs.PyFileSystem(arrow_fs.FSSpecHandler(filesystem))
        locks = Path(tempfile.gettempdir()) / f"polyneuron-locks-{os.getuid()}"
        self.lock_path = locks / f"{xxh3_128_hexdigest(url.rstrip('/').encode())}.lock"

    def exists(self) -> bool:
        """True when there is a folder at the root, even an empty one."""
        with store_errors(self.root, "read"):
            return bool(self._fs.isdir(self._folder))

    def full_path(self, path: str) -> str:
        """The path that the file system knows a file by."""
        return f"{self._folder}/{path}"

    def list_files(self, folder: str, deep: bool = True) -> list[str]:
        """All files below `folder` (deep: also in its folders), sorted; none when it does not exist."""
        with store_errors(self.root, "read"):
            self._fs.invalidate_cache()
            try:
                paths = self._fs.find(self.full_path(folder), maxdepth=None if deep else 1)
            except FileNotFoundError:
                return []
        prefix = self._folder.lstrip("/") + "/"
        return sorted(path.lstrip("/").removeprefix(prefix) for path in paths)

    def read_bytes(self, path: str) -> bytes | None:
        """The file's bytes, or None when there is no such file."""
        with store_errors(self.full_path(path), "read"):
            try:
                return bytes(self._fs.cat_file(self.full_path(path)))
            except FileNotFoundError:
                return None

    def write(self, path: str, content: bytes) -> None:
        """Makes the file `path`, wholly or not at all; an older file of that name is replaced."""
        target = self.full_path(path)
        folder = target.rsplit("/", 1)[0]
        temporary = f"{folder}/{TEMPORARY_PREFIX}{uuid.uuid4().hex}{TEMPORARY_SUFFIX}"
        with store_errors(self.root, "write"):
            self._make_folder(folder)
            try:
                self._fs.pipe_file(temporary, content)
                self._sync(temporary)
                self._rename(temporary, target)
            except BaseException:
                with suppress(FileNotFoundError):
                    self._fs.rm_file(temporary)
                raise
            self._sync(folder)

    def remove(self, path: str) -> None:
        """Deletes a file; one that is gone already is left so."""
        with store_errors(self.root, "write"), suppress(FileNotFoundError):
            self._fs.rm_file(self.full_path(path))

    def move(self, path: str, to: str) -> None:
        """Renames a file; one of that name is replaced."""
        folder = self.full_path(to).rsplit("/", 1)[0]
        with store_errors(self.root, "write"):
            self._make_folder(folder)
            self._rename(self.full_path(path), self.full_path(to))
            self._sync(folder)

    def stamp(self, path: str) -> str:
        """Size, time of the last change and what else the file system tells of a file that was not touched since."""
        with store_errors(self.root, "read"):
            return str(self._fs.ukey(self.full_path(path)))

    def make_lock_folder(self) -> None:
        """Makes the folder in which `lock_path` lies."""
        with store_errors(str(self.lock_path.parent), "write"):
            self.lock_path.parent.mkdir(mode=0o700, exist_ok=True)

    def _make_folder(self, folder: str) -> None:
        self._fs.makedirs(folder, exist_ok=True)

    def _rename(self, path: str, to: str) -> None:
        self._fs.mv(path, to)

    def _sync(self, path: str) -> None:
        """What was written is as durable as the file system's own close and move."""


class LocalFiles(Files):
    """A folder on this machine. Written files and their folders are synced, so a rename that happened survives power loss."""

    def __init__(self, folder: str) -> None:
        """The folder need not exist."""
        super().__init__(folder, LocalFileSystem(), folder)
        self.arrow = arrow_fs.LocalFileSystem()
        self.lock_path = Path(folder) / ".lock"

    def list_files(self, folder: str, deep: bool = True) -> list[str]:
        """As in any folder, but one that may not be read is an error, where fsspec takes it for empty."""

        def fail(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                raise error

        with store_errors(self.root, "read"):
            start = len(self._folder) + 1
            return sorted(
                os.path.join(place, name)[start:]
                for place, _, names in islice(
                    os.walk(self.full_path(folder), onerror=fail), None if deep else 1
                )
                for name in names
            )

    def read_bytes(self, path: str) -> bytes | None:
        """As of any store. Raises StoreError for a device or a pipe, which might never end."""
        where = self.full_path(path)
        if os.path.exists(where) and not (os.path.isfile(where) or os.path.isdir(where)):
            raise StoreError(f"{where} is no file, but a device or a pipe. Move it out of the store")
        return super().read_bytes(path)

    def stamp(self, path: str) -> str:
        """Size, times and inode."""
        with store_errors(self.root, "read"):
            found = os.stat(self.full_path(path))
        return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_ino}"

    def make_lock_folder(self) -> None:
        """Makes the store's folder, in which the lock lies."""
        with store_errors(self.root, "write"):
            self._make_folder(self.root)

    def _make_folder(self, folder: str) -> None:
        """Makes the folder and its parents, each synced into the one above it."""
        if os.path.isdir(folder):
            return
        parent = os.path.dirname(folder)
        self._make_folder(parent)
        Path(folder).mkdir(exist_ok=True)
        self._sync(parent)

    def _rename(self, path: str, to: str) -> None:
        # fsspec would copy where the rename fails, and a copy can be half.
        os.replace(path, to)

    def _sync(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_files(root: str | os.PathLike[str]) -> Files:
    """Files of a folder or fsspec URL. Raises StoreError when the URL's protocol is unknown or its package is not installed."""
    text = os.fspath(root)
    if "://" not in text:
        place = os.path.expanduser(text)
        if place.startswith("~"):
            raise StoreError(f"The store {text} names the home folder of nobody. Write the path out.")
        return LocalFiles(str(Path(place).absolute()))
    try:
        filesystem, path = fsspec.core.url_to_fs(text)
    except Exception as error:  # of whatever library speaks the protocol
        raise StoreError(
            f"The store {text} cannot be opened: {error}. Use a folder, or install what the URL needs."
        ) from error
    return LocalFiles(path) if isinstance(filesystem, LocalFileSystem) else Files(text, filesystem, path)


@contextmanager
def store_errors(where: str, doing: str) -> Iterator[None]:
    """Turns what the operating system, or another library, refuses into a StoreError that says so."""
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
    except PolyneuronError:
        raise
    except Exception as error:  # of a library that speaks a URL's protocol, or a name that no file can have
        raise StoreError(
            f"Cannot {doing} the store {where}: {type(error).__name__}: {error}. Check the place and the right to use it."
        ) from error

"""What tells one model from another: a hash of every byte of the files that decide its results, and of no other file.

One pass over the files also finds weights that are not finite, before anything computes with them. What it finds of a file
is remembered under the file's size, times and inode, so that a model is read once and not at every start.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from xxhash import xxh3_64, xxh3_128, xxh3_128_hexdigest

from polyneuron.neuron_core.common.boundary import errors_become
from polyneuron.neuron_core.common.cache import writable_cache
from polyneuron.neuron_core.common.errors import ConfigError, ModelError
from polyneuron.neuron_core.common.files import temporary_beside
from polyneuron.neuron_core.model.folder import CONFIG, GENERATION, INDEX, TOKENIZER_FILES, commit_of
from polyneuron.neuron_core.model.skeleton import weight_paths
from polyneuron.neuron_core.model.weight_files import StoredTensor, WeightFiles, all_finite

_BLOCK_BYTES = 32 << 20
"""What a thread reads, hashes and looks through at a time; a file's hash is that of its blocks' hashes."""
_WIDEST = 8
"""Bytes of the widest element, which may begin in one block and end in the next."""
SETTLED_S = 2.0
"""A file changed less than this ago may change again within the resolution of its times, so it is not remembered."""
_VERSION = 2

Progress = Callable[[int, int], None]
"""Bytes read and bytes in all."""


def model_fingerprint(
    source: str | Path,
    revision: str | None = None,
    progress: Progress | None = None,
    *,
    trust_remote_code: bool = False,
) -> str:
    """16 hex digits for all that decides what a model computes.

    A local folder is its config, weights, tokenizer and generation config, byte for byte, and its own code where that is
    trusted; a hub's model is its commit, and its weights, which are fetched, byte for byte. Weights have been looked through.

    Raises:
        ModelError: a file cannot be read, changes while it is read, or holds weights that are not finite.
    """
    files = _deciding(source, revision, trust_remote_code)
    return files.fingerprint(_looked_through(files.folder, files.paths, files.weights, progress))


def known_fingerprint(source: str | Path, revision: str | None = None) -> str | None:
    """What `model_fingerprint` gives of a model without code of its own, if no byte need be read for it; None where some file is
    not known, or known to hold weights that are not finite.

    Raises:
        ModelError: files of weights that are not all there.
    """
    files = _deciding(source, revision, trust_remote_code=False)
    with _Known.of_folder(files.folder) as known:
        seen = {path: entry for path in files.paths if (entry := known.of(path)) is not None}
    is_known = len(seen) == len(set(files.paths)) and all(entry.bad is None for entry in seen.values())
    return files.fingerprint(seen) if is_known else None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Deciding:
    """The files that decide what a model computes."""

    folder: Path
    """Where they lie."""
    weights: set[Path]
    """Those with weights."""
    paths: list[Path]
    """All that are compared byte for byte."""
    prefix: str
    """What is said beside their bytes: a hub's commit."""

    def fingerprint(self, seen: Mapping[Path, _Seen]) -> str:
        """The hash of all, by what is known of each."""
        digest = xxh3_64(self.prefix.encode())
        for path in sorted(seen, key=lambda path: path.relative_to(self.folder).as_posix()):
            digest.update(f"{path.relative_to(self.folder).as_posix()}={seen[path].digest};".encode())
        return digest.hexdigest()


def _deciding(source: str | Path, revision: str | None, trust_remote_code: bool) -> _Deciding:
    weights = weight_paths(source, revision)
    folder, commit = weights[0].parent, commit_of(source, revision)
    # of a hub's model, which small files have been fetched is another question on every node
    small = _small_files(folder, trust_remote_code) if commit is None else []
    return _Deciding(
        folder=folder,
        weights=set(weights),
        paths=[*weights, *(path for path in small if path.is_file())],
        prefix="" if commit is None else f"{source}@{commit};",
    )


def files_fingerprint(
    source: str | Path, revision: str | None = None, *, trust_remote_code: bool = False
) -> str:
    """16 hex digits for the same, wherever the files lie: a local folder has its `model_fingerprint`, and a hub's model that
    of a folder with the hub's files. Of a hub's model those that decide are fetched, the small ones too.

    Raises:
        ModelError: as `model_fingerprint`, or files that cannot be fetched.
    """
    folder = Path(source)
    if not folder.exists():
        _fetch_small_files(str(source), revision, trust_remote_code)
        folder = weight_paths(source, revision)[0].parent
    return model_fingerprint(folder, trust_remote_code=trust_remote_code)


def require_fingerprint(
    source: str | Path, expected: str, revision: str | None = None, trust_remote_code: bool = False
) -> None:
    """Raises ModelError when the model as this machine has it is not the one of which `model_fingerprint` gave `expected`."""
    if model_fingerprint(source, revision, trust_remote_code=trust_remote_code) != expected:
        raise ModelError(
            f"The files of {source} on {socket.gethostname()} are not those that this run began with: they were changed "
            "since, or this node has another copy. Let nothing write to them while it runs, give all nodes the same files, "
            "and start again"
        )


def _fetch_small_files(source: str, revision: str | None, trust_remote_code: bool) -> None:
    """Puts all that `_small_files` looks for in a folder beside a hub's weights in its cache."""
    from huggingface_hub import HfApi

    wanted = (CONFIG, GENERATION, INDEX, *TOKENIZER_FILES)
    way_out = "Look at its name, and whether the hub can be reached"
    with errors_become(ModelError, f"The files of {source} cannot be fetched", way_out):
        api = HfApi()
        for sibling in api.model_info(source, revision=revision).siblings or ():
            name = sibling.rfilename
            is_code = trust_remote_code and name.endswith(".py")
            if is_code or ("/" not in name and any(fnmatchcase(name, pattern) for pattern in wanted)):
                api.hf_hub_download(source, name, revision=revision)


def require_finite_files(paths: Sequence[Path], progress: Progress | None = None) -> None:
    """Raises ModelError, with the tensor's name, when a file of weights holds NaN or infinity; reads what is not known."""
    for folder in {path.parent for path in paths}:
        weights = [path for path in paths if path.parent == folder]
        _looked_through(folder, weights, set(weights), progress)


def _small_files(folder: Path, trust_remote_code: bool) -> list[Path]:
    found = {folder / name for name in (CONFIG, GENERATION, INDEX)}
    found |= {path for pattern in TOKENIZER_FILES for path in folder.glob(pattern)}
    if trust_remote_code:
        found |= set(folder.rglob("*.py"))
    return sorted(found)


@dataclass(frozen=True)
class _Seen:
    """What is known of a file as it was at `stamp`: its digest, and the first tensor that is not finite."""

    stamp: list[int]
    digest: str
    bad: str | None


def _looked_through(
    folder: Path, paths: Iterable[Path], weights: set[Path], progress: Progress | None
) -> dict[Path, _Seen]:
    with _Known.of_folder(folder) as known:
        seen = {path: entry for path in dict.fromkeys(paths) if (entry := known.of(path)) is not None}
        unknown = [path for path in dict.fromkeys(paths) if path not in seen]
        with errors_become(
            ModelError, f"The files of {folder} cannot be read", "Look whether they are still there"
        ):
            count = _Count(progress, unknown)
            for path in unknown:
                seen[path] = _read(path, path in weights, known, count)
    for path, entry in seen.items():
        if entry.bad is not None:
            raise ModelError(
                f"{entry.bad} in {path} holds NaN or infinity. Download or export the model again"
            )
    return seen


class _Count:
    """Adds up the bytes of all files that are read, for people who wait."""

    def __init__(self, progress: Progress | None, paths: Sequence[Path]) -> None:
        self._progress, self._done = progress, 0
        self._total = sum(path.stat().st_size for path in paths)

    def add(self, n_bytes: int) -> None:
        """Reports `n_bytes` more."""
        self._done += n_bytes
        if self._progress is not None:
            self._progress(self._done, self._total)


def _read(path: Path, is_weights: bool, known: _Known, count: _Count) -> _Seen:
    began, stamp = time.time(), _stamp(path)
    tensors = WeightFiles([path]).tensors if is_weights else {}
    digest, bad = xxh3_128(), None
    starts = range(0, max(1, stamp[0]), _BLOCK_BYTES)
    with ThreadPoolExecutor(min(len(starts), os.cpu_count() or 1)) as pool:
        for start, (block, not_finite) in zip(
            starts, pool.map(lambda start: _block(path, start, tensors), starts), strict=True
        ):
            digest.update(block)
            bad = bad or not_finite
            count.add(min(_BLOCK_BYTES, stamp[0] - start))
    if _stamp(path) != stamp:
        raise ModelError(f"{path} changed while it was read. Wait until whatever writes it is done")
    entry = _Seen(stamp, digest.hexdigest(), bad)
    known.add(path, entry, began)
    return entry


def _block(path: Path, start: int, tensors: dict[str, StoredTensor]) -> tuple[bytes, str | None]:
    """The hash of one block, and the name of a tensor with an element that begins in it and is not finite."""
    buffer = bytearray(_BLOCK_BYTES + _WIDEST)
    with path.open("rb", buffering=0) as file:
        n, view = 0, memoryview(buffer)
        while n < len(buffer) and (more := os.preadv(file.fileno(), [view[n:]], start + n)):
            n += more
    end = start + min(n, _BLOCK_BYTES)
    for name, stored in tensors.items():
        item = stored.dtype.itemsize
        last = stored.first_byte + stored.shape.numel() * item
        if stored.first_byte >= end or last <= start or last == stored.first_byte:
            continue
        first = stored.first_byte + -(-max(0, start - stored.first_byte) // item) * item
        stop = min(last, stored.first_byte + -(-(end - stored.first_byte) // item) * item)
        piece = view[first - start : min(stop - start, n)]
        if first < end and not all_finite(torch.frombuffer(piece, dtype=stored.dtype)):
            return xxh3_128(view[: end - start]).digest(), name
    return xxh3_128(view[: end - start]).digest(), None


def _stamp(path: Path) -> list[int]:
    """What changes when a file does: size, times of change (of contents and of the entry) and inode. Not the device, whose
    number is another on every node that mounts it."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


class _Known:
    """What earlier runs found of a folder's files; nothing where the cache cannot be used, which costs only time."""

    def __init__(self, folder: Path, place: Path | None) -> None:
        """`place`: the file of what is known; None where there can be none."""
        self._folder, self._place = folder, place
        self._entries, self._changed = dict[str, Any](), False
        if place is None:
            return
        try:
            kept = json.loads(place.read_text(encoding="utf-8"))
            self._entries = dict(kept["files"]) if kept["version"] == _VERSION else {}
        except (OSError, ValueError, KeyError, TypeError):
            pass

    @staticmethod
    @contextmanager
    def of_folder(folder: Path) -> Iterator[_Known]:
        """What is known of a folder; what is added inside is kept. Of the processes of a machine that start on one model, one
        reads it and the others wait."""
        place = None
        with ExitStack() as held:
            with suppress(OSError, ConfigError):
                name = xxh3_128_hexdigest(os.fsencode(folder.resolve()))
                place = writable_cache("identity") / f"{name}.json"
                lock = held.enter_context(place.with_suffix(".lock").open("a"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            known = _Known(folder, place)
            try:
                yield known
            finally:
                known.keep()

    def of(self, path: Path) -> _Seen | None:
        """What is known of a file that has not changed since."""
        try:
            entry = _Seen(**self._entries[str(path.relative_to(self._folder))])
            return entry if entry.stamp == _stamp(path) and isinstance(entry.digest, str) else None
        except (KeyError, TypeError, OSError):
            return None

    def add(self, path: Path, entry: _Seen, read_at: float) -> None:
        """Remembers a file, unless it was changed so shortly before it was read that it may change again unseen."""
        if read_at - max(entry.stamp[1], entry.stamp[2]) / 1e9 > SETTLED_S:
            self._changed = True
            self._entries[str(path.relative_to(self._folder))] = {
                "stamp": entry.stamp,
                "digest": entry.digest,
                "bad": entry.bad,
            }

    def keep(self) -> None:
        """Writes what is new, whole or not at all."""
        if self._place is None or not self._changed:
            return
        temporary = temporary_beside(self._place)
        try:
            temporary.write_text(json.dumps({"version": _VERSION, "files": self._entries}), encoding="utf-8")
            temporary.replace(self._place)
        except OSError:
            temporary.unlink(missing_ok=True)

"""Folders of token ids on disk: written whole or not at all, named by a hash of all that decides their content."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from polyneuron.neuron_core.common.errors import ModelError, StoreError
from polyneuron.neuron_core.common.files import whole_folder
from polyneuron.neuron_core.common.names import safe_name

MANIFEST = "blocks.json"
_FORMAT = 1
"""Part of every key: it grows when the same texts become other files."""


def digest(value: Any) -> str:
    """The hash of a JSON-ready value, 32 hex digits; the order of keys does not matter."""
    return xxhash.xxh3_128_hexdigest(
        json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()
    )


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """A hash of all that decides the tokens of a text: vocabulary, merges, rules and special tokens; 32 hex digits. What
    stands in for a tokenizer may know it, by a method `fingerprint`."""
    if hasattr(tokenizer, "fingerprint"):
        return str(tokenizer.fingerprint())
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    # What an earlier call asked for, not what the tokenizer is.
    del rules["truncation"], rules["padding"]
    return digest([rules, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id])


def require_usable(tokenizer: Any, add_bos: bool | None) -> None:
    """Raises ModelError for a tokenizer that is not fast, or lacks EOS or the BOS asked for."""
    name = getattr(tokenizer, "name_or_path", "") or "the tokenizer"
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"{name} is not a fast tokenizer: training needs one that has a tokenizer.json")
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"{name} has no EOS token, which ends documents and answers: name one in its configuration"
        )
    if add_bos and tokenizer.bos_token_id is None:
        raise ModelError(f"{name} has no BOS token: leave add_bos unset or set it to false")


def cached_folder(
    cache: str | Path,
    language: str,
    tokenizer: Any,
    deciding: Mapping[str, Any],
    write: Callable[[Path], Mapping[str, Any]],
) -> Path:
    """The folder of one language's tokens below `cache`, made by `write` unless it is there. `deciding`: JSON-ready,
    everything else that decides the content. `write` puts the arrays into a folder and returns the summary of them, for
    people and JSON-ready. Raises StoreError when the place cannot be written."""
    key = {"format": _FORMAT, "language": language, "tokenizer": tokenizer_fingerprint(tokenizer), **deciding}
    folder = Path(cache).expanduser() / f"{safe_name(language)}-{digest(key)}"

    if folder.exists():
        return folder
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    try:
        with whole_folder(folder) as temporary:
            manifest = {"key": key, "pad_id": int(pad), "summary": write(temporary)}
            text = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True)
            (temporary / MANIFEST).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"The token blocks cannot be written to {folder.parent}: {error.strerror or error}. Free space there, or "
            "name another folder for the cache."
        ) from error
    return folder


def save_array(folder: Path, name: str, values: np.ndarray) -> None:
    """Writes one array of a folder, as `TokenFolder` reads it."""
    np.save(folder / f"{name}.npy", values, allow_pickle=False)


class TokenFolder:
    """A folder that `cached_folder` made: its arrays, memory-mapped, and what its manifest says."""

    def __init__(self, folder: str | Path, names: Sequence[str], starts: str) -> None:
        """`names`: of the arrays; `starts`: the one that says where each stretch of `tokens` begins, and the last ends.
        Raises StoreError when the folder is missing or damaged."""
        self.folder = Path(folder)
        try:
            manifest = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
            self.language = str(manifest["key"]["language"])
            self.max_tokens, self.pad_id = int(manifest["key"]["max_tokens"]), int(manifest["pad_id"])
            self.summary: Mapping[str, Any] = manifest["summary"]
            self.arrays = {
                name: np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in names
            }
            if len(self.arrays["tokens"]) != self.arrays[starts][-1]:
                raise ValueError(f"{len(self.arrays['tokens'])} tokens instead of {self.arrays[starts][-1]}")
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"The token blocks in {folder} cannot be read: {error}. Delete the folder; the next run makes it again."
            ) from error

    @property
    def key(self) -> str:
        """The hash of everything that decides the blocks."""
        return self.folder.name.rpartition("-")[2]

"""Folders of token ids on disk: written whole or not at all, named by a hash of all that decides their content."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash

from polyneuron.neuron_core.common.errors import ModelError, StoreError


def digest(value: Any) -> str:
    """32 hex digits of a JSON-ready value; the order of keys does not matter."""
    return xxhash.xxh3_128_hexdigest(
        json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()
    )


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """32 hex digits of all that decides the tokens of a text: vocabulary, merges, rules and special tokens."""
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


def pad_id(tokenizer: Any) -> int:
    """The token that fills a block up; the model never attends to it."""
    return int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Lets `fill` write a temporary folder that then takes its place; what another process has put there first, stays.

    Raises:
        StoreError: the place cannot be written.
    """
    temporary = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.mkdir(parents=True)
        fill(temporary)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.exists():
                raise
            shutil.rmtree(temporary)  # another process finished first
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise StoreError(
            f"The token blocks cannot be written to {folder.parent}: {error.strerror or error}. Free space there, or "
            "name another folder for the cache."
        ) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def sync(file: Any) -> None:
    """Makes sure that an open file is on the disk."""
    file.flush()
    os.fsync(file.fileno())

"""What was found out about a model by code that takes long to load, for as long as nothing in its folder changes."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from polyneuron.neuron_core.common.memory import recall, remember, versions_of
from polyneuron.neuron_core.model.anatomy import Anatomy
from polyneuron.neuron_core.model.families import family_of
from polyneuron.neuron_core.model.identity import SETTLED_S, known_fingerprint

_LIBRARIES = (
    "transformers",
    "tokenizers",
    "huggingface-hub",
    "safetensors",
    "torch",
    "sentencepiece",
    "tiktoken",
)
"""What decides, beside the files and our own code, whether a model opens and what its tokenizer says."""


class ModelMemory:
    """The memory of one model's folder. It answers only while every file there is as it was: those that decide the model's
    results by their content, all others by name, size, times and inode."""

    def __init__(self, source: str, revision: str | None, fingerprint: str) -> None:
        """`fingerprint`: as `known_fingerprint` gave it."""
        self.fingerprint = fingerprint
        self._about = [str(Path(source).absolute()), revision]
        self._folder = Path(source)

    @staticmethod
    def of(source: str, revision: str | None, *, trust_remote_code: bool) -> ModelMemory | None:
        """The memory of a model that lies in a local folder; None where a file was not looked through yet, or where the model's
        own code runs, of which nothing can be foretold. Raises ModelError for weights that are not all there."""
        if trust_remote_code or not Path(source).is_dir():
            return None
        fingerprint = known_fingerprint(source, revision)
        return None if fingerprint is None else ModelMemory(source, revision, fingerprint)

    def recall(self, kind: str, **about: Any) -> Any:
        """What `remember` was given of this kind; None where there is nothing, or anything has changed since."""
        return recall(kind, [*self._about, about], **self._deciding())

    def remember(self, kind: str, value: Any, **about: Any) -> None:
        """Keeps a JSON-ready value, unless a file changed so shortly ago that it may change again unseen."""
        deciding = self._deciding()
        latest = max((max(stamp[2:4]) for stamp in deciding["files"]), default=0)
        if time.time() - latest / 1e9 > SETTLED_S:
            remember(kind, [*self._about, about], value, **deciding)

    def _deciding(self) -> dict[str, Any]:
        stamps = stamps_in(self._folder)
        return {"fingerprint": self.fingerprint, "files": stamps, "versions": versions_of(*_LIBRARIES)}


def stamps_in(folder: str | Path) -> list[list[Any]]:
    """What changes when a file of a folder does: of each its name, size, times of change and inode. Empty for what is none."""
    stamps = []
    for path in sorted(Path(folder).iterdir()) if Path(folder).is_dir() else ():
        stat = path.lstat() if path.is_symlink() and not path.exists() else path.stat()
        stamps.append([path.name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino])
    return stamps


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """What stages ask of a model's config and tokenizer."""

    anatomy: Anatomy
    """Its layers and widths."""
    longest: int | None
    """The tokens that its positions reach; None where its config does not say."""
    adds_bos: bool
    """Whether its tokenizer puts BOS before a text."""
    bos_token_id: int | None
    """The token that begins a text."""
    eos_token_id: int | None
    """The token that ends a text."""
    pad_token_id: int | None
    """The token that fills a row up."""
    is_fast: bool
    """Whether the tokenizer is one of the library tokenizers."""

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads: dicts, lists and plain values."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"anatomy": anatomy_as_json(self.anatomy)}

    @staticmethod
    def from_json(kept: Any) -> ModelFacts | None:
        """What `as_json` gave; None where that is not what it was given."""
        try:
            return ModelFacts(**kept | {"anatomy": anatomy_from_json(kept["anatomy"])})
        except (KeyError, TypeError):
            return None


def anatomy_as_json(anatomy: Anatomy) -> dict[str, Any]:
    """What `anatomy_from_json` reads: dicts, lists and plain values."""
    values = asdict(anatomy) | {"biases": sorted(anatomy.biases)}
    del values["family"]
    return values


def anatomy_from_json(kept: Any) -> Anatomy:
    """What `anatomy_as_json` gave. Raises KeyError or TypeError for anything else."""
    family, biases = family_of(kept["model_type"]), frozenset(kept["biases"])
    return Anatomy(**kept | {"family": family, "biases": biases})

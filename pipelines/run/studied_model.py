"""The model under study: where it lies, what it is made of, and what decides its results."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyneuron.neuron_core.common.errors import ConfigError, ModelError
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.run.progress import bar

_OPENING = threading.Lock()
"""Models open one after the other: transformers loads itself piece by piece, and a second thread finds pieces missing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudiedModel:
    """One model of a study, a night or a transfer study, without its weights."""

    config: ModelConfig
    """Its section of the configuration."""
    source: str
    """Hub id or local folder; a GGUF file is a folder by now."""
    hf_config: Any
    """The configuration that transformers has of it."""
    tokenizer: Any
    """Its tokenizer, of transformers."""
    fingerprint: str
    """Hash of its weights and configuration."""
    adds_bos: bool
    """Whether its prompts start with BOS: as configured, else as its tokenizer does."""
    revision: str | None = None
    """The hub's commit when the model was opened, so that whoever loads it later gets the same; None: a local folder."""
    device: str = "cpu"
    """The kind of device that passes over it run on, as torch names it."""

    @staticmethod
    def open(config: ModelConfig, device: str = "cpu") -> StudiedModel:
        """Resolves the model, loads its configuration and tokenizer, and looks at its files as `load_model` would.

        Raises:
            ModelError: nothing there, or nothing that can be used.
            ConfigError: a BOS is asked of a tokenizer that has none.
        """
        with _OPENING:
            from polyneuron.neuron_core.model.folder import commit_of
            from polyneuron.neuron_core.model.identity import model_fingerprint
            from polyneuron.neuron_core.model.load import dtype_of, resolve_model
            from polyneuron.neuron_core.model.opening import load_config, load_tokenizer
            from polyneuron.neuron_core.model.skeleton import skeleton_of

            source = resolve_model(model_path(config))
            trusted = config.trust_remote_code
            revision = commit_of(source, config.revision) or config.revision
            hf_config = load_config(source, revision, trusted)
            tokenizer = load_tokenizer(source, hf_config, revision, trusted)
            skeleton_of(source, hf_config, dtype_of(config.dtype), revision, trusted)
        if config.add_bos and tokenizer.bos_token_id is None:
            raise ConfigError(
                f"models.add_bos is true, but the tokenizer of {config.label} has no BOS token. Leave models.add_bos unset"
            )
        with bar("files of the model, MiB") as report:
            fingerprint = model_fingerprint(
                source,
                revision,
                lambda done, total: report(done >> 20, total >> 20),
                trust_remote_code=config.trust_remote_code,
            )
        return StudiedModel(
            config=config,
            source=source,
            hf_config=hf_config,
            tokenizer=tokenizer,
            fingerprint=fingerprint,
            adds_bos=_adds_bos(tokenizer) if config.add_bos is None else config.add_bos,
            revision=revision,
            device=device,
        )

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

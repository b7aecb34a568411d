"""A study without a file: a model and its languages become the mapping that a configuration file would hold."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyneuron.neuron_core.common.boundary import errors_become
from polyneuron.neuron_core.common.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class OneLine:
    """A study as the options of a command say it."""

    models: Sequence[str]
    """Hub names, folders, GGUF files or packages that carry one."""
    languages: Sequence[str] = ()
    """Language codes; none: those of the embedded corpus."""
    corpus: str | None = None
    """Where sentences come from, as in `corpus.source`; None: the embedded corpus."""
    out: str | None = None
    """The folder of the store; None: one below stores, called as the models are."""
    train: Sequence[str] = ()
    """Languages to train for."""
    benchmarks: Sequence[str] = ()
    """Names of benchmarks to judge by."""

    def as_mapping(self) -> dict[str, Any]:
        """The study as a configuration file has it. What is not said, and does not depend on the machine, is left out.

        Raises:
            ConfigError: a model without a name, such as an empty one.
            ClusterError: $RAY_ADDRESS is set and nobody answers there.
        """
        models = [model_of(model) for model in self.models]
        names = [model["name"] for model in models]
        per_worker, engine = _of_the_machines()
        study: dict[str, Any] = {"kind": "study", "models": models}
        if self.languages:
            study["languages"] = list(self.languages)
        if self.corpus is not None:
            study["corpus"] = {"source": self.corpus}
        study["contexts"] = {"top_tokens": 5, "n_sentences": 30}
        study["ablation"] = {"exclusive_control_seeds": 5}
        if self.train:
            study["training"] = {"languages": list(self.train), **self._documents()}
        if self.benchmarks:
            study["evaluation"] = {
                "benchmarks": [{"name": name} for name in self.benchmarks],
                "engine": engine,
            }
        study["cluster"] = per_worker
        study["store"] = self.out or f"stores/{'+'.join(names)}"
        study["title"] = f"{', '.join(names)}: language neurons"
        return study

    def _documents(self) -> dict[str, Any]:
        """What is trained on: all texts of the corpus, where one is named that lies on this machine, and else what a
        configuration file without these keys means."""
        if self.corpus is None:
            return {}
        from polyneuron.neuron_core.corpora.presets import source_of

        everything = {"n_documents": "all"} if source_of(self.corpus).kind != "hub" else {}
        return {"mixture": self.corpus, **everything}


def model_of(model: str) -> dict[str, str]:
    """A section of `models`: the path, or the package that carries the model, and the last part of it as its name."""
    package = model.replace("-", "_")
    with errors_become(ConfigError, "--model names no model", "Give a hub name, a folder or a .gguf file"):
        is_path = Path(model).exists()
    if not is_path and package.isidentifier() and importlib.util.find_spec(package):
        return {"gguf_package": package, "name": package}
    name = Path(os.path.abspath(model)).name.removesuffix(".gguf")
    if not model.strip() or not name:
        raise ConfigError(f"--model {model!r} names no model: give a hub name, a folder or a .gguf file")
    return {"path": model, "name": name}


def _of_the_machines() -> tuple[dict[str, int], dict[str, int]]:
    """What one worker, and the engine, take of the machines at hand: a GPU, or all cores of a node."""
    from polyneuron.cluster.capacity.at_hand import machines_at_hand

    machines = machines_at_hand()
    if machines.n_devices:
        return {"gpus_per_worker": 1}, {"gpus": 1}
    return {"threads_per_worker": machines.cores}, {"threads": machines.cores}

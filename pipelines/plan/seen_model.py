"""What a plan needs to know of a model: its anatomy and its shape, without its weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from polyneuron.cluster.capacity.shape import ModelShape, shape_of
from polyneuron.neuron_core.common.errors import ModelError
from polyneuron.neuron_core.model.anatomy import Anatomy, anatomy_of
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.plan.units import config_of_model
from polyneuron.pipelines.run.model_memory import ModelMemory, anatomy_as_json, anatomy_from_json
from polyneuron.pipelines.run.studied_model import model_path


@dataclass(frozen=True)
class SeenModel:
    """`config` gives the config that transformers has of the model, which takes long to load."""

    anatomy: Anatomy
    shape: ModelShape
    config: Callable[[], Any]


def seen_model(model: ModelConfig) -> SeenModel:
    """Looks at a model as `config_of_model` does, and raises what it raises. What was seen of a folder is remembered, until
    anything in it changes."""
    memory = _memory_of(model)
    kept: Any = None if memory is None else memory.recall("shape", dtype=model.dtype)
    with suppress(KeyError, TypeError):
        anatomy, shape = anatomy_from_json(kept["anatomy"]), ModelShape(**kept["shape"])
        return SeenModel(anatomy, shape, lambda: config_of_model(model))
    config = config_of_model(model)
    anatomy, shape = anatomy_of(config), shape_of(config, model.dtype)
    if memory is not None:
        seen = {"anatomy": anatomy_as_json(anatomy), "shape": asdict(shape)}
        memory.remember("shape", seen, dtype=model.dtype)
    return SeenModel(anatomy, shape, lambda: config)


def _memory_of(model: ModelConfig) -> ModelMemory | None:
    from polyneuron.neuron_core.model.gguf import kept_folder

    path = Path(model_path(model)).expanduser()
    with suppress(ModelError):  # a config alone can be planned with
        folder = kept_folder(path) if path.suffix == ".gguf" and path.is_file() else path
        return ModelMemory.of(str(folder), model.revision, trust_remote_code=model.trust_remote_code)
    return None

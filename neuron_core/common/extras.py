"""The parts of an installation that not everybody has, and which of them a missing module is in."""

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from polyneuron.neuron_core.common.errors import PolyneuronError

EXTRA_OF: Mapping[str, str] = {
    "ray": "cluster",
    "deepspeed": "cluster",
    "vllm": "vllm",
    "lm_eval": "eval",
    "datasets": "eval",
    "peft": "train",
    "bitsandbytes": "train",
    "tensorboard": "train",
    "wandb": "wandb",
}
"""By module, the extra of `pip install polyneuron[…]` that brings it."""


class MissingExtra(PolyneuronError):
    """Something was asked for that an extra of the installation brings, which is not installed."""


def missing_extra(error: BaseException) -> MissingExtra | None:
    """The message for people where `error` is about a module of an extra; None for any other error."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    module = (name or "").partition(".")[0]
    if module not in EXTRA_OF:
        return None
    return _missing(module)


def require_module(module: str) -> None:
    """Raises MissingExtra where a module that an extra brings is not installed. It is not imported."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:  # a folder of that name, such as W&B makes, is no module
        raise _missing(module)


def _missing(module: str) -> MissingExtra:
    return MissingExtra(
        f"This needs {module}, which is not installed. Install the extra that brings it: pip install "
        f"'polyneuron[{EXTRA_OF[module]}]'"
    )


@contextmanager
def extras_named() -> Iterator[None]:
    """Inside, an import of a module that an extra would bring raises MissingExtra, with the command that installs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (missing := missing_extra(error)) is not None:
            raise missing from error
        raise

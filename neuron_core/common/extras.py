"""The parts of an installation that not everybody has, and which of them a missing module is in."""

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
    extra = EXTRA_OF[module]
    return MissingExtra(
        f"This needs {module}, which is not installed. Install the extra that brings it: pip install 'polyneuron[{extra}]'"
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

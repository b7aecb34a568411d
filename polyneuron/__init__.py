"""Finds, certifies and edits language-related and language-shared neurons in decoder language models.

`import polyneuron as pn` is the public surface: the names of `polyneuron.neuron_core`, imported when first used, and
`pn.open`, which opens a stored study.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

_HERE = Path(__file__).resolve().parent
if not (_HERE / "neuron_core").is_dir():
    # In a checkout the floors lie beside this folder; a wheel holds them inside it.
    __path__.append(str(_HERE.parent))

from polyneuron import neuron_core as _neuron_core  # noqa: E402

__all__ = ["__version__"]
__all__ += _neuron_core.__all__

_OPEN = "open"
"""No part of `__all__`: `from polyneuron import *` would hide Python's own."""

if TYPE_CHECKING:
    from polyneuron.neuron_core import *  # noqa: F403
    from polyneuron.pipelines.notebook.study import open_study as open  # noqa: F401

    __version__: str
else:  # a type checker that saw __getattr__ would take any name

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            return version("polyneuron")
        if name == _OPEN:
            from polyneuron.pipelines.notebook.study import open_study

            return open_study
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(_neuron_core, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, _OPEN})

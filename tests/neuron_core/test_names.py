"""The words that a configuration offers: each is declared once, in a file that imports nothing heavy."""

import subprocess
import sys
from typing import get_args

from polyneuron.neuron_core.activations.names import PERCENTILES
from polyneuron.neuron_core.detectors.act_prob import ActProb, ActProbPooled
from polyneuron.neuron_core.detectors.lape import Lape
from polyneuron.neuron_core.detectors.names import DETECTORS
from polyneuron.neuron_core.selection.names import RuleName
from polyneuron.neuron_core.selection.rules import Quantile, ScaledSigma, Sigma, TopRatio

LIGHT = (
    "activations.names",
    "detectors.names",
    "edits.modes",
    "impacts.modes",
    "selection.names",
    "training.choices.names",
    "training.choices.transfer_recipes",
)


def heavy_imports_of(modules: tuple[str, ...], heavy: set[str]) -> set[str]:
    """Which of the heavy libraries a fresh process has loaded after it imported rooms of neuron_core."""
    code = "import sys, importlib\n"
    code += f"for m in {modules!r}: importlib.import_module('polyneuron.neuron_core.' + m)\n"
    code += f"print(*({heavy!r} & set(sys.modules)))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())


def test_names_import_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "pyarrow", "numpy"}
    assert heavy_imports_of(LIGHT, heavy) == set()
    assert heavy_imports_of(("activations.schema",), {"torch", "transformers"}) == set()
    assert heavy_imports_of(("sets.neuron_set",), heavy) >= {"numpy"}  # the check itself sees imports


def test_every_class_has_one_of_the_names() -> None:
    assert {Lape.name, ActProb.name, ActProbPooled.name} == set(DETECTORS)
    assert {ScaledSigma.name, Sigma.name, Quantile.name, TopRatio.name} == set(get_args(RuleName))


def test_percentiles_are_those_that_the_statistics_name() -> None:
    assert PERCENTILES == (5, 10, 25, 50, 75, 90, 95)

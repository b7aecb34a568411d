"""The constants that planner and passes share: what they say of tensors is so, and reading them imports nothing."""

import ast
import inspect

import torch

from polyneuron.neuron_core.activations import names
from polyneuron.neuron_core.impacts.accumulate import Impacts
from polyneuron.neuron_core.passes import limits


def test_accumulated_impacts_take_what_is_said() -> None:
    impacts = Impacts.of(torch.rand(8, 10), torch.full((8,), 5), complete=True)
    tensors = [getattr(impacts, name) for name in Impacts.__annotations__]
    n_bytes = sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor))
    assert n_bytes == 10 * limits.IMPACT_BYTES


def test_constants_are_read_without_importing_anything_but_types() -> None:
    for module in (limits, names):
        nodes = ast.walk(ast.parse(inspect.getsource(module)))
        imports = [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
        assert all(line.startswith("from typing import") for line in imports)

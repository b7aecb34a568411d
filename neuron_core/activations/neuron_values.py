"""The value of single neurons of every group on every token, read off a layer while it runs.

The value of an ffn neuron is the output of the activation function, act(gate), as at the site `matched`. That of a q, k or v
neuron is its feature of the projection, bias included, before QK-norm and RoPE; that of an o neuron its feature of the heads,
which o_proj reads. Shapes: B sentences, T tokens, I chosen neurons.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from torch import Tensor, nn

from polyneuron.neuron_core.activations.measure import ActivationRecord, recorded_activations
from polyneuron.neuron_core.model.anatomy import Anatomy

ReadValues = Callable[[Tensor], Tensor]
"""Of the scored tokens, bool [B, T], the float32 values [n, I] of the last run of the layer."""


@contextmanager
def recorded_neurons(
    layer: nn.Module, anatomy: Anatomy, neurons: Mapping[str, Tensor]
) -> Iterator[dict[str, ReadValues]]:
    """Inside, `layer` records what it computes for these int64 indices [I] of each group; yields a reader for each group, to be
    called after a run. Raises AttributeError when a module that the anatomy declares does not exist."""
    attention = layer.get_submodule(anatomy.family.attention)
    kept: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        readers: dict[str, ReadValues] = {}
        for group, indices in neurons.items():
            if group == "ffn":
                record = hooks.enter_context(recorded_activations(layer, anatomy, "matched"))
                readers[group] = partial(_read_ffn, record, indices)
                continue
            if group == "o":
                hook = attention.get_submodule("o_proj").register_forward_pre_hook(_keep_input(kept))
            else:
                projection = "qkv_proj" if anatomy.family.fused else f"{group}_proj"
                hook = attention.get_submodule(projection).register_forward_hook(_keep_output(kept, group))
            hooks.enter_context(hook)
            readers[group] = partial(_read, kept, group, indices + anatomy.slices(group)[0].offset)
        yield readers


def _keep_input(kept: dict[str, Tensor]) -> Callable[..., None]:
    return lambda module, args: kept.update(o=args[0])


def _keep_output(kept: dict[str, Tensor], group: str) -> Callable[..., None]:
    return lambda module, args, output: kept.update({group: output})


def _read_ffn(record: ActivationRecord, columns: Tensor, scored_BT: Tensor) -> Tensor:
    values = record.scored(scored_BT)
    return values.index_select(1, columns.to(values.device)).float()


def _read(kept: Mapping[str, Tensor], group: str, columns: Tensor, scored_BT: Tensor) -> Tensor:
    values = kept[group]
    return values.index_select(2, columns.to(values.device))[scored_BT.to(values.device)].float()

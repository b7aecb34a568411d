"""Layer-major order: one layer at a time over the whole corpus, with the model's own forward code and nothing
else.

A usual forward pass runs every layer for one batch; under parameter sharding it gathers the whole model for
each batch. `LayerMajor` turns the loops: it gathers layer i once, runs all micro-batches through it, and goes
on. What happens before and after the layers (embedding, masks, rotary tables, final norm, head, logit cap)
stays the model's own forward, run with its layers replaced by stubs that record what they were given or
return what they are told.
Shapes: B sentences, T tokens, d hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuron_core.anatomy import Anatomy, anatomy_of
from neuron_core.batches import MicroBatch

Gather = Callable[[Sequence[nn.Parameter]], AbstractContextManager[Any]]
"""Makes sharded parameters whole inside the context, and frees them after it."""


def whole(parameters: Sequence[nn.Parameter]) -> AbstractContextManager[Any]:
    """The `Gather` of a model that is not sharded."""
    return nullcontext()


class _Prologue(Exception):
    """Ends the model's forward once every layer stub has recorded its arguments."""


@dataclass
class LayerInputs:
    """A micro-batch on its way through the layers.

    hidden: [B, T, d], the output of the layer run last (of the embedding at first).
    kwargs: what the model passes to each layer (mask, rotary tables, …); equal objects are shared between
        layers.
    """

    batch: MicroBatch
    hidden: Tensor
    kwargs: list[dict[str, Any]]

    def fork(self) -> LayerInputs:
        """A second copy that starts from the same hidden state; layers never write into it."""
        return LayerInputs(self.batch, self.hidden, self.kwargs)


class LayerMajor:
    """Runs a causal LM layer by layer. `gather` makes the parameters of a shard whole; the default is one
    process.
    """

    def __init__(self, model: nn.Module, anatomy: Anatomy | None = None, gather: Gather = whole) -> None:
        self.model = model
        self.anatomy = anatomy or anatomy_of(model)
        self.layers = self.anatomy.layers(model)
        self._gather = gather
        inside = {id(parameter) for parameter in self.layers.parameters()}
        self._outside = [parameter for parameter in model.parameters() if id(parameter) not in inside]

    @property
    def device(self) -> torch.device:
        """Where the micro-batches are computed."""
        return self._outside[0].device

    def gathered_layer(self, index: int) -> AbstractContextManager[Any]:
        """Inside, the parameters of layer `index` are whole."""
        return self._gather(list(self.layers[index].parameters()))

    def gathered_outside(self) -> AbstractContextManager[Any]:
        """Inside, all parameters outside the layers (embedding, final norm, head) are whole."""
        return self._gather(self._outside)

    @torch.no_grad()
    def begin(self, batch: MicroBatch) -> LayerInputs:
        """Embeds a micro-batch and records what each layer will be given. Call inside `gathered_outside`."""
        recorded: list[dict[str, Any]] = []
        first: list[Tensor] = []

        def record(hidden: Tensor, **kwargs: Any) -> Tensor:
            first.append(hidden)
            recorded.append({key: value for key, value in kwargs.items() if key != "past_key_values"})
            if len(recorded) == len(self.layers):
                raise _Prologue
            return hidden

        with self._layers_replaced(record), suppress(_Prologue):
            self._forward(batch.input_ids, batch.attention_mask)
        return LayerInputs(batch, first[0], recorded)

    @torch.no_grad()
    def run_layer(self, index: int, inputs: LayerInputs) -> None:
        """Advances a micro-batch through layer `index`. Call inside `gathered_layer(index)`."""
        output = self.layers[index](inputs.hidden, **inputs.kwargs[index])
        inputs.hidden = output[0] if isinstance(output, tuple) else output

    @torch.no_grad()
    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [n, V] of final hidden states [n, d], through the model's own norm and head. In
        `gathered_outside`.
        """
        ids = torch.zeros(1, hidden.shape[0], dtype=torch.int64)
        with self._layers_replaced(lambda _, **kwargs: hidden[None]):
            logits: Tensor = self._forward(ids, torch.ones_like(ids)).logits[0]
        return logits

    def _forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        return self.model(
            input_ids=input_ids.to(self.device),
            attention_mask=attention_mask.to(self.device),
            use_cache=False,
        )

    @contextmanager
    def _layers_replaced(self, stub: Callable[..., Tensor]) -> Iterator[None]:
        for layer in self.layers:
            layer.forward = (
                stub  # an instance attribute hides the method; deleting it restores the class's forward
            )
        try:
            yield
        finally:
            for layer in self.layers:
                del layer.forward

"""Layer-major order: one layer at a time over the whole corpus, with the model's own forward code and nothing else.

A usual forward pass runs every layer for one batch; under parameter sharding it gathers the whole model for each batch.
`LayerMajor` turns the loops: it gathers layer i once, runs all micro-batches through it, and goes on. What happens before
and after the layers (embedding, masks, rotary tables, final norm, head, logit cap) stays the model's own forward, run with
its layers replaced by stubs that record what they were given or return what they are told.
Shapes: B sentences, T tokens, d hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn

from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.passes.batches import MicroBatch, require_rows
from polyneuron.neuron_core.passes.hidden_store import HiddenStore, KeptTensor
from polyneuron.neuron_core.passes.linear import fast_linear

Gather = Callable[[Sequence[nn.Parameter]], AbstractContextManager[Any]]
"""Makes sharded parameters whole inside the context, and frees them after it."""


@contextmanager
def attention_replaced(model: nn.Module, name: str) -> Iterator[None]:
    """Inside, every layer of `model` runs the attention that is registered as `name`; masks must be made inside too."""
    config = model.config.get_text_config()  # type: ignore[union-attr, operator]
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


def whole(parameters: Sequence[nn.Parameter]) -> AbstractContextManager[Any]:
    """The `Gather` of a model that is not sharded."""
    return nullcontext()


class _Prologue(Exception):
    """Ends the model's forward once every layer stub has recorded its arguments."""


class LayerInputs:
    """A micro-batch on its way through the layers; its tensors wait in a `HiddenStore`."""

    def __init__(
        self, batch: MicroBatch, hidden: KeptTensor, kwargs: list[Any], device: torch.device
    ) -> None:
        """hidden: [B, T, d]. kwargs: by layer what the model passes to it, each tensor a `KeptTensor`."""
        self.batch = batch
        self._hidden, self._kwargs, self._device = hidden, kwargs, device

    @property
    def hidden(self) -> Tensor:
        """[B, T, d], the output of the layer run last (of the embedding at first); not to be written into."""
        return self._hidden.get(self._device)

    def kwargs(self, index: int) -> Any:
        """Returns the keyword arguments that the model passes to layer `index`: mask, rotary tables and the like."""
        return _mapped(self._kwargs[index], KeptTensor, lambda kept: kept.get(self._device))

    def advance(self, hidden: Tensor) -> None:
        """Takes the output of the layer that was run."""
        if self._hidden.n_users > 1:
            self._hidden.n_users -= 1
            self._hidden = KeptTensor(self._hidden.store, hidden)
        else:
            self._hidden.replace(hidden)

    def fork(self) -> LayerInputs:
        """A second micro-batch that starts from the same hidden state, which is kept once until one of them advances."""
        self._hidden.n_users += 1
        return LayerInputs(self.batch, self._hidden, self._kwargs, self._device)


def _mapped(tree: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """`tree` (dicts, tuples and lists) with every leaf of `kind` changed."""
    if isinstance(tree, kind):
        return change(tree)
    if isinstance(tree, dict):
        return {key: _mapped(value, kind, change) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(_mapped(value, kind, change) for value in tree)
    return tree


class LayerMajor:
    """Runs a causal LM layer by layer. `gather` makes the parameters of a shard whole; the default is one process."""

    def __init__(
        self,
        model: nn.Module,
        gather: Gather = whole,
        device: torch.device | None = None,
        hidden_bytes: int | None = None,
    ) -> None:
        """`device`: where micro-batches are computed (the model's). `hidden_bytes`: host memory for what waits between
        layers (no bound); see `HiddenStore`."""
        self.model = model
        self.anatomy = anatomy_of(model)
        self.layers = self.anatomy.layers(model)
        self.device = device or next(model.parameters()).device
        self.hidden = HiddenStore(hidden_bytes)
        self._gather = gather
        causal_lm: Any = model
        decoder, _, _ = self.anatomy.family.layers_path.rpartition(".")
        embedding = causal_lm.get_input_embeddings()
        self._n_rows: int = embedding.num_embeddings
        self._before = list(embedding.parameters())
        elsewhere = {*self.layers.parameters(), *self._before}
        norm = [p for p in model.get_submodule(decoder).parameters() if p not in elsewhere]
        self._after = [*norm, *causal_lm.get_output_embeddings().parameters()]

    def gathered_layer(self, index: int) -> AbstractContextManager[Any]:
        """Inside, the parameters of layer `index` are whole."""
        return self._gather(list(self.layers[index].parameters()))

    def gathered_before(self) -> AbstractContextManager[Any]:
        """Inside, what runs before the layers is whole: the embedding."""
        return self._gather(self._before)

    def gathered_after(self) -> AbstractContextManager[Any]:
        """Inside, what runs after the layers is whole: the final norm and the head."""
        return self._gather(self._after)

    @torch.no_grad()
    def begin(self, batch: MicroBatch) -> LayerInputs:
        """Embeds a micro-batch and records what each layer will be given. Call inside `gathered_before`. Raises CorpusError
        for a token that the embedding has no row for."""
        require_rows(batch.input_ids, self._n_rows)
        recorded: list[dict[str, Any]] = []
        first: list[Tensor] = []

        def record(hidden: Tensor, **kwargs: Any) -> Tensor:
            first.append(hidden)
            recorded.append({key: value for key, value in kwargs.items() if key != "past_key_values"})
            if len(recorded) == len(self.layers):
                raise _Prologue
            return hidden

        with self._layers_replaced(record), suppress(_Prologue):
            self._forward(batch.attention_mask, input_ids=batch.input_ids.to(self.device))
        kept: dict[int, KeptTensor] = {}
        kwargs: dict[tuple[Any, ...], Any] = {}

        def keep(tensor: Tensor) -> KeptTensor:
            if id(tensor) not in kept:
                kept[id(tensor)] = KeptTensor(self.hidden, tensor)
            return kept[id(tensor)]

        # Layers share masks and rotary tables, and layers of one kind share all.
        kinds = [tuple((key, id(value)) for key, value in given.items()) for given in recorded]
        for kind, given in zip(kinds, recorded, strict=True):
            if kind not in kwargs:
                kwargs[kind] = _mapped(given, Tensor, keep)
        hidden = KeptTensor(self.hidden, first[0])
        return LayerInputs(batch, hidden, [kwargs[kind] for kind in kinds], self.device)

    @torch.no_grad()
    def run_layer(self, index: int, inputs: LayerInputs) -> None:
        """Advances a micro-batch through layer `index`. Call inside `gathered_layer(index)`."""
        with fast_linear():
            output = self.layers[index](inputs.hidden, **inputs.kwargs(index))
        inputs.advance(output[0] if isinstance(output, tuple) else output)

    @torch.no_grad()
    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [n, V] of final hidden states [n, d], through the model's own norm and head. In `gathered_after`."""
        states = hidden[None]
        with fast_linear(), self._layers_replaced(lambda _, **kwargs: states):
            mask = torch.ones(states.shape[:2], dtype=torch.int64)
            logits: Tensor = self._forward(mask, inputs_embeds=states).logits[0]
        return logits

    def _forward(self, attention_mask: Tensor, **inputs: Tensor) -> Any:
        return self.model(attention_mask=attention_mask.to(self.device), use_cache=False, **inputs)

    @contextmanager
    def _layers_replaced(self, stub: Callable[..., Tensor]) -> Iterator[None]:
        for layer in self.layers:
            layer.forward = stub  # hides the class's forward until it is deleted
        try:
            yield
        finally:
            for layer in self.layers:
                del layer.forward

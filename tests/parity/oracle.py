"""The slow oracle: zero a neuron's parameters in a float64 copy of the real model and watch its module's
output.

The oracle shares no code with the fast paths but `Anatomy.slices`, which says what "a neuron's parameters"
are; `relative_errors` compares the two. Runs where the model is, CPU or GPU.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from polyneuron.neuron_core.impacts.capture import recorded, recording_attention
from polyneuron.neuron_core.impacts.layer import LayerImpacts
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.passes.batches import MicroBatch, Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor, attention_replaced
from tests.tiny_models import is_rms_norm


def _attention64(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Textbook attention that never leaves float64 (transformers' eager softmax goes through float32)."""
    repeats = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    scores = query @ key.transpose(2, 3) * scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if attention_mask is None:
        attention_mask = torch.ones(
            query.shape[2], query.shape[2], dtype=torch.bool, device=query.device
        ).tril()
    scores = scores.masked_fill(~attention_mask, float("-inf"))
    return (scores.softmax(-1) @ value).transpose(1, 2), None


AttentionInterface.register("oracle64", _attention64)
AttentionMaskInterface.register("oracle64", sdpa_mask)


def _norm64(norm: Any, gemma: bool) -> Any:
    eps = getattr(norm, "variance_epsilon", None) or norm.eps

    def forward(x: Tensor) -> Tensor:
        normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
        return normed * (1 + norm.weight) if gemma else normed * norm.weight

    return forward


def float64_copy(model: Any) -> Any:
    """A copy of the model that computes in float64 throughout."""
    twin = copy.deepcopy(model).double().eval()
    for module in twin.modules():
        if is_rms_norm(module):
            module.forward = _norm64(module, "Gemma" in type(module).__name__)
    twin.config.get_text_config()._attn_implementation = "oracle64"
    return twin


class Oracle:
    """Impacts by zeroing, one neuron and one sentence at a time."""

    def __init__(self, model: Any, ids: list[int], n_unscored: int = 0) -> None:
        self.model = float64_copy(model)
        self.anatomy = anatomy_of(self.model)
        self.n_unscored = n_unscored
        self._untouched: dict[tuple[int, str], Tensor] = {}
        self._mlp_inputs: dict[int, Tensor] = {}
        self._inputs: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        handles = [
            layer.register_forward_pre_hook(lambda m, a, k: self._inputs.append((a, k)), with_kwargs=True)
            for layer in self.anatomy.layers(self.model)
        ]
        with torch.no_grad():
            self.model(input_ids=torch.tensor([ids], device=self.model.device), use_cache=False)
        for handle in handles:
            handle.remove()

    @torch.no_grad()
    def _watched_output(self, layer: int, group: str) -> Tensor:
        module = self.anatomy.layers(self.model)[layer]
        seen: list[Tensor] = []
        if group == "ffn":
            handle = module.mlp.register_forward_hook(lambda m, a, out: seen.append(out))
        elif group == "o":
            handle = module.self_attn.o_proj.register_forward_hook(lambda m, a, out: seen.append(out))
        else:
            handle = module.self_attn.o_proj.register_forward_pre_hook(lambda m, a: seen.append(a[0]))
        if group == "ffn":
            module.mlp(self._mlp_input(layer))
        else:
            args, kwargs = self._inputs[layer]
            module(*args, **kwargs)
        handle.remove()
        return seen[0][0, self.n_unscored :].clone()

    def _mlp_input(self, layer: int) -> Tensor:
        if layer not in self._mlp_inputs:
            module = self.anatomy.layers(self.model)[layer]
            handle = module.mlp.register_forward_pre_hook(
                lambda m, a: self._mlp_inputs.__setitem__(layer, a[0])
            )
            args, kwargs = self._inputs[layer]
            module(*args, **kwargs)
            handle.remove()
        return self._mlp_inputs[layer]

    @torch.no_grad()
    def impact(self, layer: int, group: str, neuron: int) -> float:
        """Frobenius norm of the change of the module's output over the scored tokens."""
        if (layer, group) not in self._untouched:
            self._untouched[layer, group] = self._watched_output(layer, group)
        module = self.anatomy.layers(self.model)[layer]
        saved = []
        for part in self.anatomy.slices(group):
            view = module.get_parameter(part.parameter).data.select(part.axis, part.offset + neuron)
            saved.append((view, view.clone()))
            view.zero_()
        after = self._watched_output(layer, group)
        for view, values in saved:
            view.copy_(values)
        return float((self._untouched[layer, group] - after).norm())


def layer_impacts(model: Any, batch: MicroBatch) -> list[dict[str, Tensor]]:
    """The fast impacts [B, N] of every group, by layer."""
    runner = LayerMajor(model)
    by_layer = []
    with attention_replaced(model, recording_attention()):
        inputs = runner.begin(batch)
        for index, layer in enumerate(runner.layers):
            with recorded(layer, runner.anatomy, True) as record:
                runner.run_layer(index, inputs)
            scored = batch.scored.to(runner.device)
            by_layer.append(LayerImpacts(layer, runner.anatomy, GROUPS)(record, scored))
    return by_layer


def relative_errors(model: Any, sentences: list[Sentence], stride: int) -> dict[str, list[float]]:
    """|fast - oracle| / oracle of every `stride`-th neuron of every group, over all layers and sentences."""
    errors: dict[str, list[float]] = {group: [] for group in GROUPS}
    for batch in micro_batches(sentences, max_sentences=len(sentences)):
        by_layer = layer_impacts(model, batch)
        for row, sentence in enumerate(batch.sentences):
            oracle = Oracle(model, list(sentence.token_ids), sentence.n_unscored)
            for layer, impacts in enumerate(by_layer):
                for group in GROUPS:
                    fast = impacts[group][row].tolist()
                    for neuron in range(layer % stride, len(fast), stride):
                        exact = oracle.impact(layer, group, neuron)
                        errors[group].append(abs(fast[neuron] - exact) / max(exact, 1e-12))
    return errors

"""Measuring activations: one streaming pass in layer-major order over the corpora of all languages.

`activation_pass` is what one worker does with its micro-batches, one layer's sketches at a time, so that a model
larger than memory streams through it; `measure_activations` is the one-process surface for notebooks. Only scored
tokens count: neither padding nor BOS.

The site `matched` is the output of a layer's activation function, act(gate): the value that LAPE counts and that an
intervention overwrites. `pre_activation` is its input, the output of gate_proj: where the statistics of paper B were taken,
although it writes them back to the output, which cannot take such values (SiLU is never below -0.2785, their P5 is near
-0.79). Nothing here asks for a gate: in a feed-forward block without one the input is the output of the up projection.
Shapes: B sentences, T tokens, I feed-forward width.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from polyneuron.neuron_core.activations.buckets import LARGEST
from polyneuron.neuron_core.activations.names import SITES, Site
from polyneuron.neuron_core.activations.sketch import ActivationSketch
from polyneuron.neuron_core.activations.statistics import layer_statistics
from polyneuron.neuron_core.activations.table import ActivationTable
from polyneuron.neuron_core.common.errors import CorpusError, ModelError
from polyneuron.neuron_core.model.anatomy import Anatomy
from polyneuron.neuron_core.passes.batches import MicroBatch, as_corpora, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.neuron_core.passes.live_model import measured

Progress = Callable[[int, int], None]


@dataclass
class ActivationRecord:
    """The activations [B, T, I] of the last run of the layer, in the model's dtype."""

    values: Tensor | None = None

    def scored(self, scored_BT: Tensor) -> Tensor:
        """The activations of the n scored tokens, [n, I], of bool [B, T]; the layer must have run."""
        assert self.values is not None, "the layer's activation function was not called"
        return self.values[scored_BT.to(self.values.device)]


@contextmanager
def recorded_activations(layer: nn.Module, anatomy: Anatomy, site: Site) -> Iterator[ActivationRecord]:
    """Records the activations of each run of `layer`; the hook is gone when the context is left. Raises AttributeError when
    the activation function that the anatomy declares does not exist."""
    record = ActivationRecord()

    def keep(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        record.values = output if site == "matched" else args[0]

    activation = layer.get_submodule(anatomy.family.mlp).get_submodule(anatomy.family.activation)
    with activation.register_forward_hook(keep):
        yield record


def activation_pass(
    runner: LayerMajor,
    batches: Mapping[str, Sequence[MicroBatch]],
    site: Site,
    progress: Progress | None = None,
) -> Iterator[tuple[int, dict[str, ActivationSketch]]]:
    """Yields, layer after layer, the layer's number and the sketch of each language, in host memory. Raises CorpusError
    for more tokens than a sketch can count, and ModelError when an activation is not finite, or too large for a sketch; it
    names the layer."""
    width = runner.anatomy.ffn_width
    with runner.gathered_before():
        running = {
            language: [runner.begin(batch) for batch in planned] for language, planned in batches.items()
        }
    for index, layer in enumerate(runner.layers):
        sketches = {}
        with runner.gathered_layer(index), recorded_activations(layer, runner.anatomy, site) as record:
            for language, inputs_of_language in running.items():
                sketch = ActivationSketch.empty(width, runner.device)
                for inputs in inputs_of_language:
                    runner.run_layer(index, inputs)
                    sketch.add(record.scored(inputs.batch.scored))
                sketches[language] = _sound(sketch.cpu(), index)
        if progress is not None:
            progress(index + 1, len(runner.layers))
        yield index, sketches


def _sound(sketch: ActivationSketch, layer: int) -> ActivationSketch:
    if sketch.n_tokens:
        largest = torch.maximum(sketch.maximum, -sketch.minimum).max()
        if not largest < LARGEST:
            raise ModelError(
                f"Layer {layer}: an activation of size {float(largest):g} is not finite, or beyond the {LARGEST:g} "
                "that statistics take. The model's weights hold NaN or infinity, or its dtype overflows; check "
                "the checkpoint, or load it in float32"
            )
    return sketch


def measure_activations(
    model: nn.Module,
    tokenizer: Any,
    corpora: Mapping[str, Sequence[Any]],
    site: Site = "matched",
    *,
    batch_size: int = 8,
    max_tokens: int | None = None,
    progress: Progress | None = None,
    model_name: str = "",
) -> ActivationTable:
    """Measures every ffn neuron's activations in each language, in this process (paper B, appendix A.2).

    `corpora` maps a language to sentences: strings, or lists of token ids, which are used as they are, whole, and need no
    tokenizer. A leading BOS that the tokenizer adds is attended to but not counted. Paper B cuts sentences at 512 tokens
    (`max_tokens`). The hidden states of all sentences stay in memory meanwhile. `model_name` is the model that the sets
    found in the table will name. A model in training mode is measured in evaluation mode and put back. Raises CorpusError
    when a language has no token to count, ValueError for an unknown site, ModelError for a model that is wrapped, sharded or
    quantised, and as `activation_pass`.
    """
    if site not in SITES:
        raise ValueError(f"Unknown site {site!r}; there are {', '.join(SITES)}")
    batches = {}
    for language, read in as_corpora(tokenizer, corpora, max_tokens).items():
        sentences = [sentence for sentence in read if sentence.n_scored > 0]
        if not sentences:
            raise CorpusError(f"The corpus of {language!r} has no token to count; give it longer sentences")
        batches[language] = micro_batches(sentences, batch_size)
    with measured(model):
        found = activation_pass(LayerMajor(model), batches, site, progress)
        layers = [layer_statistics(sketches) for _, sketches in found]
    return ActivationTable.build(model_name, site, tuple(corpora), layers)

"""Perplexity of a model and of its edited variants, in layer-major order: one gather of each layer serves all variants.

Perplexity is exp(sum of NLL in nats / sum of predicted tokens). Shapes: B sentences, T tokens, d hidden size, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from polyneuron.neuron_core.common.errors import CorpusError, ModelError
from polyneuron.neuron_core.passes.batches import MicroBatch, as_sentences, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerInputs, LayerMajor
from polyneuron.neuron_core.passes.limits import LOGIT_BYTES
from polyneuron.neuron_core.passes.live_model import measured

if TYPE_CHECKING:
    from polyneuron.neuron_core.edits.intervention import Intervention
    from polyneuron.neuron_core.edits.weight_edit import WeightEdit


@dataclass(frozen=True)
class SentenceNll:
    """Negative log-likelihood of one sentence: the sum in nats over its predicted tokens (all but the first)."""

    language: str
    sentence: int
    nll_nats: float
    n_tokens: int


@torch.no_grad()
def sentence_nlls(
    runner: LayerMajor,
    batches: Sequence[MicroBatch],
    edits: Sequence[WeightEdit | Intervention | None],
    progress: Callable[[int, int], None] | None = None,
) -> list[list[SentenceNll]]:
    """NLL of every sentence under every change (None: the base model); one list per change, ordered by language, sentence.
    The layers below the first one that a change touches are those of the model as it is, and are run once for all changes.
    `progress` hears how much is done of all, in layers run over all batches; a head counts as the layers it weighs as much as.
    Raises ModelError when a likelihood is NaN, SetError when a change does not fit the model."""
    n_layers = len(runner.layers)
    starts = [_first_changed(edit, runner) for edit in edits]
    with runner.gathered_before():
        unchanged = [runner.begin(batch) for batch in batches]
    running: list[list[LayerInputs]] = [[] for _ in edits]
    last = max(
        range(len(edits)), key=lambda at: (starts[at], at)
    )  # needs what is unchanged no longer than to start
    n_of_head = _layers_of_head(runner)
    n_done, n_all = 0, starts[last] + sum(n_layers - start + n_of_head for start in starts)
    for index in range(n_layers):
        with runner.gathered_layer(index):
            for at, edit in enumerate(edits):
                if starts[at] == index:
                    running[at] = unchanged if at == last else [inputs.fork() for inputs in unchanged]
                if edit is not None and starts[at] <= index:
                    with edit.applied(runner.model, index):
                        for inputs in running[at]:
                            runner.run_layer(index, inputs)
            if index < starts[last]:
                for inputs in unchanged:
                    runner.run_layer(index, inputs)
        n_done += sum(start <= index for start in starts) + (index < starts[last])
        if progress is not None:
            progress(n_done, n_all)
    for at, start in enumerate(starts):
        if start == n_layers:
            running[at] = unchanged
    by_edit = []
    with runner.gathered_after():
        for per_edit in running:
            by_edit.append(
                [row for inputs in per_edit for row in _nll_rows(runner, inputs.batch, inputs.hidden)]
            )
            n_done += n_of_head
            if progress is not None:
                progress(n_done, n_all)
    return [sorted(rows, key=lambda row: (row.language, row.sentence)) for rows in by_edit]


def _first_changed(change: WeightEdit | Intervention | None, runner: LayerMajor) -> int:
    """The first layer whose output the change can alter; the number of layers where there is none."""
    if change is None:
        return len(runner.layers)
    change.require_fit(runner.model)
    return min((layer for layer, _ in change.neuron_set.places()), default=len(runner.layers))


def _layers_of_head(runner: LayerMajor) -> int:
    """As many layers as have the head's multiplications, roughly, and one at least."""
    widths = runner.anatomy.widths
    of_layer = sum(widths.values()) + 2 * widths["ffn"]  # gate, up and down
    return max(1, round(_vocabulary(runner) / of_layer))


def _vocabulary(runner: LayerMajor) -> int:
    size: int = runner.model.config.get_text_config().vocab_size  # type: ignore[union-attr, operator, assignment]
    return size


def _nll_rows(runner: LayerMajor, batch: MicroBatch, hidden_BTd: Tensor) -> list[SentenceNll]:
    # position t predicts token t + 1 where that is real
    predicts = batch.attention_mask[:, 1:].bool().to(hidden_BTd.device)
    targets = batch.input_ids[:, 1:].to(hidden_BTd.device)[predicts]
    states = hidden_BTd[:, :-1][predicts]
    step = max(1, LOGIT_BYTES // (4 * _vocabulary(runner)))
    nats = []
    for start in range(0, len(targets), step):
        logits = runner.logits(states[start : start + step])
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        losses = nn.functional.cross_entropy(logits, targets[start : start + step], reduction="none")
        nats.append(losses.double())
    per_token = torch.cat(nats) if nats else torch.zeros(0, dtype=torch.float64)
    per_sentence = per_token.cpu().split(predicts.sum(1).tolist())
    rows = []
    for sentence, values in zip(batch.sentences, per_sentence, strict=True):
        total = float(values.sum())
        if math.isnan(total):
            raise ModelError(
                f"The likelihood of sentence {sentence.index} ({sentence.language}) is NaN: the weights hold NaN, or the "
                "dtype overflows; check the checkpoint, or load it in float32"
            )
        rows.append(SentenceNll(sentence.language, sentence.index, total, len(values)))
    return rows


def perplexity(model: nn.Module, tokenizer: Any, sentences: Sequence[Any], batch_size: int = 8) -> float:
    """exp(sum NLL / sum predicted tokens) over sentences (strings, or lists of token ids used as they are). Raises
    CorpusError when no sentence has two tokens, ModelError when a likelihood is NaN or the model is wrapped, sharded or
    quantised. A model in training mode is measured in evaluation mode and put back."""
    batches = micro_batches(as_sentences(tokenizer, "", sentences), batch_size)
    with measured(model):
        rows = sentence_nlls(LayerMajor(model), batches, [None])[0]
    n_tokens = sum(row.n_tokens for row in rows)
    if n_tokens == 0:
        raise CorpusError("Perplexity needs at least one sentence of two tokens")
    return math.exp(sum(row.nll_nats for row in rows) / n_tokens)

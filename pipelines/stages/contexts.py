"""Stage contexts: the tokens on which each neuron in a set is strongest (a unit a language), with the text around them, and
those that its output promotes and suppresses (a unit)."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from polyneuron.eval.neurons.marks import marked, token_text
from polyneuron.neuron_core.activations.schema import CONTEXTS_SCHEMA
from polyneuron.neuron_core.activations.top_tokens import (
    Place,
    TopTokens,
    merge_top_tokens,
    top_tokens_pass,
)
from polyneuron.neuron_core.measures.logit_lens import MovedTokens, moved_tokens
from polyneuron.neuron_core.measures.schema import LENS_SCHEMA
from polyneuron.neuron_core.model.stored_model import StoredModel
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.pipelines.config.study import ContextsConfig
from polyneuron.pipelines.run.ledger import Ledger, stage_unit
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.slot import Workers
from polyneuron.pipelines.run.studied_model import StudiedModel
from polyneuron.pipelines.stages.corpora import Sentences, sentences_hash

_STEP = 16
"""A text begins and ends at multiples of so many tokens, and goes on for one to two of them on each side of its token: so tokens
of a sentence have texts in common, and those of a short sentence the whole."""


def store_contexts(
    ledger: Ledger,
    sentences: Sentences,
    workers: Workers,
    neurons: NeuronSet,
    *,
    config: ContextsConfig,
    batch_size: int,
) -> dict[str, str]:
    """Measures the languages whose unit is missing, on detection sentences, and the logit lens where it is; returns every
    language's unit.

    Raises:
        ModelError: values that are not finite, or files that cannot be read. ClusterError: workers that cannot be kept alive.
    """
    k = config.top_tokens
    sentences_read = {code: read[: config.n_sentences] for code, read in sentences.detection.items()}
    units = {
        language: stage_unit(
            "contexts",
            **workers.model.deciding(),
            language=language,
            corpus=sentences_hash(read),
            batch_size=batch_size,
            neurons=neurons.fingerprint(),
            top_tokens=config.top_tokens,
            step=_STEP,
        )
        for language, read in sentences_read.items()
    }
    missing = ledger.missing("contexts", units.values())
    for language, unit in units.items():
        if unit not in missing:
            continue
        read = sentences_read[language]
        batches = micro_batches(read, batch_size) if neurons else []
        title = f"contexts of {language}, {len(neurons):,} neurons"
        by_rank = workers.run(title, top_tokens_pass, batches, neurons=neurons, k=k) if batches else [{}]
        rows = context_rows(merge_top_tokens(by_rank, k), neurons, read, workers.model.tokenizer)
        ledger.put("contexts", unit, rows, language=language)
    lens = stage_unit("lens", **workers.model.deciding(), neurons=neurons.fingerprint(), top_tokens=k)
    if not ledger.done("lens", lens):
        ledger.put("lens", lens, _lens_of(workers.model, neurons, k))
    if missing:
        say(f"  contexts: the {k} strongest tokens of {len(neurons):,} neurons in each language")
    else:
        say("  contexts: all tokens are in the store")
    return units


def context_rows(
    found: Mapping[Place, TopTokens], neurons: NeuronSet, read: Sequence[Sentence], tokenizer: Any
) -> pa.Table:
    """The tokens of one language that were found as rows of `CONTEXTS_SCHEMA`, by layer, group, neuron and place. `read`: the
    sentences; `tokenizer`: of transformers."""
    sentence_of = {sentence.index: sentence for sentence in read}

    @functools.cache
    def text_at(sentence: int, position: int) -> tuple[str, int, int]:
        start = max(0, position // _STEP - 1) * _STEP
        ids = sentence_of[sentence].token_ids[start : (position // _STEP + 2) * _STEP]
        parts = marked(tokenizer, ids, position - start)
        return (
            parts.before + parts.token + parts.after,
            len(parts.before),
            len(parts.before) + len(parts.token),
        )

    parts = [CONTEXTS_SCHEMA.empty_table()]
    for (layer, group), tokens in found.items():
        n_places, n_neurons = tokens.values.shape
        n_rows = n_places * n_neurons
        sentences, positions = (
            places.T.flatten().tolist() for places in (tokens.sentences, tokens.positions)
        )
        texts = list(map(text_at, sentences, positions))
        columns = {
            "language": [sentence_of[sentence].language for sentence in sentences],
            "layer": np.full(n_rows, layer),
            "group": [group] * n_rows,
            "neuron": np.repeat(neurons.indices(layer, group), n_places),
            "place": np.tile(np.arange(1, n_places + 1), n_neurons),
            "value": tokens.values.T.flatten().numpy(),
            "sentence": sentences,
            "position": positions,
            **{name: [text[i] for text in texts] for i, name in enumerate(("text", "start", "end"))},
        }
        arrays = [pa.array(columns[field.name]).cast(field.type) for field in CONTEXTS_SCHEMA]
        parts.append(pa.Table.from_arrays(arrays, schema=CONTEXTS_SCHEMA))
    return pa.concat_tables(parts)


def _lens_of(model: StudiedModel, neurons: NeuronSet, k: int) -> pa.Table:
    stored = StoredModel(model.source, "float32", model.revision, model.config.trust_remote_code)
    wanted = {place: neurons.indices(*place).tolist() for place in neurons.places()}
    return lens_rows(moved_tokens(stored, wanted, k, len(model.tokenizer)), neurons, model.tokenizer)


def lens_rows(found: Mapping[Place, MovedTokens], neurons: NeuronSet, tokenizer: Any) -> pa.Table:
    """The tokens that were found as rows of `LENS_SCHEMA`, by layer, group, neuron, direction, end and place."""
    text_of = functools.cache(functools.partial(token_text, tokenizer))
    parts = [LENS_SCHEMA.empty_table()]
    for (layer, group), moved in found.items():
        tokens = moved.tokens.permute(1, 2, 0, 3)
        shape = tokens.shape
        neuron, direction, end, place = np.unravel_index(np.arange(tokens.numel()), shape)
        ids = tokens.flatten().tolist()
        columns = {
            "layer": np.full(len(ids), layer),
            "group": [group] * len(ids),
            "neuron": np.asarray(neurons.indices(layer, group))[neuron],
            "direction": direction,
            "promoted": end == 0,
            "place": place + 1,
            "token": ids,
            "text": list(map(text_of, ids)),
            "logit": moved.logits.permute(1, 2, 0, 3).flatten().numpy(),
        }
        arrays = [pa.array(columns[field.name]).cast(field.type) for field in LENS_SCHEMA]
        parts.append(pa.Table.from_arrays(arrays, schema=LENS_SCHEMA))
    return pa.concat_tables(parts)

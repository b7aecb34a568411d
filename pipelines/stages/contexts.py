"""Stage contexts: the tokens on which each neuron in a set is strongest (a unit a language), and what stands around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from polyneuron.neuron_core.activations.schema import CONTEXTS_SCHEMA
from polyneuron.neuron_core.activations.top_tokens import (
    Place,
    TopTokens,
    merge_top_tokens,
    top_tokens_pass,
)
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.pipelines.run.ledger import Ledger, stage_unit
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.slot import Workers
from polyneuron.pipelines.stages.corpora import Sentences, sentences_hash

_BEFORE, _AFTER = 24, 8
"""Tokens that are kept before and after each."""


def store_contexts(
    ledger: Ledger,
    sentences: Sentences,
    workers: Workers,
    neurons: NeuronSet,
    *,
    top_tokens: int,
    batch_size: int,
) -> dict[str, str]:
    """Measures the languages whose unit is missing, on the detection sentences; returns every language's unit.

    Raises:
        ModelError: values that are not finite. ClusterError: workers that cannot be kept alive.
    """
    units = {
        language: stage_unit(
            "contexts",
            **workers.model.deciding(),
            language=language,
            corpus=sentences_hash(read),
            batch_size=batch_size,
            neurons=neurons.fingerprint(),
            top_tokens=top_tokens,
            window=[_BEFORE, _AFTER],
        )
        for language, read in sentences.detection.items()
    }
    missing = ledger.missing("contexts", units.values())
    for language, unit in units.items():
        if unit not in missing:
            continue
        read = sentences.detection[language]
        batches = micro_batches(read, batch_size) if neurons else []
        title = f"contexts of {language}, {len(neurons):,} neurons"
        by_rank = (
            workers.run(title, top_tokens_pass, batches, neurons=neurons, k=top_tokens) if batches else [{}]
        )
        rows = context_rows(merge_top_tokens(by_rank, top_tokens), neurons, language, read)
        ledger.put("contexts", unit, rows, language=language)
    if missing:
        say(f"  contexts: the {top_tokens} strongest tokens of {len(neurons):,} neurons in each language")
    else:
        say("  contexts: all tokens are in the store")
    return units


def context_rows(
    found: Mapping[Place, TopTokens], neurons: NeuronSet, language: str, read: Sequence[Sentence]
) -> pa.Table:
    """The tokens that were found as rows of `CONTEXTS_SCHEMA`, by layer, group, neuron and place."""
    tokens_of = {sentence.index: sentence.token_ids for sentence in read}
    parts = [CONTEXTS_SCHEMA.empty_table()]
    for (layer, group), tokens in found.items():
        n_places, n_neurons = tokens.values.shape
        n_rows = n_places * n_neurons
        sentences, positions = (
            places.T.flatten().tolist() for places in (tokens.sentences, tokens.positions)
        )
        starts = [max(0, position - _BEFORE) for position in positions]
        windows = [
            tokens_of[sentence][start : position + _AFTER + 1]
            for sentence, position, start in zip(sentences, positions, starts, strict=True)
        ]
        columns = {
            "language": [language] * n_rows,
            "layer": np.full(n_rows, layer),
            "group": [group] * n_rows,
            "neuron": np.repeat(neurons.indices(layer, group), n_places),
            "place": np.tile(np.arange(1, n_places + 1), n_neurons),
            "value": tokens.values.T.flatten().numpy(),
            "sentence": sentences,
            "position": positions,
            "window": windows,
            "at": np.subtract(positions, starts),
        }
        arrays = [pa.array(columns[field.name]).cast(field.type) for field in CONTEXTS_SCHEMA]
        parts.append(pa.Table.from_arrays(arrays, schema=CONTEXTS_SCHEMA))
    return pa.concat_tables(parts)

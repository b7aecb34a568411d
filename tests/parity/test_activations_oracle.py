"""Activation statistics against plain hooks on the whole model, for every family; several workers against one process.

`pytest tests/parity/test_activations_oracle.py -s -m slow` prints the error of the percentiles on a real model.
"""

import time
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from polyneuron.neuron_core.activations.buckets import ABSOLUTE_ERROR, RELATIVE_ERROR
from polyneuron.neuron_core.activations.measure import activation_pass, measure_activations
from polyneuron.neuron_core.activations.names import PERCENTILES, SITES
from polyneuron.neuron_core.activations.sketch import ActivationSketch
from polyneuron.neuron_core.activations.statistics import ActivationStatistics, layer_statistics
from polyneuron.neuron_core.activations.table import ActivationTable
from polyneuron.neuron_core.corpora.embedded_corpus import embedded
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches, tokenize
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from tests.parity.activation_oracle import oracle_activations
from tests.real_models import smollm2_gguf
from tests.tiny_models import TINY, tiny_model, token_ids

NOISE = 2e-5
"""What padding and batching move a float32 activation by."""


def sentences_of(language: str, lengths: list[int], seed: int) -> list[Sentence]:
    ids = token_ids(lengths, seed)
    return [Sentence(language, i, tuple(each), n_unscored=int(i == 1)) for i, each in enumerate(ids)]


CORPORA = {"aa": sentences_of("aa", [6, 11, 8, 7], 0), "bb": sentences_of("bb", [9, 5, 13], 1)}


def exact_percentiles(values: np.ndarray) -> np.ndarray:
    return np.percentile(values, PERCENTILES, axis=0, method="inverted_cdf").T


def require_equal(found: ActivationStatistics, row: int, values: np.ndarray) -> None:
    """`values` float64 [n, I]. Counts may differ by the values that lie within noise of a threshold."""
    assert found.n_tokens[row] == len(values)
    unsure = (np.abs(values) < NOISE).sum(0)
    assert (np.abs(found.n_positive[row] - (values > 0).sum(0)) <= unsure).all()
    np.testing.assert_allclose(found.mean[row], values.mean(0), rtol=0, atol=NOISE)
    np.testing.assert_allclose(found.minimum[row], values.min(0), rtol=1e-5, atol=NOISE)
    np.testing.assert_allclose(found.maximum[row], values.max(0), rtol=1e-5, atol=NOISE)
    exact = exact_percentiles(values)
    limit = np.maximum(RELATIVE_ERROR * np.abs(exact), ABSOLUTE_ERROR) + 2 * NOISE * (1 + np.abs(exact))
    assert (np.abs(found.percentiles[row] - exact) <= limit).all()
    distance = values[:, :, None] - found.pooled
    unsure = (np.abs(distance) < NOISE * (1 + np.abs(found.pooled))).sum(0)
    assert (np.abs(found.above_pooled[row] - (distance > 0).sum(0)) <= unsure).all()


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("name", TINY)
def test_family_matches_plain_hooks(name: str, site) -> None:
    """Padded batches of unequal sentences, one with an unscored BOS, against one sentence at a time."""
    model = tiny_model(name)
    batches = {language: micro_batches(sentences, 3) for language, sentences in CORPORA.items()}
    oracle = {language: oracle_activations(model, s, site) for language, s in CORPORA.items()}
    for layer, sketches in activation_pass(LayerMajor(model), batches, site):
        found = layer_statistics(sketches)
        for row, language in enumerate(CORPORA):
            require_equal(found, row, oracle[language][layer].numpy())
        pooled = np.concatenate([oracle[language][layer].numpy() for language in CORPORA])
        exact = exact_percentiles(pooled)
        assert (found.pooled >= exact - NOISE * (1 + np.abs(exact))).all()
    assert layer == LayerMajor(model).anatomy.n_layers - 1


def added_up(sketches: Sequence[ActivationSketch]) -> ActivationSketch:
    """What ranks make of their sketches."""
    return ActivationSketch(
        n_tokens=sum(sketch.n_tokens for sketch in sketches),
        counts=torch.stack([sketch.counts for sketch in sketches]).sum(0, dtype=torch.int32),
        total=torch.stack([sketch.total for sketch in sketches]).sum(0),
        minimum=torch.stack([sketch.minimum for sketch in sketches]).amin(0),
        maximum=torch.stack([sketch.maximum for sketch in sketches]).amax(0),
    )


@pytest.mark.parametrize("name", ["gemma3", "phi3"])
def test_shares_of_two_workers_equal_one_process(name: str) -> None:
    """Each worker has every other micro-batch: the same table bit for bit."""
    runner = LayerMajor(tiny_model(name))
    batches = {language: micro_batches(sentences, 2) for language, sentences in CORPORA.items()}
    shares = [{language: planned[rank::2] for language, planned in batches.items()} for rank in (1, 0)]
    passes = zip(*(activation_pass(runner, share, "matched") for share in shares), strict=True)
    layers = [
        layer_statistics(
            {language: added_up([sketches[language] for _, sketches in ranks]) for language in CORPORA}
        )
        for ranks in passes
    ]
    whole = [layer_statistics(found) for _, found in activation_pass(runner, batches, "matched")]
    tables = [ActivationTable.build("m", "matched", tuple(CORPORA), part) for part in (layers, whole)]
    assert tables[0].to_arrow().equals(tables[1].to_arrow())


@pytest.mark.slow
def test_smollm2_error() -> None:
    """The stated error holds on real activations, and is reached only at the narrow end of a power of two."""
    model, tokenizer = load_model(smollm2_gguf())
    texts = {language: embedded()[language][:40] for language in ("en", "sw")}
    started = time.monotonic()
    for site in SITES:
        table = measure_activations(model, tokenizer, texts, site)
        seconds = time.monotonic() - started
        for row, (language, listed) in enumerate(texts.items()):
            oracle = oracle_activations(model, tokenize(tokenizer, language, listed), site)
            exact = np.stack([exact_percentiles(values.numpy()) for values in oracle])
            error = np.abs(table.percentiles[row] - exact)
            limit = np.maximum(RELATIVE_ERROR * np.abs(exact), ABSOLUTE_ERROR)
            relative = (error / np.abs(exact))[np.abs(exact) > 1e-3]
            positive = np.stack([(values > 0).sum(0).numpy() for values in oracle])
            differing = int((positive != table.n_positive[row]).sum())
            print(
                f"\nSmolLM2-135M, {site}, {language}, {table.n_tokens[row]} tokens, pass {seconds:.0f} s: "
                f"error of the percentiles {relative.mean():.2%} mean, {np.quantile(relative, 0.99):.2%} p99, "
                f"{relative.max():.2%} largest where above 1e-3; {error[np.abs(exact) <= 1e-3].max():.1e} below; "
                f"positive counts differ for {differing} of {positive.size} neurons"
            )
            assert (error <= limit + NOISE * (1 + np.abs(exact))).all()
            assert np.abs(positive - table.n_positive[row]).max() <= 1
            means = torch.stack([values.mean(0) for values in oracle]).numpy()
            np.testing.assert_allclose(table.mean[row], means, atol=1e-5)
        started = time.monotonic()

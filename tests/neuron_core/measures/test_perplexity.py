"""Perplexity in layer-major order equals the model's own loss."""

import math

import pytest
import torch

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.measures.perplexity import perplexity, sentence_nlls
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from tests.tiny_models import TINY, tiny_model, token_ids


@pytest.mark.parametrize("name", TINY)
def test_nll_equals_the_models_own_loss(name: str) -> None:
    model, ids = tiny_model(name), token_ids([5, 9, 7])
    batches = micro_batches([Sentence("x", i, tuple(s)) for i, s in enumerate(ids)], 3)
    rows = sentence_nlls(LayerMajor(model), batches, [None])[0]
    for row, sentence in zip(rows, ids, strict=True):
        with torch.no_grad():
            own = model(input_ids=torch.tensor([sentence]), labels=torch.tensor([sentence])).loss
        assert row.n_tokens == len(sentence) - 1
        assert row.nll_nats == pytest.approx(float(own) * row.n_tokens, rel=2e-5)


def test_perplexity_of_a_uniform_model_is_its_vocabulary() -> None:
    model = tiny_model("llama-mha-untied")
    model.lm_head.weight.data.zero_()
    assert perplexity(model, None, token_ids([5, 9])) == pytest.approx(97, rel=1e-6)


def test_perplexity_pools_tokens_not_sentences() -> None:
    model, ids = tiny_model("llama-gqa-tied"), token_ids([4, 12])
    rows = sentence_nlls(
        LayerMajor(model), micro_batches([Sentence("x", i, tuple(s)) for i, s in enumerate(ids)], 1), [None]
    )[0]
    expected = math.exp(sum(r.nll_nats for r in rows) / (3 + 11))
    assert perplexity(model, None, ids) == pytest.approx(expected, rel=1e-6)


def test_too_short_is_refused() -> None:
    with pytest.raises(CorpusError, match="two tokens"):
        perplexity(tiny_model("llama-mha-untied"), None, [[5]])

"""Perplexity in layer-major order equals the model's own loss."""

import math
from contextlib import nullcontext
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyneuron.neuron_core.common.errors import CorpusError, SetError
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.measures.perplexity import perplexity, sentence_nlls
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
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


def test_progress_ends_at_all_and_counts_the_head() -> None:
    model = tiny_model("llama-gqa-tied")
    anatomy, runner = anatomy_of(model), LayerMajor(model)
    batches = micro_batches([Sentence("x", 0, (3, 4, 5))], 1)
    last = anatomy.n_layers - 1
    edit = WeightEdit.zero(
        NeuronSet.from_indices("x", anatomy.widths, anatomy.n_layers, {(last, "ffn"): [0]})
    )
    heard = list[tuple[int, int]]()
    sentence_nlls(runner, batches, [None, edit], lambda done, total: heard.append((done, total)))
    assert len({total for _, total in heard}) == 1
    # the layers once, the last one twice, and a head that is no heavier than a layer for each change
    assert heard[-1] == (anatomy.n_layers + 3, anatomy.n_layers + 3)
    assert all(before < after for (before, _), (after, _) in pairwise(heard))


def test_too_short_is_refused() -> None:
    with pytest.raises(CorpusError, match="two tokens"):
        perplexity(tiny_model("llama-mha-untied"), None, [[5]])


@given(st.lists(st.sets(st.integers(0, 2)) | st.none(), min_size=1, max_size=5))
@settings(max_examples=40)
def test_changes_measured_together_are_what_each_is_alone(layers: list[set[int] | None]) -> None:
    """Whatever layers are changed, in whatever order: the same bits as a model that has the change from the start."""
    model = tiny_model("llama-gqa-tied")
    anatomy, runner = anatomy_of(model), LayerMajor(model)
    batches = micro_batches([Sentence("x", i, tuple(s)) for i, s in enumerate(token_ids([5, 9, 7, 3]))], 2)
    edits = [
        None if of is None else WeightEdit.zero(
            NeuronSet.from_indices("m", anatomy.widths, anatomy.n_layers, {(layer, "ffn"): [0, 3] for layer in of})
        )
        for of in layers
    ]  # fmt: skip
    together = sentence_nlls(runner, batches, edits)
    for edit, rows in zip(edits, together, strict=True):
        with nullcontext() if edit is None else edit.applied(model):
            assert rows == sentence_nlls(runner, batches, [None])[0]
    if any(layers) and None in layers:
        changed = next(at for at, of in enumerate(layers) if of)
        assert together[changed] != together[layers.index(None)]


def test_layers_below_the_first_change_run_once_for_all_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama-gqa-tied")
    anatomy, runner = anatomy_of(model), LayerMajor(model)
    edits = [
        WeightEdit.zero(NeuronSet.from_indices("m", anatomy.widths, 3, {(layer, "ffn"): [1]}))
        for layer in (1, 2)
    ]
    ran: list[int] = []
    run_layer = LayerMajor.run_layer
    monkeypatch.setattr(
        LayerMajor, "run_layer", lambda self, at, inputs: (ran.append(at), run_layer(self, at, inputs))
    )
    sentence_nlls(runner, micro_batches([Sentence("x", 0, (3, 5, 7))], 1), [*edits, None])
    assert sorted(ran) == [0, 1, 1, 2, 2, 2]


def test_a_change_of_another_model_is_refused_though_it_is_empty() -> None:
    runner = LayerMajor(tiny_model("llama-gqa-tied"))
    edit = WeightEdit.zero(NeuronSet.empty("m", {"ffn": 3}, 1))
    with pytest.raises(SetError):
        sentence_nlls(runner, micro_batches([Sentence("x", 0, (3, 5, 7))], 1), [edit])

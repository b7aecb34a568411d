"""Every fast impact against the float64 zeroing oracle, for every supported family.

`pytest tests/parity/test_impacts_oracle.py -s` prints the largest relative error of each family and group.
"""

import pytest

from polyneuron.neuron_core.impacts.capture import recorded, recording_attention
from polyneuron.neuron_core.impacts.layer import LayerImpacts
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.passes.batches import MicroBatch, Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from tests.parity.oracle import Oracle
from tests.tiny_models import TINY, tiny_model, token_ids

TOLERANCE = 1e-4


def layer_impacts(model, batch: MicroBatch):
    """Impacts of every group, per layer: [{group: [B, N]}]."""
    runner = LayerMajor(model)
    found = []
    with recording_attention(model):
        inputs = runner.begin(batch)
        for index, layer in enumerate(runner.layers):
            with recorded(layer, runner.anatomy, True) as record:
                runner.run_layer(index, inputs)
            found.append(LayerImpacts(layer, runner.anatomy, GROUPS)(record, batch.scored))
    return found


def worst_relative_errors(model, sentences: list[Sentence], stride: int) -> dict[str, float]:
    """Largest |fast - oracle| / oracle of every group over all layers, every `stride`-th neuron."""
    worst = dict.fromkeys(GROUPS, 0.0)
    for batch in micro_batches(sentences, max_sentences=len(sentences)):
        found = layer_impacts(model, batch)
        for row, sentence in enumerate(batch.sentences):
            oracle = Oracle(model, list(sentence.token_ids), sentence.n_unscored)
            for layer, impacts in enumerate(found):
                for group in GROUPS:
                    for neuron in range(layer % stride, impacts[group].shape[1], stride):
                        exact = oracle.impact(layer, group, neuron)
                        error = abs(float(impacts[group][row, neuron]) - exact)
                        worst[group] = max(worst[group], error / max(exact, 1e-12))
    return worst


@pytest.mark.parametrize("name", TINY)
def test_family_matches_oracle(name: str) -> None:
    """Batched sentences of unequal length, one with an unscored BOS, against one-by-one zeroing."""
    ids = token_ids([6, 11, 8])
    sentences = [Sentence("x", i, tuple(sentence), n_unscored=int(i == 1)) for i, sentence in enumerate(ids)]
    worst = worst_relative_errors(tiny_model(name), sentences, stride=3)
    print(f"\n{name}: largest relative error " + ", ".join(f"{g} {e:.1e}" for g, e in worst.items()))
    assert max(worst.values()) < TOLERANCE


@pytest.mark.parametrize("name", ["llama-gqa-tied", "qwen3", "gemma2", "olmo2"])
def test_sharp_attention_matches_oracle(name: str) -> None:
    """Weights so large that attention saturates and zeroing one neuron moves scores by far more than expm1
    can take.
    """
    sentences = [Sentence("x", 0, tuple(token_ids([12])[0]))]
    model = tiny_model(name, spread=2.0)
    batch = micro_batches(sentences, 1)[0]
    found = layer_impacts(model, batch)
    oracle = Oracle(model, list(batch.sentences[0].token_ids))
    for group in ("q", "k"):
        impacts = found[0][group][0]
        largest = float(impacts.max())
        for neuron in range(0, len(impacts), 3):
            assert float(impacts[neuron]) == pytest.approx(
                oracle.impact(0, group, neuron), rel=1e-3, abs=1e-4 * largest
            )


def test_oracle_sees_a_wrong_formula() -> None:
    """The oracle is not blind: Eq. 11 applied after RoPE (as the published code does) is off by far more than
    1e-4.
    """
    model = tiny_model("llama-mha-untied")
    ids = token_ids([9])[0]
    batch = micro_batches([Sentence("x", 0, tuple(ids))], 1)[0]
    runner = LayerMajor(model)
    with recording_attention(model):
        inputs = runner.begin(batch)
        with recorded(runner.layers[0], runner.anatomy, True) as record:
            runner.run_layer(0, inputs)
    attention = record.attention
    assert attention is not None
    shift = attention.scaling * attention.query_BHTD[0, 0, :, 1, None] * attention.key_BGTD[0, 0, None, :, 1]
    changed = (
        (attention.scores_BHTT[0, 0] - shift)
        .masked_fill(~attention.allowed_BTT[0], float("-inf"))
        .softmax(-1)
    )
    wrong = float(((changed - attention.weights_BHTT[0, 0]) @ attention.value_BGTD[0, 0]).norm())
    exact = Oracle(model, ids).impact(0, "q", 1)
    assert abs(wrong - exact) / exact > 0.05

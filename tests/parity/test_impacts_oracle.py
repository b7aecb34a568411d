"""Every fast impact against the float64 zeroing oracle, for every supported family.

`pytest tests/parity/test_impacts_oracle.py -s` prints the largest relative error of each family and group.
"""

import pytest

from polyneuron.neuron_core.impacts.capture import recorded, recording_attention
from polyneuron.neuron_core.model.families import FAMILIES
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor, attention_replaced
from tests.parity.oracle import Oracle, layer_impacts, relative_errors
from tests.tiny_models import TINY, tiny_model, token_ids

TOLERANCE = 1e-4


def test_every_family_has_a_tiny_model() -> None:
    declared = {model_type for family in FAMILIES for model_type in family.model_types}
    assert declared == {model_type for model_type, _ in TINY.values()}


@pytest.mark.parametrize("name", TINY)
def test_family_matches_oracle(name: str) -> None:
    """Batched sentences of unequal length, one with an unscored BOS, against one-by-one zeroing."""
    ids = token_ids([6, 11, 8])
    sentences = [Sentence("x", i, tuple(sentence), n_unscored=int(i == 1)) for i, sentence in enumerate(ids)]
    errors = relative_errors(tiny_model(name), sentences, stride=3)
    worst = {group: max(of_group) for group, of_group in errors.items()}
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
    with attention_replaced(model, recording_attention()):
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

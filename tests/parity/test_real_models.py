"""Sampled neurons of real models against the float64 zeroing oracle, on real sentences."""

import pytest

from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches, tokenize
from tests.parity.oracle import Oracle, layer_impacts
from tests.parity.test_impacts_oracle import TOLERANCE
from tests.real_models import gemma3_gguf, smollm2_gguf

TEXTS = {"en": "The river floods its banks every spring.", "sw": "Watoto wanacheza nje baada ya mvua."}


def worst_errors(model, sentences: list[Sentence], layers: list[int], per_group: int) -> dict[str, float]:
    """Largest relative error per group over `per_group` neurons, spread evenly, of each of `layers`."""
    worst = dict.fromkeys(GROUPS, 0.0)
    for sentence in sentences:
        batch = micro_batches([sentence], 1)[0]
        found = layer_impacts(model, batch)
        oracle = Oracle(model, list(sentence.token_ids), sentence.n_unscored)
        for layer in layers:
            for group in GROUPS:
                impacts = found[layer][group][0]
                for neuron in range(layer % 7, len(impacts), len(impacts) // per_group):
                    exact = oracle.impact(layer, group, neuron)
                    worst[group] = max(worst[group], abs(float(impacts[neuron]) - exact) / max(exact, 1e-12))
    return worst


def test_smollm2() -> None:
    model, tokenizer = load_model(smollm2_gguf())
    sentences = [tokenize(tokenizer, language, [text])[0] for language, text in TEXTS.items()]
    worst = worst_errors(model, sentences, [0, 1, 14, 29], per_group=6)
    print("\nSmolLM2-135M: largest relative error " + ", ".join(f"{g} {e:.1e}" for g, e in worst.items()))
    assert max(worst.values()) < TOLERANCE


@pytest.mark.slow
def test_gemma3_270m() -> None:
    model, tokenizer = load_model(gemma3_gguf())
    sentences = [tokenize(tokenizer, language, [text], add_bos=True)[0] for language, text in TEXTS.items()]
    assert all(sentence.n_unscored == 1 for sentence in sentences)
    worst = worst_errors(model, sentences, [0, 5, 11, 17], per_group=5)
    print("\nGemma-3-270M: largest relative error " + ", ".join(f"{g} {e:.1e}" for g, e in worst.items()))
    assert max(worst.values()) < TOLERANCE

"""Choices and recipes of paper B's fine-tuning."""

import pytest

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.training.choices.strategies import transfer_choices
from polyneuron.neuron_core.training.choices.transfer_recipes import TRANSFER_RECIPES
from polyneuron.neuron_core.training.loop.stepper import PlainStepper
from tests.tiny_models import tiny_model


def ffn(*by_layer: list[int], width: int = 12) -> NeuronSet:
    found = {(layer, "ffn"): indices for layer, indices in enumerate(by_layer)}
    return NeuronSet.from_indices("tiny", {"ffn": width}, 2, found)


SETS = {"en": ffn([0, 1], [5]), "sw": ffn([1, 2], []), "th": ffn([3], [6, 7])}


def test_the_four_choices() -> None:
    found = transfer_choices(SETS, "en", "sw", seed=1)
    assert list(found) == ["source", "target", "source+target", "random"]
    assert found["source"] == SETS["en"] and found["target"] == SETS["sw"]
    assert found["source+target"] == ffn([0, 1, 2], [5])
    random = found["random"]
    assert random.counts_by_layer() == found["source+target"].counts_by_layer()
    assert not any(len(random & other) for other in SETS.values())
    assert random == transfer_choices(SETS, "en", "sw", seed=1)["random"]
    assert random != transfer_choices(SETS, "en", "sw", seed=2)["random"]


def test_a_random_control_takes_what_is_free() -> None:
    found = transfer_choices(SETS | {"fr": ffn(list(range(2, 11)), [])}, "en", "sw")
    drawn = [len(found["random"].indices(layer, "ffn")) for layer in (0, 1)]
    assert drawn == [1, 1] and len(found["source+target"]) == 4


@pytest.mark.parametrize(
    ("sets", "target", "message"),
    [
        (SETS, "en", "two languages"),
        (SETS, "fr", "no set of fr; there are en, sw, th"),
        (SETS | {"fr": ffn([], [])}, "fr", "set of fr is empty"),
        (
            SETS | {"fr": ffn(list(range(2, 12)), list(range(12)))},
            "sw",
            "No neuron is left for a random control",
        ),
    ],
)
def test_choices_that_cannot_be(sets: dict[str, NeuronSet], target: str, message: str) -> None:
    with pytest.raises(SetError, match=message):
        transfer_choices(sets, "en", target)


def test_the_papers_settings() -> None:
    """Appendix B.3."""
    xnli, nemo, xquad = (TRANSFER_RECIPES[name] for name in ("xnli", "xnli-nemo", "xquad"))
    assert (xnli.lora.rank, xnli.lora.alpha, nemo.lora.rank, nemo.lora.alpha) == (8, 16, 64, 128)
    assert (xquad.lora.rank, xquad.lora.alpha, xquad.attention) == (64, 128, ("q", "k", "v"))
    assert (xnli.max_tokens, xnli.epochs, xnli.batch, xnli.n_items) == (256, 2, 8, 100_000)
    assert (xquad.max_tokens, xquad.epochs, xquad.batch, xquad.n_items) == (512, 10, 4, None)
    settings = xquad.settings(1000, micro_batch=2)
    assert (settings.global_batch, settings.micro_batch, settings.betas) == (4, 2, (0.95, 0.999))
    assert settings.rate(9) == settings.learning_rate == 5e-5 and settings.rate(505) == pytest.approx(2.5e-5)
    assert xnli.settings(10).micro_batch == 8 and xnli.settings(10).learning_rate == 1e-5


def test_betas_reach_adamw() -> None:
    model = tiny_model("llama-gqa-tied")
    stepper = PlainStepper(model, dict(model.named_parameters()), TRANSFER_RECIPES["xnli"].settings(1))
    (group,) = stepper.optimizer.param_groups
    assert group["betas"] == (0.95, 0.999) and group["weight_decay"] == 0.1

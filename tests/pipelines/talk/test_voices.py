"""What is changed in a model that answers, and in the control beside it."""

import itertools

import pytest
import torch

from polyneuron.neuron_core.common.errors import ConfigError, UnknownName
from polyneuron.neuron_core.edits.intervened_edit import IntervenedEdit
from polyneuron.neuron_core.edits.intervention import Intervention
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.pipelines.notebook.study import OpenedStudy
from polyneuron.pipelines.talk.voices import Voice, Wanted, set_with_number, voices


def neurons_of(voice: Voice):
    change = voice.change
    if isinstance(change, IntervenedEdit):
        return change.edit.neuron_set | change.intervention.neuron_set
    return change.neuron_set


def logits(study: OpenedStudy, voice: Voice) -> torch.Tensor:
    with study.applied(voice.change) as answering, torch.no_grad():
        return answering.model(torch.arange(3, 20)[None]).logits


def test_base_variant_and_the_studys_own_control(study: OpenedStudy) -> None:
    base, variant, control = voices(study, Wanted(off=["shared"]))
    assert [voice.role for voice in (base, variant, control)] == ["base", "variant", "control"]
    assert (base.n_neurons, base.change) == (0, None)
    assert variant.n_neurons == control.n_neurons == len(study.sets["shared"])
    assert neurons_of(variant) == study.sets["shared"]
    assert neurons_of(control) == study.sets["control-shared-0"]
    assert variant.change.kind == control.change.kind == "zero"
    (_, _, other) = voices(study, Wanted(off=["shared"], seed=7))
    assert neurons_of(other) != neurons_of(control)
    assert neurons_of(other).counts_by_layer() == study.sets["shared"].counts_by_layer()
    assert not len(neurons_of(other) & study.all_related())


def test_all_that_is_wanted_is_one_change_and_its_control_is_as_large_in_every_part(
    study: OpenedStudy,
) -> None:
    names = [f"strict_exclusive-{code}" for code in ("en", "sw", "th")]
    wanted = Wanted(off=[names[0]], scaled=[(names[1], -2.0)], held=[(names[2], 0.5)])
    base, variant, control = voices(study, wanted)
    off, scaled, held = (study.sets[name] for name in names)
    assert isinstance(variant.change, IntervenedEdit) and variant.n_neurons == len(off) + len(scaled) + len(
        held.restrict(["ffn"])
    )
    assert variant.change.edit.neuron_set == off | scaled
    model = study.base.model
    with (
        WeightEdit.zero(off).applied(model),
        WeightEdit.scaled(scaled, model, -2.0).applied(model),
        Intervention(
            neuron_set=held.restrict(["ffn"]),
            constants={
                layer: torch.full((len(held.indices(layer, "ffn")),), 0.5)
                for layer, _ in held.restrict(["ffn"]).places()
            },
            name="held",
        ).applied(model),
        torch.no_grad(),
    ):
        expected = model(torch.arange(3, 20)[None]).logits
    assert torch.equal(logits(study, variant), expected)
    assert not torch.equal(logits(study, variant), logits(study, base))
    drawn = neurons_of(control)
    assert not len(drawn & study.all_related()) and len(drawn) == control.n_neurons
    related, asked = study.all_related(), off | scaled | held.restrict(["ffn"])
    for place, n_drawn in drawn.counts_by_layer().items():  # as many, or all that are free
        n_free = drawn.widths[place[1]] - len(related.indices(*place))
        assert n_drawn == min(len(asked.indices(*place)), n_free)


def test_a_sets_activations_are_multiplied(study: OpenedStudy) -> None:
    base, double, control = voices(study, Wanted(scaled=[("shared", 2.0)]))
    once = voices(study, Wanted(scaled=[("shared", 1.0)]))[1]
    never = voices(study, Wanted(scaled=[("shared", 0.0)]))[1]
    off = voices(study, Wanted(off=["shared"]))[1]
    assert double.title == "shared × 2" and neurons_of(control) == study.sets["control-shared-0"]
    assert torch.equal(logits(study, once), logits(study, base))
    assert torch.equal(logits(study, never), logits(study, off))
    changed = [logits(study, voice) for voice in (base, double, control, off)]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(changed, 2))


def test_any_variant_answers_by_name(study: OpenedStudy) -> None:
    _, named = voices(study, Wanted(variants=["control-shared-0"]))
    assert (named.role, named.title, neurons_of(named)) == (
        "variant",
        "control-shared-0",
        study.sets["control-shared-0"],
    )


def test_what_cannot_be_done_is_said(study: OpenedStudy) -> None:
    with pytest.raises(UnknownName, match=r"no set 'exclusive-xx'; there are shared, exclusive-en"):
        voices(study, Wanted(off=["exclusive-xx"]))
    with pytest.raises(UnknownName, match=r"no variant 'tuned-x'"):
        voices(study, Wanted(variants=["tuned-x"]))
    with pytest.raises(ConfigError, match=r"have \d+ neurons in common"):
        voices(study, Wanted(off=["shared"], scaled=[("related-en", 2.0)]))
    empty = [name for name, size in study.sets.sizes.items() if not size]
    assert empty or len(study.sets)
    for name in empty:
        with pytest.raises(ConfigError, match="holds no neurons"):
            voices(study, Wanted(off=[name]))


@pytest.mark.parametrize("text", ["shared", "=2", "shared=", "shared=two", "shared=nan", "shared=inf", ""])
def test_a_number_is_needed(text: str) -> None:
    with pytest.raises(ConfigError, match="--scale takes SET=NUMBER"):
        set_with_number(text, "--scale")


def test_a_number_of_a_set_whose_name_has_an_equals_sign() -> None:
    assert set_with_number("a=b=-1.5", "--scale") == ("a=b", -1.5)

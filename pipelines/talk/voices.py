"""Who answers: the model of a study as it is, with a change, and with the same change of random neurons."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.neuron_core.sets.controls import random_control
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.variant_name import CONTROL_NAMES

if TYPE_CHECKING:
    from torch import Tensor

    from polyneuron.eval.engines.settings import Change
    from polyneuron.neuron_core.edits.intervention import Intervention
    from polyneuron.neuron_core.edits.weight_edit import WeightEdit
    from polyneuron.pipelines.notebook.study import OpenedStudy

Role = Literal["base", "variant", "control"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Voice:
    """A model that answers."""

    role: Role
    """What it is beside the others."""
    title: str
    """What people are told is changed."""
    n_neurons: int
    """How many neurons are changed."""
    change: Change
    """The change itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is to be changed in a model, by names of a study's sets."""

    off: Sequence[str] = ()
    """Sets that are switched off."""
    scaled: Sequence[tuple[str, float]] = ()
    """Sets whose activations are multiplied, with the factor."""
    held: Sequence[tuple[str, float]] = ()
    """Sets whose ffn activations are held at a constant, with it."""
    variants: Sequence[str] = ()
    """Variants of the study that answer too, each by itself."""
    seed: int = 0
    """Of the draw of random neurons."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """One part of a change."""

    done: Literal["off", "scaled", "held"]
    """What is done with the neurons."""
    value: float
    """The factor, or the constant; 0 where they are switched off."""
    neurons: NeuronSet
    """All of them."""
    title: str
    """What people are told."""


def voices(study: OpenedStudy, wanted: Wanted) -> list[Voice]:
    """The base model, first; the model with all of `wanted.off`, `scaled` and `held` at once, and its control; the variants.

    A control has random neurons, as many in each layer and group, outside every set: the study's own draw where it has one of
    this seed and one set is changed. Where too few are free, it has fewer; where none are, there is no control.

    Raises UnknownName for a set or variant that the study does not have, and ConfigError for an empty set, neurons that are to be
    changed in two ways, and activations of neurons that have none.
    """
    answering = [Voice(role="base", title="base", n_neurons=0, change=None)]
    parts = _parts(study, wanted)
    for first, second in ((a, b) for i, a in enumerate(parts) for b in parts[i + 1 :]):
        if both := len(first.neurons & second.neurons):
            raise ConfigError(
                f"{first.title} and {second.title} have {both} neurons in common, which can be changed in one way only: "
                "leave one of the two out"
            )
    if parts:
        answering.append(_voice(study, "variant", ", ".join(part.title for part in parts), parts))
        drawn = _drawn(study, parts, wanted)
        if any(len(part.neurons) for part in drawn):
            answering.append(_voice(study, "control", f"control: {CONTROL_NAMES['control']}", drawn))
    for name in wanted.variants:
        edit = study.edit(name)
        answering.append(Voice(role="variant", title=name, n_neurons=len(edit.neuron_set), change=edit))
    return answering


def set_with_number(text: str, option: str) -> tuple[str, float]:
    """The set's name and the number of SET=NUMBER. Raises ConfigError for other text, which is said to be of `option`."""
    name, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not name or not math.isfinite(value):
        raise ConfigError(f"{option} takes SET=NUMBER, such as {option} shared=2, not {text!r}")
    return name, value


def _parts(study: OpenedStudy, wanted: Wanted) -> list[_Part]:
    parts = []
    if wanted.off:
        off = [_of_name(study, name) for name in wanted.off]
        title = f"without {' and '.join(wanted.off)}"
        parts.append(_Part(done="off", value=0.0, neurons=functools.reduce(operator.or_, off), title=title))
    for name, factor in wanted.scaled:
        neurons = _of_name(study, name)
        parts.append(_Part(done="scaled", value=factor, neurons=neurons, title=f"{name} × {factor:g}"))
    for name, value in wanted.held:
        neurons = _of_name(study, name).restrict(["ffn"])
        if not len(neurons):
            raise ConfigError(f"{name} has no ffn neurons, and others have no activation function to set")
        title = f"ffn neurons of {name} at {value:g}"
        parts.append(_Part(done="held", value=value, neurons=neurons, title=title))
    return parts


def _of_name(study: OpenedStudy, name: str) -> NeuronSet:
    neurons = study.sets[name]
    if not len(neurons):
        raise ConfigError(f"The set {name} of {study.model} holds no neurons, so there is nothing to change")
    return neurons


def _drawn(study: OpenedStudy, parts: Sequence[_Part], wanted: Wanted) -> list[_Part]:
    """The same done to random neurons, no two parts of which share any."""
    if len(parts) == 1 and parts[0].done != "held" and len(wanted.off) <= 1:
        name = (*wanted.off, *(own for own, _ in wanted.scaled))[0]
        if (stored := study.stored_control(name, wanted.seed)) is not None:
            return [replace(parts[0], neurons=stored)]
    drawn = list[_Part]()
    outside = study.all_related()
    for part in parts:
        neurons = random_control(part.neurons, outside, wanted.seed).neurons
        drawn.append(replace(part, neurons=neurons))
        outside = outside | part.neurons | neurons
    return drawn


def _voice(study: OpenedStudy, role: Role, title: str, parts: Sequence[_Part]) -> Voice:
    n_neurons = sum(len(part.neurons) for part in parts)
    return Voice(role=role, title=title, n_neurons=n_neurons, change=_change(study, title, parts))


def _change(study: OpenedStudy, name: str, parts: Sequence[_Part]) -> Change:
    from polyneuron.neuron_core.edits.intervened_edit import IntervenedEdit

    held = [part for part in parts if part.done == "held"]
    edited = [part for part in parts if part.done != "held"]
    if not held:
        return _edit(study, name, edited)
    intervention = _intervention(name, held)
    return IntervenedEdit(_edit(study, name, edited), intervention) if edited else intervention


def _edit(study: OpenedStudy, name: str, parts: Sequence[_Part]) -> WeightEdit:
    """All parts as one edit. The model is loaded where neurons are multiplied, since that takes their values."""
    from polyneuron.neuron_core.edits.weight_edit import WeightEdit

    every = functools.reduce(operator.or_, (part.neurons for part in parts))
    if all(part.done == "off" for part in parts):
        return WeightEdit.zero(every, name)
    model = study.base.model
    edits = (
        WeightEdit.zero(part.neurons)
        if part.done == "off"
        else WeightEdit.scaled(part.neurons, model, part.value)
        for part in parts
    )
    with ExitStack() as applied:
        for edit in edits:
            applied.enter_context(edit.applied(model))
        return WeightEdit.capture(every, model, name)


def _intervention(name: str, parts: Sequence[_Part]) -> Intervention:
    from polyneuron.neuron_core.edits.intervention import Intervention

    every = functools.reduce(operator.or_, (part.neurons for part in parts))
    return Intervention(neuron_set=every, constants=dict(_constants(every, parts)), name=name)


def _constants(every: NeuronSet, parts: Sequence[_Part]) -> Iterator[tuple[int, Tensor]]:
    import torch

    for layer, group in every.places():
        values = torch.empty(every.widths[group])
        for part in parts:
            values[torch.from_numpy(part.neurons.indices(layer, group).copy())] = part.value
        yield layer, values[torch.from_numpy(every.indices(layer, group).copy())]

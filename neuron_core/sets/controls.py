"""Controls: neurons that a set is compared with when it is switched off. Each kind rules out one other explanation.

Where fewer neurons are free than are asked for, all that are free are drawn, and the draw says so.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.sets.neuron_set import Indices, Key, NeuronSet

Pooled = Mapping[Key, npt.NDArray[np.float32]]
"""The impact of every neuron on the text of all languages, by (layer, group)."""

MIN_NEAREST = 5
"""Fewest neurons among which the partner of a neuron is drawn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """Neurons drawn as a control of a set."""

    neurons: NeuronSet
    """What was drawn."""
    n_asked: int
    """Neurons of the set; more than were drawn where too few were free."""
    impact_ratio: float | None
    """The geometric mean of the pooled impacts of what was drawn, over that of the set; None where impacts are not known or
    nothing was drawn."""


def random_control(target: NeuronSet, outside: NeuronSet, seed: int, pooled: Pooled | None = None) -> Control:
    """Random neurons outside `target` and `outside`, as many in each (layer, group) as `target` has."""
    taken, generator = target | outside, _generator(target, seed)
    members = {}
    for place in target.places():
        free = _free(taken, place)
        wanted = min(len(target.indices(*place)), len(free))
        members[place] = generator.choice(free, wanted, replace=False)
    return _control(target, members, pooled)


def impact_control(target: NeuronSet, pooled: Pooled, seed: int) -> Control:
    """Neurons outside `target` that are nearest in impact: in each (layer, group) a partner for each of its neurons, in random
    order, drawn without replacement from the nearest in log pooled impact that are left. Neurons of other sets may be drawn.

    The nearest are as many as `target` has in the place, at least `MIN_NEAREST`: so many that draws differ, also where all of
    them have less impact than any neuron of the set.
    """
    generator, members = _generator(target, seed), {}
    for place in target.places():
        sizes = np.log(np.maximum(pooled[place].astype(np.float64), np.finfo(np.float32).tiny))
        own = target.indices(*place)
        members[place] = _partners(generator.permutation(sizes[own]), _free(target, place), sizes, generator)
    return _control(target, members, pooled)


def language_control(target: NeuronSet, others: NeuronSet, seed: int, pooled: Pooled) -> Control:
    """As many random neurons as `target` has, from other languages' neurons `others` less its own; wherever they lie."""
    rest = others - target
    places = rest.places()
    owners = np.repeat(np.arange(len(places)), [len(rest.indices(*place)) for place in places])
    neurons = np.concatenate([np.zeros(0, np.int64), *(rest.indices(*place) for place in places)])
    drawn = _generator(target, seed).choice(len(rest), min(len(target), len(rest)), replace=False)
    members = {place: neurons[drawn[owners[drawn] == at]] for at, place in enumerate(places)}
    return _control(target, members, pooled)


def matched_control(target: NeuronSet, outside: NeuronSet, seed: int) -> NeuronSet:
    """Random neurons, as many in each (layer, group) as `target` has, drawn outside `target` and `outside`. The draw
    depends on the seed and on the target alone, so equal calls give equal controls in every process. Raises SetError when
    too few neurons are left in a (layer, group), which is named, the seed is negative, or the sets are of two models."""
    drawn = random_control(target, outside, seed).neurons
    for layer, group in target.places():
        wanted, found = (len(each.indices(layer, group)) for each in (target, drawn))
        if found < wanted:
            raise SetError(
                f"No matched control: (layer {layer}, group {group!r}) needs {wanted} neurons but only {found} of "
                f"{target.widths[group]} are in no language's set. Choose a stricter selection rule"
            )
    return drawn


def distinct(draws: Iterable[Control]) -> Iterator[tuple[int, Control]]:
    """The draws that hold a neuron, each with its place among `draws`, equal ones once: where all free neurons are taken, every
    seed gives the same."""
    seen: set[str] = set()
    for seed, draw in enumerate(draws):
        if len(draw.neurons) and draw.neurons.fingerprint() not in seen:
            seen.add(draw.neurons.fingerprint())
            yield seed, draw


def _generator(target: NeuronSet, seed: int) -> np.random.Generator:
    if seed < 0:
        raise SetError(f"The seed of a control must be 0 or more, not {seed}")
    return np.random.default_rng([seed, int(target.fingerprint(), 16)])


def _free(taken: NeuronSet, place: Key) -> Indices:
    """The neurons of a (layer, group) that `taken` does not hold, ascending."""
    is_free = np.ones(taken.widths[place[1]], bool)
    is_free[taken.indices(*place)] = False
    return np.flatnonzero(is_free)


def _partners(
    wanted: npt.NDArray[np.float64],
    free: Indices,
    sizes: npt.NDArray[np.float64],
    generator: np.random.Generator,
) -> Indices:
    """For each value in `wanted`, while any are left, one of the neurons `free` whose `sizes` are nearest."""
    free = free[np.argsort(sizes[free], kind="stable")]
    left, left_sizes, partners = free.tolist(), sizes[free].tolist(), []
    n_nearest = max(MIN_NEAREST, len(wanted))
    for size in wanted.tolist()[: len(free)]:
        at = bisect_left(left_sizes, size)
        window = range(max(0, at - n_nearest), min(len(left), at + n_nearest))
        nearest = sorted(window, key=lambda i: abs(left_sizes[i] - size))[:n_nearest]
        chosen = nearest[generator.integers(len(nearest))]
        left_sizes.pop(chosen)
        partners.append(left.pop(chosen))
    return np.array(partners, np.int64)


def _control(target: NeuronSet, members: Mapping[Key, Indices], pooled: Pooled | None) -> Control:
    neurons = NeuronSet.from_indices(target.model, target.widths, target.n_layers, members)
    ratio = None
    if pooled is not None and len(neurons):
        ratio = float(np.exp(_mean_log(neurons, pooled) - _mean_log(target, pooled)))
    return Control(neurons=neurons, n_asked=len(target), impact_ratio=ratio)


def _mean_log(neurons: NeuronSet, pooled: Pooled) -> float:
    values = np.concatenate([pooled[place][neurons.indices(*place)] for place in neurons.places()])
    return float(np.log(np.maximum(values.astype(np.float64), np.finfo(np.float32).tiny)).mean())

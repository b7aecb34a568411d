"""Which neurons to train: for a language, as the language-agnostic score decides (paper A, section 4.1), and for transfer from
one language to another (paper B, section 3.2 and Table 8)."""

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.sets.controls import Control, random_control
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.training.choices.names import HIGH_SCORE, LOW_SCORE, Strategy, TransferChoice


@dataclass(frozen=True)
class Choice:
    """The strategy that is trained, and why in one sentence."""

    strategy: Strategy
    reason: str
    control_of: Strategy | None = None
    """The strategy whose set random neurons are as many as; None for all that is not random."""

    @property
    def label(self) -> str:
        """What is trained, and for random neurons the set that they are as many as."""
        return f"{self.strategy} as {self.control_of}" if self.control_of else self.strategy

    @staticmethod
    def random(control_of: Strategy) -> "Choice":
        """Random neurons, as many as a strategy's set."""
        return Choice("random", f"as many neurons as {control_of}", control_of)


def choose(
    strategy: Strategy, score: float | None, low: float = LOW_SCORE, high: float = HIGH_SCORE
) -> Choice:
    """Resolves "auto": a low score trains all related neurons, a middle one the shared, a high one the exclusive. `score`:
    Eq. 6 with perplexities, as published; None when it could not be computed. Raises SetError for "auto" without a score,
    ValueError when `low` is above `high`."""
    if low > high:
        raise ValueError(f"The low threshold {low} is above the high one {high}")
    if strategy != "auto":
        return Choice(strategy, f"{strategy} was asked for")
    if score is None:
        raise SetError(
            "The strategy auto needs the language-agnostic score, which has no value for this selection (the "
            "report says why): name a strategy, as in training.strategies=exclusive, or choose another rule"
        )
    if score < low:
        return Choice("related", f"the language-agnostic score {score:.2f} is low (below {low:.2f})")
    if score > high:
        return Choice("exclusive", f"the language-agnostic score {score:.2f} is high (above {high:.2f})")
    return Choice("shared", f"the language-agnostic score {score:.2f} lies between {low:.2f} and {high:.2f}")


def neurons_to_train(
    strategy: Strategy,
    languages: tuple[str, ...],
    shared: NeuronSet,
    related: Mapping[str, NeuronSet],
    everything: NeuronSet,
) -> NeuronSet:
    """The neurons of a resolved strategy for one or several languages; `everything`: all of the model's. Raises SetError when
    there is nothing to train, a language has no set, for "auto", which `choose` resolves, and for "random", whose neurons
    `random_neurons` draws."""
    if unknown := [language for language in languages if language not in related]:
        raise SetError(f"No sets of {', '.join(unknown)}; there are {', '.join(related)}")
    own = reduce(operator.or_, (related[language] for language in languages), shared)
    by_strategy = {
        "shared": shared,
        "exclusive": own - shared,
        "related": own,
        "full": everything,
        "lora": everything,
    }
    if strategy not in by_strategy:
        raise SetError(f"The strategy {strategy!r} has no neurons of its own; resolve it first")
    neurons = by_strategy[strategy]
    if not len(neurons):
        raise SetError(
            f"The strategy {strategy} has no neuron to train for {', '.join(languages)}: the selection left it empty. "
            "Lower the threshold, or take another strategy"
        )
    return neurons


def random_neurons(target: NeuronSet, sets: Iterable[NeuronSet], seed: int) -> Control:
    """Random neurons, as many in each layer and group as `target` has, outside all `sets`; where fewer are free, those. Raises
    SetError when none is free anywhere."""
    drawn = random_control(target, reduce(operator.or_, sets, target), seed)
    if not len(drawn.neurons):
        raise SetError(
            "No neuron is left for a random control: where the set has neurons, every other one is in some language's set. "
            "Choose a stricter selection rule"
        )
    return drawn


def transfer_choices(
    sets: Mapping[str, NeuronSet], source: str, target: str, seed: int = 0
) -> dict[TransferChoice, NeuronSet]:
    """The source language's neurons, the target's, both, and a random control, from what a detector found by language. The
    control has as many neurons in each layer as source and target together, the largest of the three, or all that are free
    where these are fewer; it is drawn by `seed` outside the sets of all languages. Raises SetError for a language without a
    set or with an empty one, one language twice, or no free neuron for a control."""
    if source == target:
        raise SetError(f"Transfer needs two languages, not {source} to {target}")
    for language in (source, target):
        if language not in sets:
            raise SetError(f"There is no set of {language}; there are {', '.join(sets)}")
        if not len(sets[language]):
            raise SetError(
                f"The set of {language} is empty: there is nothing to train. Let the detector give it more neurons"
            )
    both = sets[source] | sets[target]
    return {
        "source": sets[source],
        "target": sets[target],
        "source+target": both,
        "random": random_neurons(both, sets.values(), seed).neurons,
    }

"""Which neurons are fine-tuned for transfer from one language to another (paper B, section 3.2 and Table 8)."""

import operator
from collections.abc import Mapping
from functools import reduce

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.sets.neuron_set import NeuronSet, matched_control
from polyneuron.neuron_core.training.choices.names import TransferChoice


def transfer_choices(
    sets: Mapping[str, NeuronSet], source: str, target: str, seed: int = 0
) -> dict[TransferChoice, NeuronSet]:
    """The source language's neurons, the target's, both, and a random control, from what a detector found by language.

    The control has as many neurons in each layer as source and target together, the largest of the three, drawn by `seed`
    outside the sets of all languages. Raises SetError for a language without a set or with an empty one, one language
    twice, or no room for a control.
    """
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
        "random": matched_control(both, reduce(operator.or_, sets.values()), seed),
    }

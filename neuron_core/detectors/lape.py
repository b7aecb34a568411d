"""LAPE, language activation probability entropy (Tang et al. 2024; paper B, section 2.1).

Shapes: L languages, D layers, I ffn neurons a layer.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np

from polyneuron.neuron_core.activations.table import ActivationTable
from polyneuron.neuron_core.detectors import detector
from polyneuron.neuron_core.detectors.detector import Detected, Detector, Doubles
from polyneuron.neuron_core.detectors.names import DetectorName

_ENTROPY_DECIMALS = 12


@dataclass(frozen=True)
class Lape(Detector):
    """The published selection, with its constants as defaults.

    1. p[l, k] = tokens of language l on which neuron k is above 0 / tokens of l.
    2. A neuron stays if p[l, k] > the `filter_rate` quantile of all L D I probabilities, for some l.
    3. Of these the round(top_rate D I) of lowest entropy H_k = -sum_l p̂ ln p̂, p̂ = p / sum_l p, are selected.
    4. A selected neuron belongs to every language with p[l, k] > the `activation_bar_ratio` quantile.

    A quantile q of N values is the round(q N)-th smallest; both roundings are Python's. Entropies are compared
    after rounding to 1e-12, so that equal distributions tie whatever the order of their languages; ties go to the
    lower layer, then to the lower index. Three differences from the authors' script, none of them in the method:
    it ranks in float32 and leaves ties to topk; where fewer neurons pass step 2 than step 3 wants, it fills up
    with ones that did not; and it splits by a bincount, which leaves the last languages out of its list when they
    get no neuron. Here every language has a set, possibly empty.
    """

    filter_rate: float = 0.95
    top_rate: float = 0.01
    activation_bar_ratio: float = 0.95
    name: ClassVar[DetectorName] = "lape"

    def __post_init__(self) -> None:
        """Raises ConfigError for a rate outside (0, 1]."""
        for name, value in asdict(self).items():
            detector.require_share(name, value)

    def detect(self, table: ActivationTable, languages: Sequence[str] | None = None) -> Detected:
        """Finds the neurons of each language, as `Detector.detect` says. The scores are entropies in nats, the same for
        every language, inf for what step 2 drops. The thresholds are `filter` and `activation_bar` (probabilities) and
        `entropy` (the largest that was selected)."""
        rows = table.rows_of(languages)
        probabilities = table.n_positive[rows] / table.n_tokens[rows, None, None]
        least = quantile(probabilities, self.filter_rate)
        bar = quantile(probabilities, self.activation_bar_ratio)
        kept = (probabilities > least).any(axis=0)
        entropies = np.where(kept, activation_entropy(probabilities), np.inf)
        selected = detector.first_ranked(entropies, round(self.top_rate * entropies.size)) & kept
        names = [table.languages[row] for row in rows]
        return Detected(
            detector=self,
            sets={
                name: detector.to_set(table, selected & (own > bar))
                for name, own in zip(names, probabilities, strict=True)
            },
            scores=dict.fromkeys(names, entropies),
            thresholds={
                "filter": least,
                "activation_bar": bar,
                "entropy": float(entropies[selected].max(initial=-np.inf)),
            },
        )


def quantile(values: Doubles, share: float) -> float:
    """The round(share N)-th smallest of N values; the smallest where that rounds to 0."""
    rank = max(1, round(values.size * share))
    return float(np.partition(values, rank - 1, axis=None)[rank - 1])


def activation_entropy(probabilities_LDI: Doubles) -> Doubles:
    """The entropy over languages of the normalised probabilities, float64 [D, I] in nats, rounded to 1e-12; 0 where all are
    0. Adding in the order of size makes it independent of the order of languages."""
    ordered = np.sort(probabilities_LDI, axis=0)
    total = ordered.sum(axis=0)
    shares = ordered / np.where(total > 0, total, 1.0)
    entropy: Doubles = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=0)
    return np.round(entropy, _ENTROPY_DECIMALS) + 0.0

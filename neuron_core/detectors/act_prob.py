"""Activation probability against a percentile: paper B's "Act Prob 90p", and a form of it that can tell languages apart.

Shapes: D layers, I ffn neurons a layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from polyneuron.neuron_core.activations.names import PERCENTILES
from polyneuron.neuron_core.activations.statistics import Ints
from polyneuron.neuron_core.activations.table import ActivationTable
from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.neuron_core.detectors.detector import Detected, Detector, first_ranked, require_share, to_set
from polyneuron.neuron_core.detectors.names import DetectorName


@dataclass(frozen=True)
class ActProb(Detector):
    """Paper B, section 2.1: relevance of a neuron = share of a language's tokens on which it exceeds that neuron's own
    `percentile` in that language. The round(top_rate D I) most relevant neurons of each language.

    Nearly degenerate: by the definition of a percentile the relevance of every neuron in every language is 0.10 at
    percentile 90. What remains to rank by is how many tokens share the percentile's value, or here its bucket (up to 3%
    wide), which lowers the relevance: it says nothing about languages. The published code gets its spread from elsewhere:
    it takes the mean over batches of each batch's percentile as threshold, so its ranking shows how uneven its batches of
    documents were. `ActProbPooled` is the same idea with a threshold that languages share.

    The statistics of the published runs are of site `pre_activation`. The threshold is the upper edge of the percentile's
    bucket, the count above it is exact (`neuron_core.activations.statistics`). Ties go to the lower layer, then to the
    lower index.
    """

    percentile: int = 90
    top_rate: float = 0.00125
    name: ClassVar[DetectorName] = "act_prob"

    def __post_init__(self) -> None:
        """Raises ConfigError for a percentile that is not stored, or a rate outside (0, 1]."""
        if self.percentile not in PERCENTILES:
            raise ConfigError(
                f"percentile must be one that is measured ({', '.join(map(str, PERCENTILES))}), not {self.percentile}"
            )
        require_share("top_rate", self.top_rate)

    def detect(self, table: ActivationTable, languages: Sequence[str] | None = None) -> Detected:
        """Finds the neurons of each language, as `Detector.detect` says. The scores are relevances, from 0 to 1; the
        threshold `relevance/<language>` is the least that was selected."""
        above = self._tokens_above(table)[..., PERCENTILES.index(self.percentile)]
        wanted = round(self.top_rate * table.n_layers * table.width)
        sets, scores, thresholds = {}, {}, {}
        for row in table.rows_of(languages):
            language = table.languages[row]
            relevance = above[row] / table.n_tokens[row]
            selected = first_ranked(-relevance, wanted)
            sets[language], scores[language] = to_set(table, selected), relevance
            thresholds[f"relevance/{language}"] = float(relevance[selected].min(initial=1.0))
        return Detected(self, sets, scores, thresholds)

    def _tokens_above(self, table: ActivationTable) -> Ints:
        return table.above_own


@dataclass(frozen=True)
class ActProbPooled(ActProb):
    """As `ActProb`, with the neuron's percentile over the tokens of all measured languages together as threshold. The
    relevance is then high where a neuron fires more in one language than in the others. As pooling counts every token once,
    measure equally many tokens of each language; `languages` chooses whose sets are found, not what was pooled."""

    name: ClassVar[DetectorName] = "act_prob_pooled"

    def _tokens_above(self, table: ActivationTable) -> Ints:
        return table.above_pooled

"""A lower floor for a language that is detected already: only what the higher floor left bounded is measured.

The table holds what the seed sentences gave for every q and k neuron, as its upper bound or beside its impacts. So the floor
of any larger fraction is the one that `detect_language` would find, and so are the neurons that it would measure; of these
only those that were bounded go over the sentences, and neither v, o and ffn neurons nor those measured before.
Impacts are those of a detection at that fraction up to rounding, not bit for bit: there the seed sentences are measured with
all neurons of a head at once, and which layers have no candidate, and so run a faster attention kernel, depends on the floor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import torch

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.impacts.detect import RunPass, floor_of, seed_and_rest
from polyneuron.neuron_core.impacts.table import LanguageImpacts
from polyneuron.neuron_core.model.groups import SCORE_GROUPS
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches

_FLOORS = ("floor_raw", "floor_rms")


def extend_language(
    run_pass: RunPass,
    sentences: Sequence[Sentence],
    measured: LanguageImpacts,
    batch_size: int = 8,
    *,
    floor_fraction: float,
) -> LanguageImpacts:
    """The impacts of `detect_language` at a larger `floor_fraction`, from those at a smaller one: `measured`, over the same
    `sentences`. `run_pass` measures the groups q and k alone. What has no floor (mode "full", or no sentence beside the
    seed) is returned as it is. Raises CorpusError when the sentences are others than those of `measured`, ValueError when
    `floor_fraction` is smaller than that of `measured`."""
    parts = seed_and_rest(sentences)
    usable = [sentence for part in parts for sentence in part]
    for row in measured.summary.to_pylist():
        if (row["n_sentences"], row["n_tokens"]) != (len(usable), sum(each.n_scored for each in usable)):
            raise CorpusError(
                f"The impacts of {measured.language} are of {row['n_sentences']} sentences with {row['n_tokens']} tokens, not of "
                "those given; give the sentences that it was detected with"
            )
    seed = _Seed.of(measured)
    floors = {group: seed.floors(group, floor_fraction) for group in seed.present}
    if any(
        new > old for group in floors for new, old in zip(floors[group], seed.present[group], strict=True)
    ):
        raise ValueError(f"floor_fraction={floor_fraction:g} is smaller than that of the impacts given")
    rows = {key: at for key, at in seed.keys.items() if key[1] in floors}
    rows = {key: at[seed.bounded[at] & seed.reaches(at, floors[key[1]])] for key, at in rows.items()}
    if not any(len(at) for at in rows.values()):
        return measured.lowered({}, floors)
    nobody = torch.zeros(0, dtype=torch.int64)
    candidates = {(layer, group): nobody for layer, _ in seed.keys for group in SCORE_GROUPS}
    candidates |= {key: torch.from_numpy(seed.neurons[at]) for key, at in rows.items()}
    batches = [batch for part in parts for batch in micro_batches(part, batch_size)]
    impacts = run_pass(batches, candidates)
    return measured.lowered({key: (rows[key], of_key) for key, of_key in impacts.items()}, floors)


def proving_fraction(
    measured: LanguageImpacts, thresholds: Mapping[tuple[str, str], float], above: float
) -> float:
    """The smallest of twice, four times, … `above`, at most 1, as `floor_fraction` of which no floor is above its threshold;
    those are by group and column of the summary."""
    seed, fraction = _Seed.of(measured), min(1.0, 2 * above)
    while fraction < 1 and any(
        seed.floors(group, fraction)[_FLOORS.index(column)] > threshold
        for (group, column), threshold in thresholds.items()
    ):
        fraction = min(1.0, 2 * fraction)
    return fraction


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seed:
    """What the seed sentences of a language gave for the neurons of q and k; everything by row of the table."""

    bounded: npt.NDArray[np.bool_]
    """Whether the seed is all that was measured."""
    neurons: npt.NDArray[np.int64]
    """The neuron within its layer and group."""
    minima: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
    """The smallest Frobenius norm and per-token impact; NaN in other groups."""
    keys: Mapping[tuple[int, str], npt.NDArray[np.int64]]
    """By layer and group, the rows of q and k, ascending."""
    present: Mapping[str, tuple[float, float]]
    """By group, its floors of either kind; groups without floors are left out."""

    @staticmethod
    def of(measured: LanguageImpacts) -> "_Seed":
        """Reads the two tables."""
        impacts = measured.impacts
        bounded, neurons, layers = (impacts[name].to_numpy() for name in ("bounded", "neuron", "layer"))
        of_group = {
            group: np.flatnonzero(pc.equal(impacts["group"], group).to_numpy()) for group in SCORE_GROUPS
        }
        raw, per_token = (
            np.where(bounded, impacts[f"impact_{kind}"].to_numpy(), impacts[f"impact_seed_{kind}"].to_numpy())
            for kind in ("min", "rms_min")
        )
        return _Seed(
            bounded=bounded,
            neurons=neurons.astype(np.int64),
            minima=(raw, per_token),
            keys={
                (layer, group): rows[layers[rows] == layer]
                for layer in np.unique(layers).tolist()
                for group, rows in of_group.items()
            },
            present={
                row["group"]: (row["floor_raw"], row["floor_rms"])
                for row in measured.summary.to_pylist()
                if row["floor_raw"] is not None
            },
        )

    def floors(self, group: str, fraction: float) -> tuple[float, float]:
        """The floors of a group at `fraction`: Frobenius norm, per-token impact."""
        at = np.concatenate([rows for (_, of), rows in self.keys.items() if of == group])
        raw, per_token = (floor_of(torch.from_numpy(values[at]), fraction) for values in self.minima)
        return raw, per_token

    def reaches(self, at: npt.NDArray[np.int64], floors: tuple[float, float]) -> npt.NDArray[np.bool_]:
        """Whether the neurons of these rows are at or above either floor."""
        raw, per_token = (values[at] >= floor for values, floor in zip(self.minima, floors, strict=True))
        return raw | per_token

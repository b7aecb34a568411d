"""Sensitivity: what neighbouring rules would have selected. A score without this band says little about a model."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from polyneuron.neuron_core.common.errors import ConfigError, NotCertified
from polyneuron.neuron_core.measures.language_agnostic import shared_ratio
from polyneuron.neuron_core.selection.grid import ImpactGrid, Mask
from polyneuron.neuron_core.selection.rules import Rule, ScaledSigma
from polyneuron.neuron_core.selection.schema import SENSITIVITY_SCHEMA
from polyneuron.neuron_core.selection.select import split
from polyneuron.neuron_core.selection.thresholds import Passing

FACTORS: tuple[float, ...] = (0.5, 0.71, 1.41, 2.0)
"""What the rule's setting is multiplied by: half an octave and an octave, both ways."""

OWN_RULE = "this study"


def sensitivity(
    impacts: pa.Table,
    summaries: pa.Table,
    rule: Rule | None = None,
    languages: Sequence[str] | None = None,
    model: str = "",
    *,
    factors: Sequence[float] = FACTORS,
) -> pa.Table:
    """Sizes, Eq. 4 and likeness of the sets of `rule` (default `ScaledSigma()`) and of its neighbours,
    `SENSITIVITY_SCHEMA`. A neighbour that pruned detection does not prove (see `prove`), or that cannot exist (a fraction
    above 1), has nulls and the reason. Raises as `select`, for the rule itself."""
    grid, rule = ImpactGrid(impacts, summaries, languages, model), rule or ScaledSigma()
    own = rule.passing(grid)
    rows = list(_rows(grid, OWN_RULE, own, own.passes))
    for factor in factors:
        setting = own.setting * factor
        name = f"{rule.setting_name} x{factor:g}"
        try:
            rows += _rows(grid, name, rule.neighbour(setting).passing(grid), own.passes)
        except (NotCertified, ConfigError) as error:
            rows += [
                {"neighbour": name, "sigma": setting, "language": language, "null_reason": error.message}
                for language in grid.languages
            ]
    return pa.Table.from_pylist(rows, schema=SENSITIVITY_SCHEMA)


def prove(
    impacts: pa.Table,
    summaries: pa.Table,
    rule: Rule,
    languages: Sequence[str] | None = None,
    model: str = "",
    *,
    factors: Sequence[float] = FACTORS,
) -> None:
    """Raises NotCertified when pruned detection does not prove `rule`, or one of its neighbours that can exist, with the
    least of all their thresholds; otherwise as `select`."""
    grid, refused = ImpactGrid(impacts, summaries, languages, model), list[NotCertified]()
    try:
        setting = rule.passing(grid).setting
    except NotCertified as refusal:
        if refusal.setting is None:
            raise
        refused.append(refusal)
        setting = refusal.setting
    for factor in factors:
        try:
            rule.neighbour(setting * factor).passing(grid)
        except ConfigError:
            continue
        except NotCertified as refusal:
            refused.append(refusal)
    if refused:
        least: dict[tuple[str, str, str], float] = {}
        for each in refused:
            least |= {cell: min(least.get(cell, of), of) for cell, of in each.thresholds.items()}
        raise NotCertified(str(refused[0]), least)


def _rows(grid: ImpactGrid, name: str, passing: Passing, own: Mask) -> Iterator[dict[str, Any]]:
    shared, exclusive, _ = split(passing.passes)
    own_shared, _, _ = split(own)
    sizes = {language: int(mask.sum()) for language, mask in zip(grid.languages, exclusive, strict=True)}
    ratio = shared_ratio(int(shared.sum()), sizes)
    for at, language in enumerate(grid.languages):
        yield {
            "neighbour": name,
            "sigma": passing.setting,
            "language": language,
            "n_related": int(passing.passes[at].sum()),
            "n_shared": int(shared.sum()),
            "n_exclusive": sizes[language],
            "shared_ratio": ratio.value,
            "jaccard_related": _jaccard(passing.passes[at], own[at]),
            "jaccard_shared": _jaccard(shared, own_shared),
            "null_reason": ratio.null_reason,
        }


def _jaccard(a: Mask, b: Mask) -> float:
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0

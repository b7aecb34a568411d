"""A model and its changes as they are shown, with their held-out losses as rows of the table perplexities hold them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyneuron.neuron_core.sets.variant_name import CONTROL_KINDS, ControlKind

BASE = "base"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownVariant:
    """The unchanged model, or the model with one change."""

    name: str
    """As stored; nothing is read out of it."""
    kind: str
    """base, shared, exclusive, detected, tuned and so on, or a kind of control."""
    control_of: str | None = None
    """The variant whose set a draw is a control of."""
    set_language: str | None = None
    """The language whose set is changed."""
    seed: int | None = None
    """Of a control's draw or of a training."""
    n_neurons: int = 0
    """How many neurons are changed."""
    impact_ratio: float | None = None
    """Of a control: its neurons' pooled impacts over those of the set, geometric means; None where it is not known."""
    nll: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = field(
        default_factory=dict
    )
    """By language: numbers of held-out sentences, their nats (NaN: unscored) and predicted tokens, each [S]."""


class Variants(tuple[ShownVariant, ...]):
    """The variants of one model."""

    __slots__ = ()

    @property
    def base(self) -> ShownVariant | None:
        """The unchanged model, where it was measured."""
        return next(iter(self.of_kind(BASE)), None)

    def named(self, name: str) -> ShownVariant | None:
        """The variant of that name, where there is one."""
        return next((v for v in self if v.name == name), None)

    def of_kind(self, kind: str) -> list[ShownVariant]:
        """All variants of that kind."""
        return [v for v in self if v.kind == kind]

    def of_set(self, kind: str, language: str | None = None) -> ShownVariant | None:
        """The variant that changes the set of that kind, and of that language when one is given."""
        return next((v for v in self.of_kind(kind) if language in (None, v.set_language)), None)

    def controls_of(self, name: str, kind: ControlKind = "control") -> list[ShownVariant]:
        """The draws of one kind that stand beside the variant of that name."""
        return [v for v in self if v.kind == kind and v.control_of == name]

    def draws(self) -> list[ShownVariant]:
        """All draws of every kind."""
        return [v for v in self if v.kind in CONTROL_KINDS]


def variants_of(perplexities: pa.Table, controls: pa.Table | None = None) -> Variants:
    """The variants in rows of one model and one selection, in the order of their names; `controls`: the rows on its draws."""
    columns = ["variant", "kind", "control_of", "set_language", "seed", "n_neurons", "language"]
    rows = perplexities.sort_by([(name, "ascending") for name in ("variant", "language", "sentence")])
    values = {"sentence": np.int64, "nll_nats": np.float64, "n_tokens": np.float64}
    blocks = rows.group_by(columns, use_threads=False).aggregate([(name, "list") for name in values])
    drawn = () if controls is None else controls.select(["variant", "impact_ratio"]).to_pylist()
    ratios = {row["variant"]: row["impact_ratio"] for row in drawn}
    found: dict[str, ShownVariant] = {}
    nll: dict[str, dict[str, Any]] = {}
    for i, head in enumerate(blocks.select(columns).to_pylist()):
        name, language = head.pop("variant"), head.pop("language")
        of_language = nll.setdefault(name, {})
        found.setdefault(
            name, ShownVariant(name=name, **head, impact_ratio=ratios.get(name), nll=of_language)
        )
        of_language[language] = tuple(
            np.asarray(blocks[f"{column}_list"][i].values, kind) for column, kind in values.items()
        )
    return Variants(found.values())

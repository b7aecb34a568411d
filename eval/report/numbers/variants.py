"""A model and its changes as they are shown, with their held-out losses as rows of the table perplexities hold them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

BASE = "base"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownVariant:
    """The unchanged model, or the model with one change."""

    name: str
    """As stored; nothing is read out of it."""
    kind: str
    """base, shared, exclusive, control, detected, tuned and so on."""
    control_of: str | None = None
    """The variant whose set a random draw is as large as."""
    set_language: str | None = None
    """The language whose set is changed."""
    seed: int | None = None
    """Of a random draw or of a training."""
    n_neurons: int = 0
    """How many neurons are changed."""
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

    def controls_of(self, name: str) -> list[ShownVariant]:
        """The random draws that stand beside the variant of that name."""
        return [v for v in self if v.kind == "control" and v.control_of == name]


def variants_of(perplexities: pa.Table) -> Variants:
    """The variants in rows of one model and one selection, in the order of their names."""
    columns = ["variant", "kind", "control_of", "set_language", "seed", "n_neurons", "language"]
    rows = perplexities.sort_by([(name, "ascending") for name in ("variant", "language", "sentence")])
    values = {"sentence": np.int64, "nll_nats": np.float64, "n_tokens": np.float64}
    blocks = rows.group_by(columns, use_threads=False).aggregate([(name, "list") for name in values])
    found: dict[str, ShownVariant] = {}
    nll: dict[str, dict[str, Any]] = {}
    for i, head in enumerate(blocks.select(columns).to_pylist()):
        name, language = head.pop("variant"), head.pop("language")
        of_language = nll.setdefault(name, {})
        found.setdefault(name, ShownVariant(name=name, **head, nll=of_language))
        of_language[language] = tuple(
            np.asarray(blocks[f"{column}_list"][i].values, kind) for column, kind in values.items()
        )
    return Variants(found.values())

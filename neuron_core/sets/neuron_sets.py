"""NeuronSets: sets of one model by name, built when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from polyneuron.neuron_core.common.errors import UnknownName
from polyneuron.neuron_core.common.html import html_table
from polyneuron.neuron_core.sets.neuron_set import NeuronSet

_MOST_SHOWN = 8


class NeuronSets(Mapping[str, NeuronSet]):
    """A read-only mapping of names to sets. A name that is not there raises `UnknownName`, a KeyError that lists those that
    are."""

    def __init__(
        self, sizes: Mapping[str, int], build: Callable[[str], NeuronSet], n_named: int | None = None
    ) -> None:
        """`sizes`: neurons of each set, in the order in which sets are listed; `build` makes the set of a name. Messages name
        the first `n_named` and count the others; None: all."""
        self._sizes, self._build = dict(sizes), build
        self._n_named = len(self._sizes) if n_named is None else n_named

    @classmethod
    def of(cls, sets: Mapping[str, NeuronSet]) -> NeuronSets:
        """Sets that are there already."""
        return cls({name: len(own) for name, own in sets.items()}, dict(sets).__getitem__)

    @property
    def sizes(self) -> dict[str, int]:
        """Neurons of each set, without building any."""
        return dict(self._sizes)

    def __getitem__(self, name: str) -> NeuronSet:
        if name not in self._sizes:
            raise UnknownName(
                f"There is no set {name!r}; there are {in_words(list(self._sizes), self._n_named)}"
            )
        return self._build(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def __repr__(self) -> str:
        listed = [f"{name} {size}" for name, size in self._sizes.items()]
        return f"NeuronSets({in_words(listed, _MOST_SHOWN)})"

    def _repr_html_(self) -> str:
        rows = list(self._sizes.items())[: self._n_named]
        more = f", the first {len(rows)} here" if len(rows) < len(self) else ""
        return html_table(f"{len(self)} neuron sets{more}", ("set", "neurons"), rows)


def in_words(names: list[str], most: int) -> str:
    """The first `most` names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + more

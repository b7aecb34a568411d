"""A weight edit and an intervention at once: activations are changed while the model runs with edited weights (paper B,
section 3.2, which intervenes on fine-tuned models)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import xxhash
from torch import nn

from polyneuron.neuron_core.edits.intervention import Intervention
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import Anatomy


@dataclass(frozen=True, eq=False)
class IntervenedEdit:
    """`edit` first, then `intervention`; undone in reverse."""

    edit: WeightEdit
    intervention: Intervention

    @property
    def name(self) -> str:
        """Both names, in order."""
        return f"{self.edit.name}+{self.intervention.name}"

    @property
    def parts(self) -> tuple[WeightEdit, Intervention]:
        """Both, in the order in which they are applied."""
        return self.edit, self.intervention

    def fingerprint(self) -> str:
        """128-bit xxhash (hex) of those of both; the names do not count."""
        both = ":".join(part.fingerprint() for part in self.parts)
        return xxhash.xxh3_128_hexdigest(f"intervened_edit:{both}".encode())

    def require_fit(self, model: nn.Module | Anatomy) -> None:
        """Raises SetError when either is of a model of another shape."""
        for part in self.parts:
            part.require_fit(model)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Inside, `model` has both; after it, also after an exception, it is what it was, bit for bit. Raises SetError when
        either does not fit the model; nothing has been touched."""
        self.require_fit(model)
        with self.edit.applied(model), self.intervention.applied(model):
            yield

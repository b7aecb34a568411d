"""What a variant of a model is called: a value, written as text in this file alone and read back from text nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

ControlKind = Literal["control", "impact_control", "language_control"]
"""What a set is compared with: random neurons; those nearest in impact; other languages' neurons."""
CONTROL_KINDS: tuple[ControlKind, ...] = get_args(ControlKind)
CONTROL_NAMES: Mapping[ControlKind, str] = {
    "control": "random neurons",
    "impact_control": "neurons nearest in impact",
    "language_control": "other languages’ neurons",
}
"""What people are told was drawn."""

VariantKind = Literal[
    "base",
    "shared",
    "related",
    "exclusive",
    "strict_exclusive",
    "detected",
    "control",
    "impact_control",
    "language_control",
    "tuned",
    "tuned and intervened",
    "edit",
    "intervention",
]
"""What a variant stands for: the model as it is; a set that is switched off, found in impacts or by a detector, or a control
of one; trained neurons, with activations held fixed or not; a change that somebody's file holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantName:
    """The name of one variant; `str` gives the text under which results are stored and shown, such as `exclusive-sw`."""

    kind: VariantKind
    """What the variant stands for."""
    language: str | None = None
    """Whose neurons they are, or which languages they were trained for, joined by "+"; None where all or none are meant."""
    control_of: VariantName | None = None
    """The variant whose set a control is drawn for: neurons that are switched off, or random ones that were trained."""
    seed: int | None = None
    """Of a control's draw or of a training."""
    names_seed: bool = True
    """Whether the text of a trained variant ends with its seed: a study with a single seed leaves it out."""
    task: str | None = None
    """What a transfer study trained it for; None in other studies."""
    strategy: str | None = None
    """Which neurons were trained."""
    detector: str | None = None
    """What found the neurons in activations."""
    tuned: VariantName | None = None
    """The trained variant whose activations are held fixed."""
    intervention: str | None = None
    """What activations are held at, such as `p90-as-published`."""
    label: str | None = None
    """The name that somebody gave a change kept in a file."""

    def __str__(self) -> str:
        match self.kind:
            case "base" | "shared":
                return self.kind
            case "control" | "impact_control" | "language_control":
                return f"{self.kind.replace('_', '-')}-{self.control_of}-{self.seed}"
            case "detected":
                return f"{self.detector}-{self.language}"
            case "tuned":
                seed = str(self.seed) if self.names_seed else None
                matched = None if self.control_of is None else self.control_of.strategy
                parts = (self.task or "tuned", self.strategy, matched, self.detector, self.language, seed)
                return "-".join(part for part in parts if part is not None)
            case "tuned and intervened":
                return f"{self.tuned}+{self.detector}-{self.language}-{self.intervention}"
            case "edit" | "intervention":
                return str(self.label)
        return f"{self.kind}-{self.language}"

    def control(self, seed: int, kind: ControlKind = "control") -> VariantName:
        """The name of a control of this variant's set."""
        return VariantName(kind=kind, language=self.language, control_of=self, seed=seed)

    def columns(self) -> dict[str, str | int | None]:
        """The columns of the store that say which variant a row is about; the name itself is `variant`."""
        return {
            "variant": str(self),
            "kind": self.kind,
            "set_language": self.language,
            "control_of": None if self.control_of is None else str(self.control_of),
            "seed": self.seed,
        }


BASE = VariantName(kind="base")
SHARED = VariantName(kind="shared")


def exclusive(language: str) -> VariantName:
    """The name of a language's exclusive set, switched off."""
    return VariantName(kind="exclusive", language=language)


def strict_exclusive(language: str) -> VariantName:
    """The name of a language's strictly exclusive set, switched off."""
    return VariantName(kind="strict_exclusive", language=language)


def related(language: str) -> VariantName:
    """The name of a language's related set."""
    return VariantName(kind="related", language=language)

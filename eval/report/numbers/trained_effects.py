"""What training did to held-out perplexity, judged as one family."""

from collections.abc import Mapping
from dataclasses import dataclass

from polyneuron.eval.report.numbers.effects import Effect, Effects, effect_between, judged
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.training import ShownTraining, twin_of

_BASE, _RANDOM = "base", "random"


@dataclass(frozen=True, slots=True)
class TrainedEffects:
    """Effects by what they are measured against, variant and language."""

    effects: Mapping[tuple[str, str, str], Effect]

    def on_base(self, training: ShownTraining, language: str) -> Effect | None:
        """Of a trained variant beside the unchanged model, where both were measured."""
        return self.effects.get((_BASE, training.name, language))

    def on_random(self, training: ShownTraining, language: str) -> Effect | None:
        """Of a trained variant beside as many random neurons trained alike, on the same sentences."""
        return self.effects.get((_RANDOM, training.name, language))

    def languages_of(self, training: ShownTraining) -> list[str]:
        """Where a trained variant was measured beside the unchanged model."""
        return [
            language for against, name, language in self.effects if (against, name) == (_BASE, training.name)
        ]

    @property
    def n_family(self) -> int:
        """How many of them were judged together."""
        return sum(effect.p_adjusted is not None for effect in self.effects.values())


def trained_effects(study: ShownStudy, effects: Effects | None) -> TrainedEffects:
    """Every trained variant beside the unchanged model and beside its random twin, in every language."""
    found: dict[tuple[str, str, str], Effect] = {}
    for training in study.trainings:
        twin = twin_of(study.trainings, training)
        own, other = study.variants.named(training.name), study.variants.named(twin.name) if twin else None
        for language, effect in ({} if effects is None else effects.by.get(training.name, {})).items():
            found[_BASE, training.name, language] = effect
            if own and other and (beside := effect_between(other, own, language)):
                found[_RANDOM, training.name, language] = beside
    return TrainedEffects(judged(found))

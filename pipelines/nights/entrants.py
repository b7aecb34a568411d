"""What a night judges, and the night it is compared with."""

from datetime import UTC, datetime
from pathlib import Path

from polyneuron.eval.nightly.baseline import OK_STATUS, find_night, last_good, nights
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import ConfigError, StoreError
from polyneuron.neuron_core.edits.intervention import Intervention, is_intervention_file
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import Anatomy
from polyneuron.neuron_core.sets.variant_name import VariantName
from polyneuron.pipelines.config.study import NightlyConfig
from polyneuron.pipelines.stages.variants import BASE_VARIANT, Variant

NO_BASELINE, LAST_GOOD = "none", "last-good"


def tonight(config: NightlyConfig) -> NightlyConfig:
    """The configuration with a label of the night: today's date in UTC where it has none."""
    return config.model_copy(update={"night": config.night or f"{datetime.now(UTC):%Y-%m-%d}"})


def folder_of_summaries(config: NightlyConfig, out: Path | None) -> Path:
    """Where summaries go: `out`, else the store's folder. Raises ConfigError when neither is a place of this machine."""
    if out is None and "://" in config.store:
        raise ConfigError("The store is a URL: name a folder for the summaries with --out")
    return out or Path(config.store)


def variants_of_night(config: NightlyConfig, label: str, anatomy: Anatomy) -> list[Variant]:
    """The base model and the variants whose files the configuration names for the model `label`. Raises SetError for a file that
    cannot be read, or that is of a model of another shape."""
    variants = [BASE_VARIANT]
    for variant in config.variants:
        if variant.model != label:
            continue
        held = is_intervention_file(variant.file)
        change = Intervention.load(variant.file) if held else WeightEdit.load(variant.file)
        change.require_fit(anatomy)
        name = VariantName(kind="intervention" if held else "edit", label=variant.name)
        variants.append(Variant(name=name, neurons=change.neuron_set, change=change))
    return variants


def baseline_night(store: Store, model: str, night: str, baseline: str) -> str | None:
    """The label of the night that `baseline` means for a model on the night `night`, whether or not that has scores yet; None for
    `NO_BASELINE`. Raises StoreError where there is none."""
    if baseline == NO_BASELINE:
        return None
    if baseline != LAST_GOOD:
        return find_night(store, model, baseline).label
    found = nights(store, model)
    if night in [each.label for each in found]:
        good = last_good(store, model, night)
    else:
        good = next((each for each in reversed(found) if each.status == OK_STATUS), None)
    if good is None:
        raise StoreError(
            f"The store holds no good night of {model} before {night}. Run this one to the end, look at its scores, and accept "
            "it with --baseline none"
        )
    return good.label

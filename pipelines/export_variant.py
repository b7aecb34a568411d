"""A trained variant of a study as a Hugging Face folder."""

from pathlib import Path

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.pipelines.config.study import StudyConfig
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.record import warn_of_trusted_code
from polyneuron.pipelines.run.studied_model import model_path
from polyneuron.pipelines.stages.training_job import stored_edit


def export_variant(config: StudyConfig, variant: str, folder: Path) -> Path:
    """Writes the base model with the variant's trained values to `folder`; returns it.

    Raises:
        ConfigError: the study has no trained variant of that name, or several: of more than one model or training.
        SetError: the folder holds files or cannot be written, or the trained edit is gone, damaged or another.
    """
    store = Store(config.store)
    rows = store.read("training", columns=["model", "variant", "unit"]).to_pylist()
    trainings = sorted({(row["model"], row["unit"]) for row in rows if row["variant"] == variant})
    if not trainings:
        names = ", ".join(sorted({row["variant"] for row in rows})) or "none yet"
        raise ConfigError(f"{config.store} holds no trained variant {variant!r}; trained are: {names}")
    models = {model.label: model for model in config.models}
    configured = [(label, unit) for label, unit in trainings if label in models]
    if len(configured) != 1:
        listed = ", ".join(f"{label} ({unit})" for label, unit in trainings)
        raise ConfigError(
            f"{variant!r} names {len(configured)} trainings of the configured models; there are {listed}. Leave one model in "
            "the configuration, or export the file in the store's folder edits from Python (docs/training.md)"
        )
    ((label, unit),) = configured
    from polyneuron.neuron_core.edits.export import export_checkpoint
    from polyneuron.neuron_core.model.load import load_model

    edit = stored_edit(Ledger(store, label), unit)
    model = models[label]
    warn_of_trusted_code(model)
    base, tokenizer = load_model(
        model_path(model), model.dtype, revision=model.revision, trust_remote_code=model.trust_remote_code
    )
    say(f"exporting {variant} of {label}")
    return export_checkpoint(base, tokenizer, edit, folder)

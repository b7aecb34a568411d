"""`polyneuron report` and `polyneuron export`: a page, or an edited model, of what a store holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.pipelines.commands.options import (
    ConfigOption,
    Overrides,
    StudyInStore,
    from_home,
    loaded,
    spread,
)
from polyneuron.pipelines.run.ending import keep_tracebacks_beside
from polyneuron.pipelines.run.progress import say

if TYPE_CHECKING:
    from polyneuron.pipelines.config.study import StudyConfig

ReportedStore = Annotated[
    str | None, typer.Option("--store", help="The store's folder or URL; the study is as it was run there.")
]


def report(store: ReportedStore = None, config: ConfigOption = None, overrides: Overrides = None) -> None:
    """Write the report of what the store holds; does no model work."""
    from polyneuron.eval.store.store import Store
    from polyneuron.pipelines.study import write_study_report

    study = _study_with_results(store, config, overrides)
    print(write_study_report(study, Store(study.store)))


@spread
def export(
    variant: Annotated[str, typer.Argument(help="A set, which is switched off, or a trained variant.")],
    folder: Annotated[Path, typer.Argument(help="Where to; must be empty or not exist.", callback=from_home)],
    *,
    stored: StudyInStore,
) -> None:
    """Write a variant as a Hugging Face folder: the model without a set's neurons, or with trained ones."""
    from polyneuron.neuron_core.common.errors import SetError
    from polyneuron.neuron_core.common.files import require_free
    from polyneuron.neuron_core.edits.export import export_checkpoint
    from polyneuron.pipelines.run.chatter import quietly

    require_free(folder, SetError)  # before the model is read
    study = stored.opened()
    edit = study.edit(variant)
    say(f"exporting {variant} of {study.model}")
    with quietly():
        base = study.base
        written = export_checkpoint(base.model, base.tokenizer, edit, folder)
    print(written)


def _study_with_results(store: str | None, config: Path | None, overrides: list[str] | None) -> "StudyConfig":
    """The study of a store, as it was run there, or that of a configuration.

    Raises:
        ConfigError: neither is named, or both are.
    """
    from polyneuron.pipelines.config.load import from_mapping, load_study
    from polyneuron.pipelines.config.study import StudyConfig

    if (store is None) == (config is None):
        raise ConfigError(
            "Which study? polyneuron report takes the store that holds it (--store DIR) or its configuration (--config FILE): "
            "give one of them"
        )
    if store is None:
        return loaded(load_study, config or "", overrides)
    from polyneuron.pipelines.run.stored_study import stored_study

    keep_tracebacks_beside(store)
    kept = stored_study(store).model_dump(mode="json")
    return from_mapping(StudyConfig, kept, overrides or (), f"the configuration in {store}")

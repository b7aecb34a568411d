"""Options that several commands share, and how each reads its configuration."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from polyneuron.pipelines.config.study import NightlyConfig, StudyConfig
from polyneuron.pipelines.config.transfer import TransferConfig
from polyneuron.pipelines.run.ending import keep_tracebacks_beside

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="YAML configuration: a path, or the name of a shipped one.")
]
Overrides = Annotated[list[str] | None, typer.Argument(help="key.sub=value overrides of the configuration.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved configuration and the plan, then stop.")
]
DEFAULT_CONFIG = Path("study_smollm2")
_Config = TypeVar("_Config", StudyConfig, NightlyConfig, TransferConfig)


def loaded(
    load: Callable[[Path, Sequence[str]], _Config], config: Path, overrides: Sequence[str] | None
) -> _Config:
    """The configuration with its overrides; from here on a traceback is kept beside its store."""
    resolved = load(config, overrides or ())
    keep_tracebacks_beside(resolved.store)
    return resolved

"""The commands that do a study's work: `study` and its parts, `transfer` and `nightly`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyneuron.pipelines.commands.options import ConfigOption, DryRun, Overrides, loaded, of_a_study
from polyneuron.pipelines.commands.planning import dry_run as print_dry_run

if TYPE_CHECKING:
    from polyneuron.pipelines.config.study import StudyConfig


def study_command(name: str) -> Callable[..., None]:
    """The command that runs the stages which `name` stands for."""

    def command(study: "StudyConfig", dry_run: DryRun = False) -> None:
        if dry_run:
            return print_dry_run(study, name)
        from polyneuron.pipelines.study import run_study

        raise typer.Exit(run_study(study, name))

    return of_a_study(command, name)


def transfer(config: ConfigOption = None, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Fine-tune language neurons on a task in one language, judge in others, with and without interventions."""
    from polyneuron.pipelines.config.load import load_transfer

    resolved = loaded(load_transfer, config or "transfer_smollm2", overrides)
    if dry_run:
        return print_dry_run(resolved, "transfer")
    from polyneuron.pipelines.transfer.run import run_transfer

    raise typer.Exit(run_transfer(resolved))


def nightly(
    config: ConfigOption = None,
    overrides: Overrides = None,
    baseline: Annotated[
        str,
        typer.Option(help="Night to compare with: last-good, a night's label, or none to accept this one."),
    ] = "last-good",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the summaries; beside the store if left out.")
    ] = None,
) -> None:
    """Judge models, compare with an earlier night: exit 0 ok, 1 regression, 2 could not judge."""
    from polyneuron.pipelines.config.load import load_nightly
    from polyneuron.pipelines.nightly_run import run_nightly

    raise typer.Exit(run_nightly(loaded(load_nightly, config or "nightly_smollm2", overrides), baseline, out))

"""The commands that do a study's work: `study` and its parts, and `transfer`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

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

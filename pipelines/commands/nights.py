"""`polyneuron nightly`, and `polyneuron trend` over its nights."""

from pathlib import Path
from typing import Annotated

import typer

from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.pipelines.commands.options import ConfigOption, DryRun, Overrides, from_home, loaded
from polyneuron.pipelines.commands.planning import print_configuration, print_planned
from polyneuron.pipelines.run.ending import keep_tracebacks_beside

NIGHTLY_EXIT_CODES = (
    "Exit codes: 0 nothing became worse; 1 a regression; 2 could not judge (a failed model, no baseline, other settings, too few "
    "items), or an error; 130 interrupted. POLYNEURON_WEBHOOK_URL, GITHUB_STEP_SUMMARY and GITHUB_ACTIONS announce the night "
    "and never change the code."
)


def nightly(
    config: ConfigOption = None,
    overrides: Overrides = None,
    baseline: Annotated[
        str,
        typer.Option(help="Night to compare with: last-good, a night's label, or none to accept this one."),
    ] = "last-good",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the summaries; beside the store if left out.", callback=from_home),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Judge models, and say whether anything became worse since an earlier night."""
    from polyneuron.pipelines.config.load import load_nightly

    resolved = loaded(load_nightly, config or "nightly_smollm2", overrides)
    if dry_run:
        from polyneuron.pipelines.nights.entrants import folder_of_summaries, tonight
        from polyneuron.pipelines.plan.nights import night_ahead

        resolved, _ = tonight(resolved), folder_of_summaries(resolved, out)
        print_configuration(resolved)
        compared, refused = night_ahead(resolved, baseline)
        for label, night in compared.items():
            against = "nothing: the night would be accepted" if night is None else f"night {night}"
            print(f"{label}, night {resolved.night}, would be compared with {against}")
        return print_planned(resolved, refused)
    from polyneuron.pipelines.nights.judging import run_nightly

    raise typer.Exit(run_nightly(resolved, baseline, out))


def trend(
    store: Annotated[str, typer.Option(help="The folder or URL of the nights.")] = "stores/nightly",
    out: Annotated[
        Path | None,
        typer.Option(help="The page; trend.html in the store's folder if left out.", callback=from_home),
    ] = None,
) -> None:
    """Write the page of all nights: every score with its interval, and what became worse when."""
    keep_tracebacks_beside(store)
    if out is None and "://" in store:
        raise ConfigError("The store is a URL: name the page with --out")
    from polyneuron.eval.nightly.trend import TREND_FILE, write_trend
    from polyneuron.eval.store.store import Store

    opened = Store(store)
    opened.require_marker()
    print(write_trend(opened, out or Path(store) / TREND_FILE))

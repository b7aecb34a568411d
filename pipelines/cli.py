"""The command line: `polyneuron study|detect|ablate|train|evaluate|transfer|nightly|report|export|query|plan`.

Heavy libraries load inside the commands, so that `--help` and configuration errors answer at once.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
import yaml
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from polyneuron.cluster.capacity.devices import Machines, parse_devices
from polyneuron.neuron_core.common.errors import ConfigError, PolyneuronError, in_few_lines
from polyneuron.neuron_core.common.redact import redacted_within
from polyneuron.pipelines.config.load import load_nightly, load_study, load_transfer
from polyneuron.pipelines.config.study import NightlyConfig, StudyConfig
from polyneuron.pipelines.config.transfer import TransferConfig
from polyneuron.pipelines.run.ending import ended_by_signals, keep_tracebacks_beside, unexpected
from polyneuron.pipelines.stages.order import COMMANDS

app = typer.Typer(
    help="Finds the neurons a language model uses for each language, and what they are worth.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="YAML configuration: a path, or the name of a shipped one.")
]
Overrides = Annotated[list[str] | None, typer.Argument(help="key.sub=value overrides of the configuration.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved configuration and the plan, then stop.")
]
_Config = TypeVar("_Config", StudyConfig, NightlyConfig, TransferConfig)
DEFAULT_CONFIG = Path("study_smollm2")


def _study_command(name: str) -> Callable[..., None]:
    def command(
        config: ConfigOption = DEFAULT_CONFIG, overrides: Overrides = None, dry_run: DryRun = False
    ) -> None:
        resolved = _loaded(load_study, config, overrides)
        if dry_run:
            return _dry_run(resolved, name)
        from polyneuron.pipelines.study import run_study

        raise typer.Exit(run_study(resolved, name))

    return command


for _name, _command in COMMANDS.items():
    app.command(_name, help=_command.help)(_study_command(_name))


@app.command()
def transfer(
    config: ConfigOption = Path("transfer_smollm2"), overrides: Overrides = None, dry_run: DryRun = False
) -> None:
    """Fine-tune language neurons on a task in one language, judge in others, with and without interventions."""
    resolved = _loaded(load_transfer, config, overrides)
    if dry_run:
        return _dry_run(resolved, "transfer")
    from polyneuron.pipelines.transfer.run import run_transfer

    raise typer.Exit(run_transfer(resolved))


@app.command()
def nightly(
    config: ConfigOption = Path("nightly_smollm2"),
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
    from polyneuron.pipelines.nightly_run import run_nightly

    raise typer.Exit(run_nightly(_loaded(load_nightly, config, overrides), baseline, out))


@app.command()
def report(config: ConfigOption = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Write the report of what the store holds; does no model work."""
    from polyneuron.eval.store.store import Store
    from polyneuron.pipelines.study import write_study_report

    resolved = _loaded(load_study, config, overrides)
    print(write_study_report(resolved, Store(resolved.store)))


@app.command()
def export(
    variant: Annotated[str, typer.Argument(help="A trained variant, such as tuned-shared-sw.")],
    folder: Annotated[Path, typer.Argument(help="Where to; must be empty or not exist.")],
    config: ConfigOption = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Write a trained variant as a Hugging Face folder."""
    from polyneuron.pipelines.export_variant import export_variant

    print(export_variant(_loaded(load_study, config, overrides), variant, folder))


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="A SELECT over the store's tables.")],
    store: Annotated[str, typer.Option(help="The store's folder or URL.")] = "stores/smollm2",
) -> None:
    """Ask the store in SQL (DuckDB, read-only)."""
    from polyneuron.eval.store.query import query as run_query
    from polyneuron.eval.store.store import Store

    keep_tracebacks_beside(store)
    columns, rows = run_query(Store(store), sql)
    table = Table(*(Column(Text(name)) for name in columns))
    for row in rows:
        table.add_row(*(Text("null" if value is None else str(value)) for value in row))
    Console().print(table)


@app.command()
def plan(
    config: ConfigOption = DEFAULT_CONFIG,
    overrides: Overrides = None,
    *,
    devices: Annotated[
        str | None,
        typer.Option(
            help="Plan for [NODESx]DEVICESxKIND, such as 8x80GB or 2x8xH100, not for what is at hand."
        ),
    ] = None,
    host_gib: Annotated[float | None, typer.Option(help="Memory of a node, beside --devices.")] = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="First measure one layer with random weights on the device here."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print numbers for programs.")] = False,
) -> None:
    """Print what a study would take, stage by stage, and what to change where it does not fit; reads no weights."""
    if devices is None and host_gib is not None:
        raise ConfigError(
            "--host-gib is the memory of a stated node: state its devices too, such as --devices 8x80GB"
        )
    machines = None if devices is None else parse_devices(devices, host_gib)
    _print_plan(_loaded(load_study, config, overrides), machines, calibrate, as_json=as_json)


def _loaded(
    load: Callable[[Path, Sequence[str]], _Config], config: Path, overrides: Sequence[str] | None
) -> _Config:
    resolved = load(config, overrides or ())
    keep_tracebacks_beside(resolved.store)
    return resolved


def _dry_run(config: StudyConfig | TransferConfig, command: str) -> None:
    """Prints the configuration and the plan, and ends as a start would that is refused."""
    document = redacted_within(config.model_dump(mode="json"))
    print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    from polyneuron.pipelines.plan.refusals import refusals

    refused = refusals(config, command)
    _print_plan(config)
    _end_with({label: error.message for label, error in refused.items()}, len(config.models))


def _end_with(refused: Mapping[str, str], n_models: int) -> None:
    """Raises ConfigError where the only model is refused; of several, says which and ends with 1, or 2 if all are, as a study
    does."""
    if refused and n_models == 1:
        raise ConfigError(*refused.values())
    for label, message in refused.items():
        _say(f"{label}: {message}")
    if refused:
        raise typer.Exit(2 if len(refused) == n_models else 1)


def _print_plan(
    config: StudyConfig | TransferConfig,
    machines: Machines | None = None,
    calibrate: bool = False,
    *,
    as_json: bool = False,
) -> None:
    from polyneuron.pipelines.plan.page import as_data, print_plan
    from polyneuron.pipelines.plan.planning import plan as make_plan

    made = make_plan(config, machines, calibrate)
    if as_json:
        print(json.dumps(redacted_within(as_data(made)), indent=2))
    else:
        print_plan(made, Console(highlight=False, markup=False))
    _end_with({row.model: row.error for row in made.models if row.error is not None}, len(config.models))


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits.

    Code 0; 1 where one of several models failed, or a night is worse; 2 for errors, in one message; 130 after Ctrl-C, and
    128 and its number after another signal. An error that nobody foresaw is one message too; its traceback is in the log.
    """
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")  # what the terminal's encoding lacks is spelt out
    code, signals = 130, list[int]()
    try:
        with ended_by_signals() as signals:
            # typer returns the code of an Exit here, and turns Ctrl-C into one of 130
            code = app(arguments, prog_name="polyneuron", standalone_mode=False)
    except PolyneuronError as error:
        _fail(error.message, 2)
    except (KeyboardInterrupt, typer.Abort):
        pass
    except Exception as error:
        if hasattr(error, "format_message"):
            _fail(error.format_message() or "Name a command; polyneuron --help lists them", 2)
        _fail(unexpected(error), 2)
    if code == 130:
        code = 128 + signals[0] if signals else code
        _fail("Interrupted. Nothing that was finished is lost: run the same command again to go on.", code)
    sys.exit(code or 0)


def _fail(message: str, code: int) -> NoReturn:
    _say(message)
    sys.exit(code)


def _say(message: str) -> None:
    with suppress(OSError):  # nobody may be there to read it
        print(f"polyneuron: {in_few_lines(message)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

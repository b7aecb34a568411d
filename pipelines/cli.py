"""The command line, `polyneuron`: what its commands are called, and how it ends.

Heavy libraries load inside the commands, so that `--help` and configuration errors answer at once.
"""

import importlib.metadata
import sys
from typing import Annotated, NoReturn

import typer

from polyneuron.neuron_core.common.errors import PolyneuronError
from polyneuron.neuron_core.common.extras import missing_extra
from polyneuron.pipelines.commands.init import init
from polyneuron.pipelines.commands.lists import ls
from polyneuron.pipelines.commands.neurons import neuron, neurons
from polyneuron.pipelines.commands.nights import NIGHTLY_EXIT_CODES, nightly, trend
from polyneuron.pipelines.commands.options import heard
from polyneuron.pipelines.commands.planning import plan
from polyneuron.pipelines.commands.query import query
from polyneuron.pipelines.commands.results import export, report
from polyneuron.pipelines.commands.runs import study_command, transfer
from polyneuron.pipelines.commands.say import chat, say
from polyneuron.pipelines.commands.schema import schema
from polyneuron.pipelines.commands.sharing import pull, push
from polyneuron.pipelines.commands.table import table
from polyneuron.pipelines.run.ending import ended_by_signals, print_error, unexpected
from polyneuron.pipelines.stages.order import COMMANDS

app = typer.Typer(
    help="Finds the neurons a language model uses for each language, and what they are worth.",
    epilog="Exit codes are at the end of each command's help.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_EXIT_CODES = (
    "Exit codes: 0 done; 1 some of several models failed; 2 an error, told in one message; 130 interrupted."
)

for _name, _command in COMMANDS.items():
    app.command(_name, help=_command.help, epilog=_EXIT_CODES)(heard(study_command(_name)))
app.command(epilog=NIGHTLY_EXIT_CODES)(heard(nightly))
for _function in (transfer, report, export, plan, say, chat):
    app.command(epilog=_EXIT_CODES)(heard(_function))
for _function in (table, neurons, neuron, query, init, ls, schema, trend, push, pull):
    app.command(epilog=_EXIT_CODES)(_function)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"polyneuron {importlib.metadata.version('polyneuron')}")
        raise typer.Exit


@app.callback()
def _whole(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """What stands before a command."""


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
        if (missing := missing_extra(error)) is not None:
            _fail(missing.message, 2)
        if hasattr(error, "format_message"):
            said = error.format_message().replace(
                "Value error, ", ""
            )  # as pydantic begins what typer asks of it
            _fail(said or "Name a command; polyneuron --help lists them", 2)
        _fail(unexpected(error), 2)
    if code == 130:
        code = 128 + signals[0] if signals else code
        _fail("Interrupted. Nothing that was finished is lost: run the same command again to go on.", code)
    sys.exit(code or 0)


def _fail(message: str, code: int) -> NoReturn:
    print_error(message)
    sys.exit(code)


if __name__ == "__main__":
    main()

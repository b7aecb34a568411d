"""`polyneuron plan`, and the `--dry-run` of the commands that do work."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from polyneuron.neuron_core.common.errors import ConfigError, PolyneuronError
from polyneuron.neuron_core.common.redact import redacted_within
from polyneuron.pipelines.commands.options import of_a_study
from polyneuron.pipelines.run.ending import print_error

if TYPE_CHECKING:
    from polyneuron.cluster.capacity.devices import Machines
    from polyneuron.pipelines.config.study import NightlyConfig, StudyConfig
    from polyneuron.pipelines.config.transfer import TransferConfig


def _plan(
    study: "StudyConfig",
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
    from polyneuron.cluster.capacity.devices import parse_devices

    machines = None if devices is None else parse_devices(devices, host_gib)
    _print_plan(study, machines, calibrate, as_json=as_json)


plan = of_a_study(_plan, "plan")


def dry_run(config: "StudyConfig | TransferConfig", command: str) -> None:
    """Prints the configuration and the plan, and ends as a start would that is refused."""
    print_configuration(config)
    from polyneuron.pipelines.plan.refusals import refusals
    from polyneuron.pipelines.run.chatter import quietly

    with quietly():
        refused = refusals(config, command)
    print_planned(config, refused)


def print_configuration(config: "StudyConfig | TransferConfig | NightlyConfig") -> None:
    """Prints the resolved configuration as YAML, without credentials."""
    import yaml

    document = redacted_within(config.model_dump(mode="json"))
    print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def print_planned(
    config: "StudyConfig | TransferConfig | NightlyConfig", refused: Mapping[str, PolyneuronError]
) -> None:
    """Prints the plan, unless all models were refused. Raises ConfigError, or ends, where some were or cannot be planned."""
    if len(refused) < len(config.models):
        _print_plan(config)
    _end_with({label: error.message for label, error in refused.items()}, len(config.models))


def _end_with(refused: Mapping[str, str], n_models: int) -> None:
    """Raises ConfigError where the only model is refused; of several, says which and ends with 1, or 2 if all are, as a study
    does."""
    if refused and n_models == 1:
        raise ConfigError(*refused.values())
    for label, message in refused.items():
        print_error(f"{label}: {message}")
    if refused:
        raise typer.Exit(2 if len(refused) == n_models else 1)


def _print_plan(
    config: "StudyConfig | TransferConfig | NightlyConfig",
    machines: "Machines | None" = None,
    calibrate: bool = False,
    *,
    as_json: bool = False,
) -> None:
    from rich.console import Console

    from polyneuron.pipelines.plan.page import as_data, print_plan
    from polyneuron.pipelines.plan.planning import plan as make_plan
    from polyneuron.pipelines.run.chatter import quietly

    with quietly():
        made = make_plan(config, machines, calibrate)
    if as_json:
        print(json.dumps(redacted_within(as_data(made)), indent=2))
    else:
        print_plan(made, Console(highlight=False, markup=False))
    _end_with({row.model: row.error for row in made.models if row.error is not None}, len(config.models))

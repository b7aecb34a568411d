"""`polyneuron schema`: every key of a configuration, for editors and programs."""

import json
from enum import StrEnum
from typing import Annotated

import typer


class Kind(StrEnum):
    """What a configuration configures."""

    study = "study"
    nightly = "nightly"
    transfer = "transfer"


def schema(
    kind: Annotated[Kind, typer.Argument(help="Of which configuration.")] = Kind.study,
) -> None:
    """Print the JSON schema of a configuration, which describes every key."""
    from polyneuron.pipelines.config.reference import schema as schema_of

    print(json.dumps(schema_of(kind), indent=2))

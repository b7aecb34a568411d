"""Every key of the configurations, read from the sections themselves: the JSON schema, and the page of the documentation."""

from collections.abc import Iterator, Mapping
from typing import Any

from polyneuron.pipelines.config.study import NightlyConfig, StudyConfig
from polyneuron.pipelines.config.transfer import TransferConfig

CONFIGURATIONS = (StudyConfig, NightlyConfig, TransferConfig)
_HEAD = """# Configuration

Every key of the three kinds of configuration, made from the code. `polyneuron schema study|nightly|transfer` prints the same
as a JSON schema, for editors and programs. A key without a default must be given, and `kind` in every file. How files and
overrides are written: [Run a study](study.md).
"""


def schema(kind: str) -> dict[str, Any]:
    """The JSON schema of the configuration of a kind: study, nightly or transfer."""
    (configuration,) = (
        configuration
        for configuration in CONFIGURATIONS
        if configuration.model_fields["kind"].default == kind
    )
    made = configuration.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "required": ["kind", *made.get("required", ())],  # of a file
    }


def undescribed(of: Mapping[str, Any]) -> Iterator[str]:
    """The keys of a schema, and its sections, that have no description."""
    for name, section in _sections(of):
        if not section.get("description"):
            yield name
        for key, field in section["properties"].items():
            if not field.get("description"):
                yield f"{name}.{key}"


def page() -> str:
    """All sections as a page of Markdown; one that several configurations share stands once."""
    sections: dict[str, Mapping[str, Any]] = {}
    for configuration in CONFIGURATIONS:
        top, *others = _sections(schema(configuration.model_fields["kind"].default))
        sections |= dict([top, *others])
    return _HEAD + "".join(_section(name, section) for name, section in sections.items())


def _sections(of: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield of["title"], of
    for name, section in of.get("$defs", {}).items():
        if "properties" in section:
            yield name, section


def _section(name: str, section: Mapping[str, Any]) -> str:
    """One section: its heading, what it is, and a table of its keys."""
    rows = "".join(
        f"| `{key}` | {_cell(_type(field))} | {_cell(_default(field))} | {_cell(field['description'])} |\n"
        for key, field in section["properties"].items()
    )
    words = " ".join(section["description"].split())
    return f"\n## {name}\n\n{words}\n\n| key | value | default | what it says |\n|---|---|---|---|\n{rows}"


def _type(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        name = str(field["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_type(part) for part in field["anyOf"] if part.get("type") != "null")
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    kind = field.get("type")
    if kind == "array":
        return f"list of {_type(field['items'])}"
    if kind == "object":
        return f"mapping to {_type(field['additionalProperties'])}"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}[
        str(kind)
    ]
    limits = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    return ", ".join([words, *(f"{limits[key]} {field[key]:,}" for key in limits if key in field)])


def _default(field: Mapping[str, Any]) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    if value is None:
        return "none"
    if isinstance(value, dict) and value:
        return "as below"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")

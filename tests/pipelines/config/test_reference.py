"""The schema describes every key; `tests/test_docs.py` holds the page of the documentation against it."""

import json
from typing import Any

import pytest
import yaml

from polyneuron.pipelines import cli
from polyneuron.pipelines.config.load import CONFIGS
from polyneuron.pipelines.config.reference import CONFIGURATIONS, page, schema, undescribed
from polyneuron.pipelines.config.section import Section

KINDS = [configuration.model_fields["kind"].default for configuration in CONFIGURATIONS]


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_is_described(kind: str) -> None:
    assert not list(undescribed(schema(kind)))


def test_a_key_without_a_description_is_found() -> None:
    class Bare(Section):
        """A section."""

        said: int = 1
        """What it is."""
        unsaid: int = 2

    assert list(undescribed(Bare.model_json_schema())) == ["Bare.unsaid"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_prints_the_schema_of_what_is_loaded(
    kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["schema", kind])
    assert left.value.code == 0
    printed = json.loads(capfd.readouterr().out)
    for file in CONFIGS.glob("*.yaml"):
        data: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
        if data["kind"] == kind:
            assert set(data) <= set(printed["properties"]) and set(printed["required"]) <= set(data)


def test_the_page_has_every_configuration() -> None:
    assert all(f"\n## {configuration.__name__}\n" in page() for configuration in CONFIGURATIONS)

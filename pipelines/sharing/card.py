"""The card of a shared repository: its README.md, whose YAML says of what and how the files were made, and their checksums."""

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import jinja2
import yaml
from pydantic import Field, ValidationError, field_validator

from polyneuron.eval.tables.grid import grid
from polyneuron.eval.tables.text import escape_markdown, markdown
from polyneuron.neuron_core.common.errors import ConfigError, SharingError
from polyneuron.pipelines.config.section import Section
from polyneuron.pipelines.config.strict_yaml import parsed_yaml

CARD = "README.md"
MOST_CARD_BYTES = 4 << 20
REPORTS = ("report.html", "results.json")
_KEY = "polyneuron"
_NAME = r"[A-Za-z0-9%][A-Za-z0-9%~_.-]{0,219}"
_FILES = re.compile(
    rf"sets/{_NAME}\.(parquet|json|csv)|edits/{_NAME}\.safetensors|{'|'.join(map(re.escape, REPORTS))}"
)
"""What a repository may hold: names without a folder of their own, none hidden, nothing that a reader would unpickle."""
_HEX = Field(pattern=r"^[0-9a-f]{64}$")


class FileOnCard(Section):
    """One file of a repository."""

    sha256: Annotated[str, _HEX]
    """Checksum of its bytes."""
    holds: str
    """What it is, for people."""


class Card(Section):
    """What a repository says of itself."""

    version: Literal[1] = 1
    """Version of the card."""
    model: str
    """The model's name in the study, which is the one in the sets."""
    source: str | None = None
    """The model's name on the hub; None where it was read from a folder."""
    revision: str | None = None
    """The model's commit on the hub; None where it is not known."""
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """Hash of the model's files as the study had them, with the commit of a hub's model."""
    content: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = None
    """Hash of the model's files wherever they lie, by which copies of them are known and another model is refused; None where
    they were not on the machine that shared, and then the fingerprint alone decides."""
    selection: str
    """The name of the selection that the sets are of."""
    rule: dict[str, Any]
    """The rule that selected the neurons, with its settings."""
    corpora: dict[str, str] = Field(min_length=1)
    """By language, the hash of the sentences in which neurons were found."""
    code: str
    """The program and its version."""
    files: dict[str, FileOnCard] = Field(min_length=1)
    """By path, every file that belongs to the repository."""

    @field_validator("files")
    @classmethod
    def _stay_where_they_belong(cls, files: dict[str, FileOnCard]) -> dict[str, FileOnCard]:
        if strange := sorted(name for name in files if not _FILES.fullmatch(name)):
            raise ValueError(f"{strange[0]!r} is no name of a set, an edit or a report")
        if len({name.casefold() for name in files}) < len(files):
            raise ValueError(
                "two names differ in upper and lower case alone, which some file systems do not tell apart"
            )
        return files


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def written(card: Card, repo: str) -> str:
    """The card as README.md of the repository `repo`, which the Hub shows."""
    about: dict[str, Any] = {
        "library_name": "polyneuron",
        "tags": ["polyneuron", "interpretability", "neurons"],
        "language": sorted(card.corpora),
    }
    if card.source is not None:
        about["base_model"] = card.source
    front = yaml.safe_dump(about | {_KEY: card.model_dump(mode="json")}, sort_keys=False, allow_unicode=True)
    files = grid(
        "Files",
        ["file", "holds", "SHA-256"],
        [[name, file.holds, file.sha256[:16]] for name, file in card.files.items()],
    )
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    templates.filters["text"] = lambda value: escape_markdown(str(value))
    body = templates.get_template("card.md.j2").render(
        card=card, repo=repo, files=markdown(files), first=next(iter(card.files))
    )
    return f"---\n{front}---\n\n{body}"


def read(text: str, where: str) -> Card:
    """The card in a README.md that comes from `where`. Raises SharingError for a page without one that can be used."""
    front = re.match(r"---\r?\n(.*?)\r?\n---\r?\n", text, re.DOTALL)
    try:
        about = parsed_yaml(front[1], f"the card of {where}") if front else None
        held = about.get(_KEY) if isinstance(about, dict) else None
        if held is None:
            raise SharingError(
                f"{where} has no card of Polyneuron: what polyneuron push wrote has one in {CARD}"
            )
        return Card.model_validate(held)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SharingError(f"The card of {where} cannot be used: {place}: {first['msg']}") from error
    except ConfigError as error:
        raise SharingError(error.message) from error

"""Where texts come from and how they are read: for the sentences of a study, and for training. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from polyneuron.pipelines.config.section import Section


class ReadingConfig(Section):
    """How the texts of a source are read. What is not set is as the preset or the kind of source has it."""

    text_column: str | None = None
    """The column or key of the text; `outer.inner` inside a struct or object."""
    escaped_newlines: bool | None = None
    """Whether the texts hold backslash-n for a line break."""
    data_files: str | None = None
    """A pattern of file names below the source."""
    revision: str | None = None
    """The commit of a hub dataset."""


class SourceConfig(ReadingConfig):
    """Where sentences come from and how they are read. What is not set is as in `corpus`."""

    source: str | None = None
    """Preset, path, pattern, URL or dataset id; `{language}` stands for the code."""
    running_text: bool | None = None
    """Whether a text is a document, to be split into sentences."""


class CorpusConfig(SourceConfig):
    """Where sentences come from, and how many are used."""

    source: str = "embedded"
    """Preset (`polyneuron ls corpora`), path, pattern, URL or dataset id; `{language}` stands for the code."""
    sources: dict[str, SourceConfig] = Field(default_factory=dict)
    """What differs by language, by code: a section like this one, or the source alone."""
    n_detection: int = Field(default=100, ge=1)
    """The most windows or sentences of each language that impacts are measured on."""
    n_heldout: int = Field(default=50, ge=1)
    """Sentences of each language kept apart, on which perplexity is measured."""
    min_tokens: int = Field(default=3, ge=2)
    """Sentences with fewer tokens are left out."""
    max_tokens: int = Field(default=48, ge=2)
    """Tokens of a window; longer sentences are cut."""
    detect_in: Literal["windows", "sentences"] = "windows"
    """Detection reads windows, all of `max_tokens` tokens and equally many of every language, or sentences as they are."""
    max_documents: int = Field(default=100_000, ge=1)
    """How many texts of a source are read at most."""

    @field_validator("sources", mode="before")
    @classmethod
    def _source_alone(cls, sources: object) -> object:
        if not isinstance(sources, dict):
            return sources
        return {code: {"source": own} if isinstance(own, str) else own for code, own in sources.items()}

    @model_validator(mode="after")
    def _room_for_a_sentence(self) -> CorpusConfig:
        if self.min_tokens > self.max_tokens:
            raise ValueError(f"min_tokens {self.min_tokens} is above max_tokens {self.max_tokens}")
        return self


class MixturePart(ReadingConfig):
    """What one corpus of a training mixture gives."""

    share: float = Field(default=1.0, gt=0)
    """Of the documents; shares need not add up to 1."""

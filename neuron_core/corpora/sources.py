"""Where texts come from: the embedded corpus, a dataset on the Hugging Face hub, or files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import fsspec

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.common.extras import extras_named
from polyneuron.neuron_core.common.redact import redacted
from polyneuron.neuron_core.corpora.embedded_corpus import embedded, embedded_languages
from polyneuron.neuron_core.corpora.language_files import list_files
from polyneuron.neuron_core.corpora.readers import read_file, text_of

_ON_THE_HUB = re.compile(r"^hf://datasets/(?P<id>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?(?P<rest>/.*)?$")


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusSource:
    """A corpus in one or many languages. `{language}` in path, config and data_files is the language code."""

    kind: Literal["embedded", "hub", "files"]
    """The embedded corpus, a Hugging Face dataset, or files."""
    path: str | None = None
    """Of hub: a dataset id, or a folder laid out like one; of files: a file, folder, pattern or fsspec URL."""
    config: str | None = None
    """The dataset's configuration."""
    split: str = "train"
    """The dataset's split."""
    revision: str | None = None
    """The commit of a hub dataset, also of one read as files (hf://datasets/…)."""
    text_column: str = "text"
    """The column or key that holds the text; `outer.inner` for one inside a struct or object."""
    data_files: str | None = None
    """A pattern of file names below `path`."""
    running_text: bool = False
    """Whether a text is a document, to be split into sentences."""
    escaped_newlines: bool = False
    """Whether the texts hold backslash-n for a line break."""

    def for_language(self, language: str) -> CorpusSource:
        """The same source with `{language}` filled in."""
        fields = {name: getattr(self, name) for name in ("path", "config", "data_files")}
        return replace(self, **{name: v and v.replace("{language}", language) for name, v in fields.items()})

    def describe(self) -> str:
        """One line that names the source, without its revision and without credentials."""
        if self.kind == "embedded":
            return "embedded"
        config = f":{self.config}:{self.split}" if self.kind == "hub" and self.config else ""
        return redacted(f"{self.path}{config}" + (f" [{self.data_files}]" if self.data_files else ""))


def iter_texts(source: CorpusSource, language: str, others: Sequence[str] = ()) -> Iterator[str]:
    """Yields the texts of one language in the source's order, read as they are asked for; a null is "".

    `others`: the other languages in use, which take the files of a folder that are named for them.

    Raises:
        CorpusError: the source is missing, empty or unreadable, lacks the text column, or lacks the language.
    """
    if source.kind == "embedded":
        if language not in embedded_languages():
            raise CorpusError(
                f"The embedded corpus has no {language!r}; it has {', '.join(embedded_languages())}. Name a source that has it: "
                f"--corpus (a folder, a preset), corpus.source, or corpus.sources.{language} for it alone."
            )
        yield from embedded()[language]
        return
    if not source.path:
        raise CorpusError(f"A corpus of kind {source.kind!r} needs a path. Name one with corpus.source.")
    filled = source.for_language(language)
    n_texts = 0
    texts = _hub_texts(filled, language) if filled.kind == "hub" else _file_texts(source, language, others)
    for text in texts:
        n_texts += 1
        yield text.replace("\\n", "\n") if source.escaped_newlines else text
    if not n_texts:
        raise CorpusError(
            f"The corpus {filled.describe()} is empty: not one text for the language {language!r}. Fill "
            "it, or name another with corpus.source."
        )


def pin(source: CorpusSource, language: str) -> CorpusSource:
    """Gives the source with `revision` set to the commit it is read at, so that a later run reads the same texts. Asks the
    hub; the embedded corpus and files elsewhere come back unchanged. Raises CorpusError when the hub does not answer or
    does not know the dataset, or a revision is named for what has none."""
    filled = source.for_language(language)
    path = filled.path or ""
    in_url = _ON_THE_HUB.match(path)
    if in_url or (filled.kind == "hub" and not Path(path).exists()):
        name = in_url["id"] if in_url else path
        wanted = filled.revision or (in_url["revision"] if in_url else None)
        try:
            from huggingface_hub import HfApi

            return replace(source, revision=HfApi().dataset_info(name, revision=wanted).sha)
        except Exception as error:
            raise _hub_error(filled, language, error) from error
    if source.revision is not None:
        raise CorpusError(
            f"The corpus {filled.describe()} has no revisions, but corpus.revision is {source.revision!r}. "
            "Leave corpus.revision out, or name a hub dataset."
        )
    return source


def files_of(
    source: CorpusSource, language: str, others: Sequence[str] = ()
) -> tuple[fsspec.AbstractFileSystem, list[str]]:
    """The files that a source of kind files is read from, for one language, at its revision.

    Raises:
        CorpusError: as `list_files`.
    """
    filled = source.for_language(language)
    url = str(filled.path)
    on_the_hub = _ON_THE_HUB.match(url)
    if on_the_hub and filled.revision:
        revision = filled.revision.replace("/", "%2F")
        url = f"hf://datasets/{on_the_hub['id']}@{revision}{on_the_hub['rest'] or ''}"
    elif "://" not in url:
        url = str(Path(url).expanduser())
    named = "{language}" in str(source.path)
    return list_files(url, filled.data_files, language, others=others, for_language=named)


def _file_texts(source: CorpusSource, language: str, others: Sequence[str]) -> Iterator[str]:
    fs, names = files_of(source, language, others)
    for name in names:
        yield from read_file(fs, name, source.text_column)


def _hub_texts(source: CorpusSource, language: str) -> Iterator[str]:
    with extras_named():
        from datasets import load_dataset

    try:
        rows = load_dataset(
            str(source.path),
            name=source.config,
            split=source.split,
            revision=source.revision,
            data_files=source.data_files,
            streaming=True,
        )
        for row in rows:
            yield text_of(row, source.text_column, source.describe())
    except CorpusError:
        raise
    except Exception as error:
        raise _hub_error(source, language, error) from error


def _hub_error(source: CorpusSource, language: str, error: Exception) -> CorpusError:
    return CorpusError(
        f"The dataset {source.describe()} (language {language!r}, split {source.split!r}, revision "
        f"{source.revision or 'newest'}) cannot be read: {type(error).__name__}: {error}. Check the id and the network; for "
        "a gated dataset accept its terms on its page and set HF_TOKEN; without network use corpus.source: embedded or a "
        "local folder. Datasets that need their own code are not run: name their files, as hf://datasets/<id>/<file>."
    )

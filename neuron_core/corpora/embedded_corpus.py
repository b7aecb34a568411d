"""The embedded parallel corpus: small and original; row i says the same thing in every language."""

import json
from functools import lru_cache
from importlib.resources import files

from polyneuron.neuron_core.common.errors import CorpusError

_NOT_A_LANGUAGE = ("id", "topic")


@lru_cache(maxsize=1)
def _rows() -> tuple[dict[str, str], ...]:
    """Rows of every part in order of file name: "id", "topic" and one sentence per language code."""
    folder = files("polyneuron.neuron_core.corpora") / "embedded"
    names = sorted(part.name for part in folder.iterdir() if part.name.endswith(".jsonl"))
    if not names:
        raise CorpusError(
            f"The embedded corpus has no part_*.jsonl under {folder}: the installation is incomplete. "
            "Install the package again, or name another source with corpus.source."
        )
    lines = (line for name in names for line in (folder / name).read_text(encoding="utf-8").splitlines())
    return tuple(json.loads(line) for line in lines if line.strip())


def embedded_languages() -> tuple[str, ...]:
    """The language codes of the embedded corpus, in the order of its first row."""
    return tuple(key for key in _rows()[0] if key not in _NOT_A_LANGUAGE)


def embedded() -> dict[str, list[str]]:
    """The sentences of each language; index i is the same row in every language."""
    return {language: [row[language] for row in _rows()] for language in embedded_languages()}

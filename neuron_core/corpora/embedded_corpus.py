"""The embedded parallel corpus: small and original; row i says the same thing in every language."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files

from polyneuron.neuron_core.common.errors import CorpusError

NOT_A_LANGUAGE = ("id", "topic")


@lru_cache(maxsize=1)
def _rows() -> tuple[dict[str, str], ...]:
    folder = files("polyneuron.neuron_core.corpora") / "embedded"
    parts = sorted(
        (part for part in folder.iterdir() if part.name.startswith("part_") and part.name.endswith(".jsonl")),
        key=lambda part: part.name,
    )
    if not parts:
        raise CorpusError(
            f"The embedded corpus has no part_*.jsonl under {folder}: the installation is incomplete. "
            "Install the package again, or name another source with corpus.source."
        )
    rows: list[dict[str, str]] = []
    seen: set[str] = set()
    for part in parts:
        for number, line in enumerate(part.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip():
                continue
            row: dict[str, str] = json.loads(line)
            if row["id"] in seen:
                raise CorpusError(
                    f"The embedded corpus holds the row id {row['id']!r} twice (second in {part.name}, line "
                    f"{number}): detection and held-out could overlap. Give the row an id of its own."
                )
            if rows and row.keys() != rows[0].keys():
                raise CorpusError(
                    f"{part.name}, line {number}: the row {row['id']!r} has the keys {sorted(row)}, the "
                    f"first row has {sorted(rows[0])}: the corpus is not parallel. Complete the row."
                )
            seen.add(row["id"])
            rows.append(row)
    return tuple(rows)


def embedded_rows() -> list[dict[str, str]]:
    """Rows of every part in order of file name: "id", "topic" and one sentence per language code."""
    return [dict(row) for row in _rows()]


def embedded_languages() -> tuple[str, ...]:
    """Language codes of the embedded corpus, in the order of its first row."""
    return tuple(key for key in _rows()[0] if key not in NOT_A_LANGUAGE)


def embedded() -> dict[str, list[str]]:
    """Sentences per language; index i is the same row in every language."""
    return {language: [row[language] for row in _rows()] for language in embedded_languages()}

"""The embedded corpus is parallel, large enough, free of duplicates, and in the language it says."""

import subprocess
import sys

import pytest

from polyneuron.neuron_core.corpora.embedded_corpus import _rows, embedded, embedded_languages

LANGUAGES = ("en", "zh", "th", "sw", "fr", "de")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_150_distinct_sentences(language: str) -> None:
    sentences = embedded()[language]
    assert len(sentences) == len(set(sentences)) >= 150
    assert all(sentence.strip() == sentence and len(sentence) >= 5 for sentence in sentences)


def test_row_i_is_the_same_row_in_every_language() -> None:
    rows = _rows()
    assert set(embedded_languages()) == set(LANGUAGES)
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(row.keys() == rows[0].keys() for row in rows)
    assert len({row["topic"] for row in rows}) >= 10
    for language, sentences in embedded().items():
        assert sentences == [row[language] for row in rows]


def test_scripts_are_those_of_the_languages() -> None:
    def share(language: str, low: str, high: str) -> float:
        texts = embedded()[language]
        return sum(any(low <= character <= high for character in text) for text in texts) / len(texts)

    assert share("zh", "\u4e00", "\u9fff") == 1.0
    assert share("th", "\u0e00", "\u0e7f") == 1.0
    for language in ("en", "sw", "fr", "de"):
        assert share(language, "\u0e00", "\u9fff") == 0.0


def test_the_sentences_given_out_are_copies() -> None:
    embedded()["en"][0] = "changed"
    assert embedded()["en"][0] != "changed"


def test_nothing_here_imports_torch() -> None:
    code = (
        "import sys, polyneuron.neuron_core.corpora.sampling, polyneuron.neuron_core.corpora.presets; "
        "assert 'torch' not in sys.modules and 'datasets' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

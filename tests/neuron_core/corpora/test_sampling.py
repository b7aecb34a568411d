"""Samples: seeded, disjoint, free of duplicates, with counts that add up."""

from collections import Counter
from pathlib import Path

import pytest

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.corpora.embedded_corpus import embedded
from polyneuron.neuron_core.corpora.sampling import CorpusSample, sample_corpus
from polyneuron.neuron_core.corpora.sources import CorpusSource

EMBEDDED = CorpusSource(kind="embedded")


def _words(text: str) -> list[int]:
    return [len(word) for word in text.split()]


def _file(folder: Path, lines: list[str]) -> CorpusSource:
    (folder / "some.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return CorpusSource(kind="files", path=str(folder / "some.txt"))


def _adds_up(sample: CorpusSample) -> bool:
    return sample.n_read == len(sample.detection) + len(sample.heldout) + sum(sample.dropped.values())


def test_the_embedded_split_takes_the_same_rows_in_every_language() -> None:
    corpus = embedded()
    rows = []
    for language in corpus:
        sample = sample_corpus(EMBEDDED, language, 100, 50, seed=3)
        assert _adds_up(sample) and sample.n_read == len(corpus[language])
        where = {" ".join(text.split()): i for i, text in enumerate(corpus[language])}
        rows.append(([where[t] for t in sample.detection], [where[t] for t in sample.heldout]))
    assert all(row == rows[0] for row in rows)
    assert len(rows[0][0]) == 100 and len(rows[0][1]) == 50 and not set(rows[0][0]) & set(rows[0][1])


def test_the_embedded_rows_stay_parallel_when_a_limit_drops_some() -> None:
    def characters(text: str) -> list[int]:
        return [0] * len(text)

    corpus, chosen = embedded(), []
    for language in ("en", "zh"):
        sample = sample_corpus(EMBEDDED, language, 20, 10, seed=0, tokenizer=characters, min_tokens=14)
        assert sample.dropped["fewer than 14 tokens"] > 0 and _adds_up(sample)
        assert all(len(text) >= 14 for text in sample.detection)
        chosen.append([corpus[language].index(text) for text in sample.detection])
    assert chosen[0] == chosen[1]


def test_the_seed_decides() -> None:
    first, again, other = (sample_corpus(EMBEDDED, "fr", 50, 20, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.sha != other.sha and set(first.detection) != set(other.detection)
    assert sample_corpus(EMBEDDED, "fr", 49, 21, seed=1).sha != first.sha


def test_files_are_cleaned_drawn_and_counted(tmp_path: Path) -> None:
    lines = [f"sentence number {i} here" for i in range(200)]
    lines += ["sentence  number 7\there", "café au lait noir", "cafe\u0301 au lait noir"]
    lines += ["", "  ", "too short"]
    source = _file(tmp_path, lines)
    sample = sample_corpus(source, "en", 150, 51, seed=0, tokenizer=_words, min_tokens=3)
    assert sample.dropped == {"empty": 2, "exact duplicate": 2, "fewer than 3 tokens": 1}
    assert _adds_up(sample) and sample.n_read == len(lines)
    assert not set(sample.detection) & set(sample.heldout)
    assert {*sample.detection, *sample.heldout} == {*lines[:200], "café au lait noir"}
    few = sample_corpus(source, "en", 30, 10, seed=0, tokenizer=_words)
    assert _adds_up(few) and few.n_read == len(lines) and few.dropped["not drawn"] >= 160
    assert few == sample_corpus(source, "en", 30, 10, seed=0, tokenizer=_words)
    assert few.detection != sample_corpus(source, "en", 30, 10, seed=1, tokenizer=_words).detection


def test_every_sentence_has_the_same_chance(tmp_path: Path) -> None:
    source, drawn = _file(tmp_path, [f"line {i}" for i in range(20)]), Counter[str]()
    for seed in range(400):
        drawn.update(sample_corpus(source, "en", 4, 1, seed=seed).detection)
    # 80 expected each, standard deviation 8.
    assert len(drawn) == 20 and all(40 < count < 120 for count in drawn.values())


def test_running_text_is_split_and_documents_are_limited(tmp_path: Path) -> None:
    lines = [f"First of {i}. Second of {i}? Third of {i}!" for i in range(10)]
    path = _file(tmp_path, lines).path
    source = CorpusSource(kind="files", path=path, running_text=True)
    sample = sample_corpus(source, "en", 8, 4, seed=0, max_documents=4)
    assert sample.n_read == 12 and not sample.dropped
    assert "Third of 3!" in sample.detection + sample.heldout


def test_lone_surrogates_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "good one"}\n{"text": "bad \\ud800"}\n{"text": "good two"}\n')
    sample = sample_corpus(CorpusSource(kind="files", path=str(tmp_path / "x.jsonl")), "en", 1, 1, seed=0)
    assert sample.dropped == {"not valid Unicode": 1} and _adds_up(sample)


def test_too_few_sentences_says_how_many_and_why(tmp_path: Path) -> None:
    source = _file(tmp_path, ["one two three", "one two three", "four", "five six seven"])
    with pytest.raises(CorpusError) as caught:
        sample_corpus(source, "sw", 5, 2, seed=0, tokenizer=_words)
    counts = ("5 for detection", "2 held out", "gave 2", "1 exact duplicate", "1 fewer than 3 tokens")
    for part in ("'sw'", *counts):
        assert part in caught.value.message
    with pytest.raises(CorpusError, match=r"make 1000, but embedded gave 1[5-9]\d"):
        sample_corpus(EMBEDDED, "de", 900, 100, seed=0)


def test_what_nobody_sees_makes_no_sentence(tmp_path: Path) -> None:
    """Zero-width characters are no text, and two sentences that look the same are the same."""
    lines = [
        "\u200b",
        "\ufeff\u2060",
        "\u00ad \u200d",
        "seen here",
        "seen\u200b here",
        "\ufeffseen here\u200b",
        "caf\u00e9 x",
        "cafe\u0301 x",
        "می\u200cخواهم x",
    ]
    (tmp_path / "x.txt").write_text("\n".join(lines), encoding="utf-8")
    sample = sample_corpus(CorpusSource(kind="files", path=str(tmp_path / "x.txt")), "en", 2, 1, seed=0)
    assert sorted((*sample.detection, *sample.heldout)) == ["café x", "seen here", "می\u200cخواهم x"]
    assert sample.dropped == {"empty": 3, "exact duplicate": 3}


def test_a_very_long_line_is_tokenised_at_its_beginning_only(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("\n".join(["many words " * 300_000, "a b", "c d e f"]), encoding="utf-8")
    n_characters = []

    def words(text: str) -> list[int]:
        n_characters.append(len(text))
        return list(range(len(text.split())))

    source = CorpusSource(kind="files", path=str(tmp_path / "x.txt"))
    sample = sample_corpus(source, "en", 1, 1, seed=0, tokenizer=words)
    assert sample.dropped == {"fewer than 3 tokens": 1} and max(n_characters) < 1000

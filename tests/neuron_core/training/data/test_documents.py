"""Documents for training: mixed by seed, whole, without duplicates and without the study's sentences."""

import json
import random
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.corpora.embedded_corpus import embedded
from polyneuron.neuron_core.corpora.presets import PRESETS
from polyneuron.neuron_core.corpora.sampling import sample_corpus
from polyneuron.neuron_core.corpora.sources import CorpusSource
from polyneuron.neuron_core.training.data.documents import (
    EMBEDDED_ROWS_A_DOCUMENT,
    EXCLUDED,
    DocumentCounts,
    SentenceFilter,
    collapsed,
    documents,
    mixture_of,
)


def _parquet(folder: Path, texts: list[str | None], name: str = "sw.parquet") -> CorpusSource:
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), folder / name)
    return CorpusSource(kind="files", path=str(folder / name))


def _jsonl(folder: Path, texts: list[str], name: str = "sw.jsonl") -> CorpusSource:
    (folder / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return CorpusSource(kind="files", path=str(folder / name), running_text=True)


def test_documents_of_every_format_come_whole_and_in_order(tmp_path: Path) -> None:
    texts = [f"Hati {i}. Sentensi ya pili!\n\nAya mpya {i}." for i in range(20)]
    lines = [text.replace("\n", " ") for text in texts]
    (tmp_path / "sw.txt").write_text("\n".join(lines))
    assert list(documents([(_parquet(tmp_path, [*texts]), 1.0)], "sw", 20)) == texts
    assert list(documents([(_jsonl(tmp_path, texts), 1.0)], "sw", "all")) == texts
    assert list(documents(mixture_of(str(tmp_path / "sw.txt")), "sw", 7)) == lines[:7]
    assert list(documents(mixture_of(str(tmp_path / "{language}.jsonl")), "sw", 20)) == texts


def test_sources_are_mixed_by_weight_and_seed(tmp_path: Path) -> None:
    one = _parquet(tmp_path, [f"kwanza {i}" for i in range(1000)])
    two = _jsonl(tmp_path, [f"pili {i}" for i in range(1000)])
    counts = DocumentCounts()
    drawn = list(documents([(one, 3.0), (two, 1.0)], "sw", 800, seed=5, counts=counts))
    assert drawn == list(documents([(one, 3.0), (two, 1.0)], "sw", 800, seed=5))
    assert drawn != list(documents([(one, 3.0), (two, 1.0)], "sw", 800, seed=6))
    # 600 expected with a standard deviation of sqrt(800 * 3/4 * 1/4) = 12.2
    assert 550 < counts.kept[str(one.path)] < 650 and counts.n_read == 800
    assert [text for text in drawn if "pili" in text] == [
        f"pili {i}" for i in range(800 - counts.kept[str(one.path)])
    ]
    # A longer draw begins with the shorter one: asking for more documents does not change the first.
    assert list(documents([(one, 3.0), (two, 1.0)], "sw", 900, seed=5))[:800] == drawn


def test_the_stream_is_read_only_as_far_as_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "sw.jsonl"
    path.write_text("".join(f'{{"text": "hati {i}"}}\n' for i in range(5)) + "broken\n")
    mixture = [(CorpusSource(kind="files", path=str(path)), 1.0)]
    assert len(list(islice(documents(mixture, "sw", 6), 5))) == 5
    with pytest.raises(CorpusError, match="line 6 is not JSON"):
        list(documents(mixture, "sw", 6))


def test_duplicates_of_any_source_empty_and_broken_texts_are_dropped_and_counted(tmp_path: Path) -> None:
    one = _parquet(tmp_path, ["café  moja", "mbili", "mbili", None, " \n"])
    two = _jsonl(tmp_path, ["cafe\u0301 moja", "mbili\n", "tatu", "\ud800"])
    for seed in range(4):
        counts = DocumentCounts()
        drawn = list(documents([(one, 1.0), (two, 1.0)], "sw", "all", seed=seed, counts=counts))
        assert {collapsed(text) for text in drawn} == {"café moja", "mbili", "tatu"}
        assert len(drawn) == 3 == counts.kept.total() and counts.n_read == 9
        assert counts.dropped == {"exact duplicate": 3, "empty": 2, "not valid Unicode": 1}


def test_documents_with_a_sentence_of_the_study_are_dropped(tmp_path: Path) -> None:
    texts = [f"Mwanzo {i}.  Watoto walikwenda shuleni {i}.\nMwisho." for i in range(30)]
    texts[7] = "Bure tu: Cafe\u0301 ni  nzuri\tsana. Basi."
    counts = DocumentCounts()
    exclude = ["Watoto walikwenda shuleni 3.", "Café ni nzuri sana.", "haipo kabisa"]
    drawn = list(
        documents([(_parquet(tmp_path, [*texts]), 1.0)], "sw", "all", exclude=exclude, counts=counts)
    )
    assert drawn == [text for i, text in enumerate(texts) if i not in (3, 7)]
    assert counts.dropped == {EXCLUDED: 2}


def test_the_filter_agrees_with_a_plain_search() -> None:
    sentences = [text for language in ("en", "th", "zh") for text in embedded()[language][:60]]
    sentences += [
        "Na",
        "ab",
        "same prefix of twenty-four letters, one",
        "same prefix of twenty-four letters, two",
    ]
    for chosen in (sentences, sentences[:5], sentences[-2:], [], ["", " "]):
        found = SentenceFilter(chosen)
        plain = [sentence for sentence in chosen if sentence.strip()]
        for text in ["xx " + s + " yy" for s in sentences] + [s[:-1] for s in sentences] + ["", "a"]:
            assert found.matches(text) == any(sentence in text for sentence in plain)


def test_the_filter_finds_sentences_of_every_length_at_every_place() -> None:
    chance, n_found = random.Random(0), 0
    for letters in ("ab", "abc d"):
        for _ in range(1500):
            sentences = [
                "".join(chance.choices(letters, k=chance.choice((1, 6, 7, 22, 23, 40)))) for _ in range(2)
            ]
            text = collapsed("".join(chance.choices(letters, k=60)).join(("", chance.choice(sentences))))
            wanted = any(plain in text for plain in map(collapsed, sentences) if plain)
            assert SentenceFilter(sentences).matches(text) is wanted
            n_found += wanted
    assert 0 < n_found < 3000


def test_the_filter_looks_at_a_text_once_in_many_characters() -> None:
    long = SentenceFilter([f"sentence number {i:04} of the study" for i in range(500)])
    looks = []

    class Counted(str):
        """A text that counts how often a part of it is taken."""

        def __getitem__(self, part: object) -> str:
            looks.append(part)
            return str.__getitem__(self, part)  # type: ignore[index]

    assert not long.matches(Counted("x" * 12_000))
    assert len(looks) == 1000


def test_embedded_documents_leave_out_the_rows_of_the_study() -> None:
    sample = sample_corpus(CorpusSource(kind="embedded"), "en", 100, 50, seed=0)
    study, counts = {*sample.detection, *sample.heldout}, DocumentCounts()
    mixture = mixture_of("embedded")
    drawn = list(documents(mixture, "en", "all", exclude=study, counts=counts))
    rows = [row for row in embedded()["en"] if row not in study]
    assert "\n".join(drawn).split("\n") == rows and counts.dropped == {EXCLUDED: 150}
    assert {text.count("\n") + 1 for text in drawn[:-1]} == {EMBEDDED_ROWS_A_DOCUMENT}
    with pytest.raises(
        CorpusError, match=r"embedded ran out of documents in 'en' after 8 \(8 of 9 .*150 holds"
    ):
        list(documents(mixture, "en", 9, exclude=study))
    with pytest.raises(CorpusError, match="after 0"):
        list(documents(mixture, "en", "all", exclude=embedded()["en"]))


def test_a_source_that_runs_out_is_an_error_unless_all_was_asked_for(tmp_path: Path) -> None:
    one = _parquet(tmp_path, [f"kwanza {i}" for i in range(3)])
    two = _jsonl(tmp_path, [f"pili {i}" for i in range(50)])
    with pytest.raises(CorpusError, match=r"sw\.parquet ran out of documents in 'sw' after 3 \(\d+ of 40"):
        list(documents([(one, 1.0), (two, 1.0)], "sw", 40))
    assert len(list(documents([(one, 1.0), (two, 1.0)], "sw", "all"))) == 53


def test_an_absent_language_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    _parquet(folder, ["moja"])
    with pytest.raises(CorpusError, match="language 'fr'"):
        list(documents([(CorpusSource(kind="files", path=str(folder)), 1.0)], "fr", "all"))
    with pytest.raises(CorpusError, match="has no 'xx'"):
        list(documents(mixture_of("embedded"), "xx", 1))


def test_mixtures_and_numbers_that_make_no_sense_are_refused_before_anything_is_read() -> None:
    with pytest.raises(CorpusError, match="names no corpus"):
        mixture_of({})
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(CorpusError, match="share of embedded"):
            mixture_of({"embedded": weight})
    with pytest.raises(CorpusError, match="at least 1"):
        documents(mixture_of("embedded"), "en", 0)
    paper = mixture_of("paper")
    assert [source for source, _ in paper] == [
        PRESETS[name] for name in ("culturax", "madlad400", "wikipedia")
    ]

"""Texts from real files of every format, from a local folder laid out as a hub dataset, and the errors."""

import bz2
import csv
import gzip
import io
import json
import lzma
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.corpora.sources import CorpusSource, iter_texts, pin

TEXTS = ["The first text.", "第二句。", "ประโยคที่สาม", "Le quatrième."]


def _delimited(texts: list[str], column: str, delimiter: str) -> bytes:
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=delimiter).writerows([["id", column], *enumerate(texts)])
    return written.getvalue().encode()


def _write(path: Path, texts: list[str], column: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps({"id": i, column: text}) + "\n" for i, text in enumerate(texts))
    match path.name.split(".", 1)[1]:
        case "parquet":
            pq.write_table(pa.table({"id": list(range(len(texts))), column: texts}), path)
        case "jsonl" | "ndjson":
            path.write_text(lines, encoding="utf-8")
        case "jsonl.gz":
            path.write_bytes(gzip.compress(lines.encode()))
        case "jsonl.zst":
            with pa.CompressedOutputStream(str(path), "zstd") as stream:
                stream.write(lines.encode())
        case "ndjson.bz2":
            path.write_bytes(bz2.compress(lines.encode()))
        case "jsonl.xz":
            path.write_bytes(lzma.compress(lines.encode()))
        case "csv":
            path.write_bytes(_delimited(texts, column, ","))
        case "tsv.gz":
            path.write_bytes(gzip.compress(_delimited(texts, column, "\t")))
        case "json":
            path.write_text(json.dumps([{column: text} for text in texts]), encoding="utf-8")
        case "txt":
            path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def _texts(path: object, language: str = "en", **fields: str) -> list[str]:
    return list(iter_texts(replace(CorpusSource(kind="files", path=str(path)), **fields), language))


@pytest.mark.parametrize(
    "suffix",
    [
        "parquet",
        "jsonl",
        "ndjson",
        "jsonl.gz",
        "ndjson.bz2",
        "jsonl.xz",
        "jsonl.zst",
        "json",
        "csv",
        "tsv.gz",
        "txt",
    ],
)
def test_a_file_of_each_format(tmp_path: Path, suffix: str) -> None:
    texts = TEXTS if suffix == "txt" else [*TEXTS, 'a "quoted", text\nof two\tlines']
    assert _texts(_write(tmp_path / f"some.{suffix}", texts)) == texts


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_unicode_encoding_with_a_mark_and_every_line_end(
    tmp_path: Path, encoding: str, end: str
) -> None:
    (tmp_path / "x.txt").write_bytes(end.join(TEXTS).encode(encoding))
    assert _texts(tmp_path / "x.txt") == TEXTS
    (tmp_path / "x.csv").write_bytes(end.join(["id,text", *(f"1,{text}" for text in TEXTS)]).encode(encoding))
    assert _texts(tmp_path / "x.csv") == TEXTS


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(),
     pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.large_string())],
    ids=str,
)  # fmt: skip
def test_parquet_text_of_every_library(tmp_path: Path, kind: pa.DataType) -> None:
    texts = [*TEXTS, None, TEXTS[0]]
    values = pa.array([None if t is None else t.encode() for t in texts] if "binary" in str(kind) else texts)
    values = values.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else values.cast(kind)
    pq.write_table(pa.table({"text": values}), tmp_path / "x.parquet")
    assert _texts(tmp_path / "x.parquet") == [*TEXTS, "", TEXTS[0]]


def test_a_column_inside_another(tmp_path: Path) -> None:
    rows = [{"meta": {"id": i, "body": {"text": text}}} for i, text in enumerate(TEXTS)]
    pq.write_table(pa.Table.from_pylist([*rows, {"meta": None}]), tmp_path / "x.parquet")
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"meta": None}]))
    for name in ("x.parquet", "x.jsonl"):
        assert _texts(tmp_path / name, text_column="meta.body.text") == [*TEXTS, ""]
        for absent in ("meta.text", "meta.body.text.more", "body"):
            with pytest.raises(CorpusError) as caught:
                _texts(tmp_path / name, text_column=absent)
            assert repr(absent) in caught.value.message
    pq.write_table(pa.table({"a.b": ["whole"], "a": [{"b": "inner"}]}), tmp_path / "both.parquet")
    assert _texts(tmp_path / "both.parquet", text_column="a.b") == ["whole"]


def test_another_column_and_nulls(tmp_path: Path) -> None:
    pq.write_table(pa.table({"content": ["a", None, "b"]}), tmp_path / "x.parquet")
    assert _texts(tmp_path / "x.parquet", text_column="content") == ["a", "", "b"]


def test_the_language_is_filled_into_path_and_data_files(tmp_path: Path) -> None:
    _write(tmp_path / "de" / "part.jsonl", ["eins"])
    _write(tmp_path / "de" / "other.jsonl", ["zwei"])
    _write(tmp_path / "fr" / "part.jsonl", ["un"])
    assert _texts(tmp_path / "{language}", "de") == ["zwei", "eins"]
    assert _texts(tmp_path, "de", data_files="{language}/part*.jsonl") == ["eins"]
    assert _texts(f"file://{tmp_path}/{{language}}/part.jsonl", "fr") == ["un"]


def test_a_folder_is_read_for_the_language_its_files_are_named_for(tmp_path: Path) -> None:
    for name in ("en.txt", "de.txt", "de_0001.jsonl"):
        _write(tmp_path / name, [name])
    assert _texts(tmp_path, "en") == ["en.txt"]
    assert sorted(_texts(tmp_path, "de")) == ["de.txt", "de_0001.jsonl"]
    with pytest.raises(CorpusError, match=r"'sw'.*en\.txt.*sw\.txt"):
        _texts(tmp_path, "sw")
    assert len(_texts(tmp_path / "*.txt", "sw")) == 2


def test_texts_behind_a_url(tmp_path: Path) -> None:
    import fsspec

    with fsspec.open("memory://corpus_of_test/en.txt", "wb") as file:
        file.write(b"one\ntwo\n")
    assert _texts("memory://corpus_of_test", "en") == ["one", "two"]


def test_a_local_hub_dataset_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for language in ("en", "de"):
        rows = [f"{language} {i}" for i in range(5)]
        _write(tmp_path / "set" / language / "train-00000-of-00001.parquet", rows)
    (tmp_path / "set" / "README.md").write_text(
        "---\nconfigs:\n"
        + "".join(
            f"- config_name: {c}\n  data_files:\n  - split: train\n    path: {c}/train-*\n"
            for c in ("en", "de")
        )
        + "---\n"
    )
    source = CorpusSource(kind="hub", path=str(tmp_path / "set"), config="{language}")
    assert pin(source, "de") == source
    assert list(iter_texts(source, "de")) == [f"de {i}" for i in range(5)]
    assert next(iter_texts(source, "en")) == "en 0"
    with pytest.raises(CorpusError, match=r"sw.*(?s:.*)HF_TOKEN"):
        list(iter_texts(source, "sw"))
    wrong = CorpusSource(kind="hub", path=str(tmp_path / "set"), config="de", text_column="sentence")
    with pytest.raises(CorpusError, match=r"no column 'sentence'; there are 'id', 'text'"):
        list(iter_texts(wrong, "de"))
    with pytest.raises(CorpusError, match="no revisions"):
        pin(CorpusSource(kind="hub", path=str(tmp_path / "set"), revision="main"), "de")


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "jsonl.gz", "json"])
def test_a_missing_column_lists_those_there(tmp_path: Path, suffix: str) -> None:
    path = _write(tmp_path / f"some.{suffix}", TEXTS, column="body")
    with pytest.raises(CorpusError, match=r"no column 'text'; there are .*'body'.*corpus\.text_column"):
        _texts(path)


def test_a_column_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="'id' is int64, not text"):
        _texts(_write(tmp_path / "x.parquet", TEXTS), text_column="id")
    with pytest.raises(CorpusError, match=r"line 1: 'id' holds int"):
        _texts(_write(tmp_path / "x.jsonl", TEXTS), text_column="id")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"", "is empty"),
        ("x.jsonl", b"\n\n", "is empty"),
        ("x.txt", b"fine\n\xff\xfe\x81\n", "not UTF-8"),
        ("x.txt", b"PK\x03\x04\0\0\0\n", "zero byte"),
        ("x.jsonl", b'{"text": "a"}\n{"text": \n', "line 2 is not JSON"),
        ("x.jsonl", b'["a"]\n', "line 1 is not an object"),
        ("x.parquet", b"not parquet at all", "cannot be read"),
        ("x.jsonl.gz", b"not gzip", "cannot be read"),
        ("x.jsonl.zst", b"not zstd", "cannot be read"),
        ("x.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 1000, mtime=0)[:-20], "cannot be read"),
        ("x.csv", b"text,text\na,b\n", "2 columns"),
        ("x.csv", b"id,text\n1,a\n2,b,c\n", "line 3: 3 fields"),
        ("x.csv", b'id,text\n1,"a\n', "line 2"),
        ("x.tsv", b"id,text\n1,a\n", "no column 'text'"),
        ("x.jsonl.xz", b"not xz", "cannot be read"),
        ("x.jsonl.bz2", bz2.compress(b'{"text": "a"}\n' * 1000)[:-20], "cannot be read"),
        ("x.txt", "no mark".encode("utf-16-le"), "zero byte"),
        ("x.docx", b"PK", r"found x\.docx.*\.parquet, \.jsonl"),
    ],
)
def test_a_bad_file_is_named_with_the_reason(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message) as caught:
        _texts(tmp_path / name)
    assert name in caught.value.message


def test_a_missing_file_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"There is no corpus at .*gone\.txt.*corpus\.source"):
        _texts(tmp_path / "gone.txt")
    with pytest.raises(CorpusError, match="found nothing"):
        _texts(tmp_path)
    with pytest.raises(CorpusError, match=r"cannot be listed.*driver"):
        _texts("nosuchprotocol://bucket/x.txt")


def test_a_language_the_embedded_corpus_lacks() -> None:
    with pytest.raises(CorpusError, match=r"no 'ja'; it has en, zh, th, sw, fr, de.*corpus\.sources\.ja"):
        list(iter_texts(CorpusSource(kind="embedded"), "ja"))


def test_escaped_line_breaks(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("one\\ntwo\n")
    source = CorpusSource(kind="files", path=str(tmp_path / "x.txt"), escaped_newlines=True)
    assert list(iter_texts(source, "en")) == ["one\ntwo"]


def test_a_row_group_is_never_whole_in_memory(tmp_path: Path) -> None:
    texts = [f"{i:06} " + "one of many words, " * 50 for i in range(20_000)]
    table = pa.table({"text": texts})
    pq.write_table(table, tmp_path / "en.parquet", row_group_size=len(texts), use_dictionary=False)
    n_bytes = table.nbytes
    del table
    before, most = pa.total_allocated_bytes(), 0
    for text, read in zip(
        texts, iter_texts(CorpusSource(kind="files", path=str(tmp_path)), "en"), strict=True
    ):
        assert read == text
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < n_bytes / 4

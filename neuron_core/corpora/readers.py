"""Reads texts out of Parquet, JSON, CSV and text files, local or behind any fsspec URL, in streams."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
from collections.abc import Iterator, Sequence
from typing import IO, Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.corpora.language_files import form_of

_LONGEST_LINE, _LONGEST_LIST = 1 << 26, 1 << 30
"""Characters. A longer line is no text; a few kilobytes of a compressed file can hold one that fills the memory."""
_ROWS_AT_ONCE, _BYTES_AT_ONCE = 64, 1 << 20
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16's does, so it is tried first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_file(fs: fsspec.AbstractFileSystem, path: str, column: str) -> Iterator[str]:
    """Texts of one file in order; a null is "".

    `column`: of a table or of objects; `outer.inner` names a field inside a struct or object, if there is no column of
    that whole name. It is not used for .txt, which has one text a line.

    Raises:
        CorpusError: the file is gone, binary, damaged or in an unknown encoding, or it lacks the column.
    """
    form = form_of(path)
    try:
        with fs.open(path, "rb") as raw:
            if form == ".parquet":
                yield from _parquet(raw, path, column)
                return
            stream = _decoded(_decompressed(raw, path))
            if form == ".txt":
                yield from _txt(stream, path)
            elif form in (".csv", ".tsv"):
                yield from _delimited(stream, path, column, "\t" if form == ".tsv" else ",")
            else:
                yield from _json(stream, path, column)
    except UnicodeError as error:
        where = (
            f" ({error.reason} at byte {error.start} of a block)"
            if isinstance(error, UnicodeDecodeError)
            else ""
        )
        raise CorpusError(
            f"{path} is not UTF-8 text{where}, and has no mark of another Unicode encoding. Convert it, for "
            f"example with iconv -t UTF-8, or take it out of the corpus."
        ) from error
    except (OSError, EOFError, lzma.LZMAError, pa.ArrowException) as error:
        raise CorpusError(
            f"{path} cannot be read: {type(error).__name__}: {error}. Check that the file is whole and "
            "that its name ends in its true format."
        ) from error


def _decompressed(raw: IO[bytes], path: str) -> Any:
    match path.lower().rsplit(".", 1)[-1]:
        case "gz":
            return gzip.GzipFile(fileobj=raw, mode="rb")
        case "bz2":
            return bz2.BZ2File(raw)
        case "xz":
            return lzma.LZMAFile(raw)
        case "zst":
            unpacked: Any = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
            return unpacked
    return raw


def _decoded(raw: Any) -> io.TextIOWrapper:
    """Text of a byte stream, whose encoding its byte order mark tells; every kind of line end is read as one."""
    buffered = io.BufferedReader(raw)
    start = buffered.peek(4)[:4]
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if start.startswith(mark)), "utf-8")
    return io.TextIOWrapper(buffered, encoding=encoding, newline=None)


def _txt(stream: io.TextIOWrapper, path: str) -> Iterator[str]:
    for number, line in _lines(stream, path):
        if "\0" in line:
            raise CorpusError(
                f"{path}, line {number}, holds a zero byte: it is a binary file, or text in UTF-16 without a byte order mark. "
                "Convert it to UTF-8 text, or take it out of the corpus."
            )
        yield line.rstrip("\n")


def _json(stream: io.TextIOWrapper, path: str, column: str) -> Iterator[str]:
    for number, line in _lines(stream, path):
        if number == 1 and form_of(path) == ".json" and line.lstrip().startswith("["):
            rest = stream.read(_LONGEST_LIST)
            if stream.read(1):
                raise CorpusError(
                    f"{path} is one list of more than {_LONGEST_LIST:,} characters. Write one object a line (.jsonl)."
                )
            for item, row in enumerate(_parsed(line + rest, path, "the list"), start=1):
                yield text_of(row, column, f"{path}, item {item}")
        elif line.strip():
            yield text_of(_parsed(line, path, f"line {number}"), column, f"{path}, line {number}")


def _delimited(stream: io.TextIOWrapper, path: str, column: str, delimiter: str) -> Iterator[str]:
    csv.field_size_limit(_LONGEST_LINE)
    lines = (line for _, line in _lines(stream, path))
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        if header.count(column) != 1:
            if column in header:
                raise CorpusError(
                    f"{path}: {header.count(column)} columns are called {column!r}. Rename them."
                )
            raise missing_column(column, header, path)
        at = header.index(column)
        for row in rows:
            if row and len(row) != len(header):
                raise CorpusError(
                    f"{path}, line {rows.line_num}: {len(row)} fields where the header has {len(header)}. Look at the "
                    "quotation marks and separators there."
                )
            if row:
                yield row[at]
    except csv.Error as error:
        raise CorpusError(
            f"{path}, line {rows.line_num}, is not {form_of(path)[1:].upper()}: {error}. Look at the quotation marks there."
        ) from error


def _lines(stream: io.TextIOWrapper, path: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, from 1."""
    number = 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE and not line.endswith("\n"):
            raise CorpusError(
                f"{path}, line {number}, has more than {_LONGEST_LINE:,} characters: it is no text. Split it, or take the "
                "file out of the corpus."
            )
        yield number, line


def _parsed(text: str, path: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorpusError(
            f"{path}: {where} is not JSON ({error}). Write one object a line (.jsonl) or one list (.json), "
            "or name the file for its true format."
        ) from error


def _parquet(raw: IO[bytes], path: str, column: str) -> Iterator[str]:
    # by pieces: else a whole row group of the column, up to the whole file, would be held at once
    file = pq.ParquetFile(raw, pre_buffer=False, buffer_size=_BYTES_AT_ONCE)
    schema = file.schema_arrow
    keys = [column] if column in schema.names else column.split(".")
    if schema.names.count(keys[0]) != 1:
        raise missing_column(column, schema.names, path)
    kind = schema.field(keys[0]).type
    for key in keys[1:]:
        if not pa.types.is_struct(kind) or kind.get_field_index(key) < 0:
            inner = [field.name for field in kind] if pa.types.is_struct(kind) else []
            raise missing_column(column, [*schema.names, *inner], path)
        kind = kind.field(key).type
    if not _is_text(kind):
        raise CorpusError(
            f"{path}: the column {column!r} is {kind}, not text. Name the text with corpus.text_column."
        )
    for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[".".join(keys)]):
        values = batch.column(0)
        if len(keys) > 1:
            values = pc.struct_field(values, keys[1:])
        for text in values.to_pylist():
            yield text.decode("utf-8") if isinstance(text, bytes) else text or ""


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
    )
    return any(test(kind) for test in tests)


def missing_column(column: str, present: Sequence[str], where: str) -> CorpusError:
    """The error for a column that is not there; lists those that are."""
    return CorpusError(
        f"{where}: there is no column {column!r}; there are {', '.join(map(repr, present)) or 'none'}. "
        "Name the column that holds the text with corpus.text_column."
    )


def text_of(row: Any, column: str, where: str) -> str:
    """The text of one record; "" for a null. `outer.inner` names a key inside an object, as in `read_file`.

    Raises:
        CorpusError: the record is no object, lacks the column, or holds something else than text there.
    """
    if not isinstance(row, dict):
        raise CorpusError(f"{where} is not an object with the key {column!r} but {type(row).__name__}.")
    text: Any = row
    for key in [column] if column in row else column.split("."):
        if text is None:
            return ""
        if not isinstance(text, dict) or key not in text:
            raise missing_column(column, list(row), where)
        text = text[key]
    if text is not None and not isinstance(text, str):
        raise CorpusError(
            f"{where}: {column!r} holds {type(text).__name__}, not text. Name the text with "
            "corpus.text_column."
        )
    return text or ""

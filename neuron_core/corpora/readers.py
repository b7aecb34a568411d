"""Reads texts out of Parquet, JSON, JSON Lines and text files, local or behind any fsspec URL, in streams."""

import gzip
import io
import json
import re
from collections.abc import Iterator
from typing import IO, Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from polyneuron.neuron_core.common.errors import CorpusError

FORMATS = (".parquet", ".jsonl", ".json", ".txt")
SUFFIXES = (".parquet", *(form + compression for form in FORMATS[1:] for compression in ("", ".gz", ".zst")))
_MARKS_OF_A_PATTERN = "*?["
_LONGEST_LINE, _LONGEST_LIST = 1 << 26, 1 << 30
"""Characters. A longer line is no text; a few kilobytes of a compressed file can hold one that fills the memory."""


def list_files(url: str, pattern: str | None, language: str) -> tuple[fsspec.AbstractFileSystem, list[str]]:
    """The files to read for `language`, sorted by name. One file; the matches of a pattern; or, of a folder, those under
    `<language>/` or named `<language>.txt`, `<language>_0001.parquet` and so on (all of them where the folder's own name
    holds the language). Raises CorpusError when nothing is there, no file is of a known format, or the folder does not tell
    languages apart."""
    try:
        fs, path = fsspec.core.url_to_fs(url)
        if pattern is not None:
            path = f"{path.rstrip('/')}/{pattern}"
        if any(mark in path for mark in _MARKS_OF_A_PATTERN):
            found = [str(name) for name in fs.glob(path)]
            return fs, _of_known_format(found, path)
        if not fs.exists(path):
            raise CorpusError(
                f"There is no corpus at {path} (language {language!r}). Check corpus.source; {{language}} in it stands for "
                "the language code, and presets and datasets are named without a path."
            )
        if not fs.isdir(path):
            return fs, _of_known_format([path], path)
        names = _of_known_format([str(name) for name in fs.find(path)], path)
    except CorpusError:
        raise
    except Exception as error:
        raise CorpusError(
            f"The corpus at {url} cannot be listed: {type(error).__name__}: {error}. Check the address, the "
            "credentials in the environment, and that the fsspec driver of this kind of URL is installed."
        ) from error
    if _is_named_for(path, language):
        return fs, names
    return fs, _of_language(names, path, language)


def _is_named_for(folder: str, language: str) -> bool:
    name = folder.rstrip("/").rsplit("/", 1)[-1]
    return re.search(rf"(?:^|[._-]){re.escape(language)}(?:$|[._-])", name) is not None


def _of_known_format(names: list[str], where: str) -> list[str]:
    known = sorted(name for name in names if name.lower().endswith(SUFFIXES))
    if not known:
        seen = ", ".join(sorted(name.rsplit("/", 1)[-1] for name in names)[:5]) or "nothing"
        raise CorpusError(
            f"No corpus file at {where}: found {seen}. Readable are files that end in {', '.join(SUFFIXES)}."
        )
    return known


def _of_language(names: list[str], folder: str, language: str) -> list[str]:
    chosen = []
    for name in names:
        first, _, rest = name.removeprefix(folder.rstrip("/")).lstrip("/").partition("/")
        if first == language or (not rest and first.startswith(tuple(f"{language}{end}" for end in "._-"))):
            chosen.append(name)
    if not chosen:
        raise CorpusError(
            f"No file in {folder} is named for the language {language!r}; it holds "
            f"{', '.join(name.rsplit('/', 1)[-1] for name in names[:5])}. Name files {language}.txt (or "
            f".jsonl, .parquet), use a folder {language}/, write {{language}} in the path, or, where "
            f"corpus.sources names this folder for {language!r} alone, write {folder}/*.txt."
        )
    return chosen


def read_file(fs: fsspec.AbstractFileSystem, path: str, column: str) -> Iterator[str]:
    """Texts of one file in order; a null is "". `column` is not used for .txt, which has one text a line. Raises
    CorpusError when the file is gone, binary, damaged or not UTF-8, or it lacks the column."""
    try:
        with fs.open(path, "rb") as raw:
            if path.lower().endswith(".parquet"):
                yield from _parquet(raw, path, column)
                return
            stream = io.TextIOWrapper(_decompressed(raw, path), encoding="utf-8-sig", newline="\n")
            yield from _txt(stream, path) if _form(path) == ".txt" else _json(stream, path, column)
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start} of a block). Convert it, for "
            f"example with iconv -t UTF-8, or take it out of the corpus."
        ) from error
    except (OSError, EOFError, pa.ArrowException) as error:
        raise CorpusError(
            f"{path} cannot be read: {type(error).__name__}: {error}. Check that the file is whole and "
            "that its name ends in its true format."
        ) from error


def _form(path: str) -> str:
    plain = path.lower().removesuffix(".gz").removesuffix(".zst")
    return next(form for form in FORMATS if plain.endswith(form))


def _decompressed(raw: IO[bytes], path: str) -> Any:
    if path.lower().endswith(".gz"):
        return gzip.GzipFile(fileobj=raw, mode="rb")
    if path.lower().endswith(".zst"):
        unpacked: Any = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
        return io.BufferedReader(unpacked)
    return raw


def _txt(stream: io.TextIOWrapper, path: str) -> Iterator[str]:
    for number, line in _lines(stream, path):
        if "\0" in line:
            raise CorpusError(
                f"{path}, line {number}, holds a zero byte: it is a binary file, or text in UTF-16. "
                "Convert it to UTF-8 text, or take it out of the corpus."
            )
        yield line.rstrip("\r\n")


def _json(stream: io.TextIOWrapper, path: str, column: str) -> Iterator[str]:
    for number, line in _lines(stream, path):
        if number == 1 and _form(path) == ".json" and line.lstrip().startswith("["):
            rest = stream.read(_LONGEST_LIST)
            if stream.read(1):
                raise CorpusError(
                    f"{path} is one list of more than {_LONGEST_LIST:,} characters. Write one object a line (.jsonl)."
                )
            for item, row in enumerate(_parsed(line + rest, path, "the list"), start=1):
                yield text_of(row, column, f"{path}, item {item}")
        elif line.strip():
            yield text_of(_parsed(line, path, f"line {number}"), column, f"{path}, line {number}")


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
    file = pq.ParquetFile(raw)
    if column not in file.schema_arrow.names:
        raise missing_column(column, file.schema_arrow.names, path)
    kind = file.schema_arrow.field(column).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise CorpusError(
            f"{path}: the column {column!r} is {kind}, not text. Name the text with corpus.text_column."
        )
    for batch in file.iter_batches(batch_size=1024, columns=[column]):
        for text in batch.column(0).to_pylist():
            yield text or ""


def missing_column(column: str, present: list[str], where: str) -> CorpusError:
    """The error for a column that is not there; lists those that are."""
    return CorpusError(
        f"{where}: there is no column {column!r}; there are {', '.join(map(repr, present)) or 'none'}. "
        "Name the column that holds the text with corpus.text_column."
    )


def text_of(row: Any, column: str, where: str) -> str:
    """The text of one record; "" for a null. Raises CorpusError when the record is no object, lacks the column, or holds
    something else than text there."""
    if not isinstance(row, dict):
        raise CorpusError(f"{where} is not an object with the key {column!r} but {type(row).__name__}.")
    if column not in row:
        raise missing_column(column, list(row), where)
    text = row[column]
    if text is not None and not isinstance(text, str):
        raise CorpusError(
            f"{where}: {column!r} holds {type(text).__name__}, not text. Name the text with corpus.text_column."
        )
    return text or ""

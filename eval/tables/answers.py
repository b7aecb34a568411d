"""Answers to SQL, written row by row: a box for people, and what programs read. No text is read as markup, and the rows are
never all in memory.

Numbers of CSV and JSON are numbers; values that a format has no kind for are written as DuckDB's text for them, which DuckDB
casts back: bytes as `\\x00`, lists in CSV as `[1, NULL]`. Names that stand twice are told apart as `name`, `name_1`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, BinaryIO

from polyneuron.eval.tables.answer_format import AnswerFormat
from polyneuron.eval.tables.text import escape_markdown

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

MOST_IN_A_BOX = 10_000
"""DuckDB draws no longer box."""
_ANY_WIDTH = 1_000_000
_BATCH_ROWS = 10_000
_Texts = tuple[str, str, Iterator[str], str]
"""What stands before all rows, what between two of them, the rows, and what stands after them."""
_CSV_NUMBERS = re.compile(r"U?(TINYINT|SMALLINT|INTEGER|BIGINT)|FLOAT|DOUBLE|BOOLEAN|DECIMAL\(\d+,\d+\)")
_NOT_IN_PARQUET = re.compile(r"\b(U?HUGEINT|BIT|INTERVAL|BIGNUM|VARIANT|UNION|TIME WITH TIME ZONE)\b")
_JSON_NUMBERS = re.compile(r'"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)')
_COMMA = ", ', ', "
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Also what turns the direction of text, so that nothing looks like what it is not."""
_NOT_SPELT_OUT = [chr(code) for code in range(0x7F, 0x2070) if _CONTROLS.match(chr(code))]
"""Controls that DuckDB puts into a box as they are."""
_DRAWN_AS = {0x0E33: 0x10FE33, 0x0EB3: 0x10FEB3}
"""The Thai and Lao vowels am, to which DuckDB gives no width, and letters that nobody uses in their places."""
_DRAWN_BACK = {letter: vowel for vowel, letter in _DRAWN_AS.items()}


def box(answer: DuckDBPyRelation, most_rows: int | None, width: int) -> str:
    """DuckDB's own drawing, `width` columns wide: `most_rows` rows, or some of the first and the last. In texts, in lists of them
    and in names, what controls a terminal is spelt out; within other values it is left out."""
    named = answer.project("*")  # by which names are told apart
    columns = zip(named.columns, map(str, named.types), strict=True)
    shown = ", ".join(
        f"{_drawable(_quoted(name), kind)} AS {_quoted(_in_a_box(name))}" for name, kind in columns
    )
    drawn = io.StringIO()
    with redirect_stdout(drawn):
        named.project(shown).show(max_rows=most_rows, max_width=width)
    lines = (_CONTROLS.sub("", line) for line in drawn.getvalue().translate(_DRAWN_BACK).split("\n"))
    return "\n".join(lines).rstrip("\n") + "\n"


def _in_a_box(text: str) -> str:
    return spelt_out(text).translate(_DRAWN_AS)


def _drawable(column: str, kind: str) -> str:
    """The column as DuckDB is to draw it: it spells out only some controls, and gives others no width."""
    if kind == "VARCHAR[]":
        return f"list_transform({column}, lambda text: {_drawable('text', 'VARCHAR')})"
    if kind != "VARCHAR":
        return column
    for control in _NOT_SPELT_OUT:
        column = f"replace({column}, chr({ord(control)}), '{spelt_out(control)}')"
    return f"translate({column}, '{''.join(map(chr, _DRAWN_AS))}', '{''.join(map(chr, _DRAWN_AS.values()))}')"


def box_width(answer: DuckDBPyRelation, most_rows: int | None) -> int:
    """How many columns of a terminal the box takes that leaves no column of the answer out."""
    return len(box(answer, most_rows, _ANY_WIDTH).partition("\n")[0])


def write_answer(
    answer: DuckDBPyRelation, form: AnswerFormat, sink: BinaryIO, encoding: str = "utf-8"
) -> int:
    """Writes all rows of an answer and returns how many there are. A box (`table`) is drawn in its full width and holds at most
    `MOST_IN_A_BOX` rows. `encoding` is that of tables, lines and Markdown; CSV and JSON are UTF-8."""
    if form is AnswerFormat.parquet:
        return _write_parquet(answer, sink)
    if form is AnswerFormat.table:
        rows = answer.limit(MOST_IN_A_BOX).materialize()
        sink.write(box(rows, MOST_IN_A_BOX, _ANY_WIDTH).encode(encoding, "backslashreplace"))
        return len(rows)
    if form in (AnswerFormat.json, AnswerFormat.csv):
        encoding = "utf-8"
    head, between, rows_of_text, end = _TEXT_WRITERS[form](answer)
    sink.write(head.encode(encoding, "backslashreplace"))
    n_rows = 0
    for n_rows, text in enumerate(rows_of_text, 1):
        sink.write(((between if n_rows > 1 else "") + text).encode(encoding, "backslashreplace"))
    sink.write(end.encode(encoding))
    return n_rows


def spelt_out(text: str) -> str:
    """The text in one line, with `\\n` and the like for what controls a terminal."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def _projected(answer: DuckDBPyRelation, expression: Callable[[str, str], str]) -> DuckDBPyRelation:
    """The answer with an expression for each column, made of its quoted name and its type."""
    named = answer.project("*")  # by which names are told apart
    columns = zip(map(_quoted, named.columns), named.types, strict=True)
    return named.project(", ".join(f"{expression(name, str(kind))} AS {name}" for name, kind in columns))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(column: str, kind: str) -> str:
    return f"CAST({column} AS VARCHAR)"


def _rows(answer: DuckDBPyRelation) -> Iterator[tuple[str | None, ...]]:
    """The rows of an answer whose columns are all text."""
    for batch in answer.to_arrow_reader(_BATCH_ROWS):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _lines(answer: DuckDBPyRelation) -> _Texts:
    """For each row a line for each column, and a blank line between rows."""
    texts = _projected(answer, _text)
    names = [spelt_out(name) for name in texts.columns]
    width = max(map(len, names))

    def lines(row: tuple[str | None, ...]) -> str:
        values = ("NULL" if value is None else spelt_out(value) for value in row)
        return "".join(f"{name:>{width}} = {value}\n" for name, value in zip(names, values, strict=True))

    return "", "\n", map(lines, _rows(texts)), ""


def _markdown(answer: DuckDBPyRelation) -> _Texts:
    """GitHub's Markdown. A line break is `<br>`, other control characters are spelt out, and a blank at an edge stays."""
    texts = _projected(answer, _text)
    head = f"{_markdown_line(texts.columns)}|{' --- |' * len(texts.columns)}\n"
    return head, "", map(_markdown_line, _rows(texts)), ""


def _markdown_line(cells: Iterable[str | None]) -> str:
    return f"| {' | '.join('NULL' if cell is None else _markdown_cell(cell) for cell in cells)} |\n"


def _markdown_cell(text: str) -> str:
    lines = (escape_markdown(spelt_out(line)) for line in re.split(r"\r\n|\r|\n", text))
    return re.sub(r"^ | $", "&#32;", "<br>".join(lines))


def _json(answer: DuckDBPyRelation) -> _Texts:
    """An array with an object on each line. Numbers that JSON lacks are the texts NaN, Infinity and -Infinity."""
    named = answer.project("*")  # by which names are told apart
    pairs = []
    for name, kind in zip(named.columns, named.types, strict=True):
        key = json.dumps(name, ensure_ascii=False).replace("'", "''")
        # to_json would make a double of a decimal
        value = _quoted(name) if str(kind).startswith("DECIMAL") else f"to_json({_quoted(name)})"
        pairs.append(f"'{key}: ', coalesce(CAST({value} AS VARCHAR), 'null')")
    objects = named.project(f"concat('{{', {_COMMA.join(pairs)}, '}}')")
    return "[", ",\n", (_strict(text or "") for (text,) in _rows(objects)), "]\n"


def _strict(text: str) -> str:
    has_other_numbers = "NaN" in text or "Infinity" in text
    return _JSON_NUMBERS.sub(_in_quotes, text) if has_other_numbers else text


def _in_quotes(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith('"') else f'"{found[0]}"'


def _csv(answer: DuckDBPyRelation) -> _Texts:
    """Null is nothing at all, and an empty text a pair of quotes; so is null in a lone column, whose blank lines readers skip."""
    named = answer.project("*")  # by which names are told apart
    null = "" if len(named.columns) > 1 else '""'
    cells = [
        f"coalesce({_csv_cell(_text(_quoted(name), str(kind)), str(kind))}, '{null}')"
        for name, kind in zip(named.columns, named.types, strict=True)
    ]
    names = io.StringIO(newline="")
    # the writer quotes a name that holds a character of its line's end, so that has both
    csv.writer(names).writerow(named.columns)
    head = names.getvalue().removesuffix("\r\n") + "\n"
    lines = named.project(f"concat_ws(',', {', '.join(cells)})")
    return head, "", (f"{line}\n" for (line,) in _rows(lines)), ""


def _csv_cell(text: str, kind: str) -> str:
    if _CSV_NUMBERS.fullmatch(kind):
        return text
    quotes = f"""concat('"', replace({text}, '"', '""'), '"')"""
    return f"""CASE WHEN {text} = '' OR regexp_matches({text}, '[",\r\n]') THEN {quotes} ELSE {text} END"""


def _write_parquet(answer: DuckDBPyRelation, sink: BinaryIO) -> int:
    """What Parquet has no type for is text, but integers of 128 bits are decimals, and refused where they have 39 digits."""
    import pyarrow.parquet

    batches, n_rows = _projected(answer, _parquet_value).to_arrow_reader(_BATCH_ROWS), 0
    with pyarrow.parquet.ParquetWriter(sink, batches.schema) as out:
        for batch in batches:
            out.write_batch(batch)
            n_rows += len(batch)
    return n_rows


def _parquet_value(column: str, kind: str) -> str:
    if kind == "HUGEINT":
        return f"CAST({column} AS DECIMAL(38, 0))"
    return _text(column, kind) if _NOT_IN_PARQUET.search(kind) else column


_TEXT_WRITERS = {
    AnswerFormat.line: _lines,
    AnswerFormat.md: _markdown,
    AnswerFormat.json: _json,
    AnswerFormat.csv: _csv,
}

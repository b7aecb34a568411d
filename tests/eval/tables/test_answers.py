"""Answers to SQL in every format, each read back by a reader of that format."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.cells import cell_len

from polyneuron.eval.tables.answer_format import AnswerFormat
from polyneuron.eval.tables.answers import box, box_width, spelt_out, write_answer

TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "[bold]x[/bold]", "a\nb", "a\r\nb", "|", "\x1b[31m", "\0", " ", " x ", "\\n", '"', "NaN", '"NaN', "NULL", "<br>",
         "\u202eabc", "\u2029", "ไทย", "😀", "a,b", "=1+1", "&#32;", "`", "-", ":", "'"]
    ),
)  # fmt: skip
TYPES: dict[str, st.SearchStrategy[Any]] = {
    "VARCHAR": TEXTS,
    "BLOB": st.binary(max_size=6),
    "DOUBLE": st.floats(),
    "FLOAT": st.floats(width=32),
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "HUGEINT": st.integers(-(10**38) + 1, 10**38 - 1),
    "UHUGEINT": st.integers(0, 2**128 - 1),
    "DECIMAL(38,9)": st.decimals(-(10**28), 10**28, places=9),
    "BOOLEAN": st.booleans(),
    "DATE": st.dates(),
    "TIMESTAMP": st.datetimes(),
    "VARCHAR[]": st.lists(st.none() | TEXTS, max_size=3),
    "DOUBLE[]": st.lists(st.none() | st.floats(), max_size=3),
    "STRUCT(a VARCHAR, b BIGINT[])": st.fixed_dictionaries(
        {"a": st.none() | TEXTS, "b": st.lists(st.integers(-9, 9), max_size=2)}
    ),
}
COLUMNS = st.lists(
    st.sampled_from(list(TYPES)).flatmap(
        lambda kind: st.tuples(
            st.text(min_size=1, max_size=5).filter(lambda name: "\0" not in name),
            st.just(kind),
            st.lists(st.none() | TYPES[kind], min_size=3, max_size=3),
        )
    ),
    min_size=1,
    max_size=4,
)
Columns = list[tuple[str, str, list[Any]]]
DATABASE = duckdb.connect(":memory:")
"""Opened once: every example asks it through a cursor of its own, which is open at once."""


def written(columns: Columns, form: AnswerFormat) -> tuple[bytes, list[str], list[tuple[Any, ...]]]:
    """What `form` makes of three rows, and the names and the values that DuckDB gives for them in Python."""
    with DATABASE.cursor() as connection:
        names = ['"' + name.replace('"', '""') + '"' for name, _, _ in columns]
        heads = ", ".join(
            f"CAST(? AS {kind}) AS {name}" for name, (_, kind, _) in zip(names, columns, strict=True)
        )
        rows = zip(*(values for _, _, values in columns), strict=True)
        parts = [(heads, row) for row in rows]
        sql = " UNION ALL ".join(f"SELECT {head}" for head, _ in parts)
        answer = connection.sql(sql, params=[value for _, row in parts for value in row])
        sink = io.BytesIO()
        assert write_answer(answer, form, sink) == 3
        distinct = answer.project("*")
        return sink.getvalue(), list(distinct.columns), distinct.fetchall()


def alike(read: Any, value: Any) -> bool:
    """Equal, where NaN equals itself, and -0.0 is not 0.0."""
    if isinstance(value, float) and isinstance(read, float):
        return (math.isnan(read) and math.isnan(value)) or (
            read == value and math.copysign(1, read) == math.copysign(1, value)
        )
    if isinstance(value, list):
        return isinstance(read, list) and len(read) == len(value) and all(map(alike, read, value))
    if isinstance(value, dict):
        return (
            isinstance(read, dict)
            and list(read) == list(value)
            and all(alike(read[k], value[k]) for k in value)
        )
    return type(read) is type(value) and read == value


def cast_back(text: str | None, kind: str) -> Any:
    """The value that DuckDB reads in its own text."""
    with DATABASE.cursor() as connection:
        return connection.execute(f"SELECT CAST(? AS {kind})", [text]).fetchall()[0][0]


@settings(max_examples=60)
@example([("\r", "VARCHAR", ["\r", "a\rb", None]), ("a\n", "VARCHAR", ["\n", "\r\n", ""])])
@given(COLUMNS)
def test_csv_is_read_back(columns: Columns) -> None:
    content, names, rows = written(columns, AnswerFormat.csv)
    head, *read = read_csv(content.decode())
    assert head == names and len(read) == len(rows)
    for cells, row in zip(read, rows, strict=True):
        for cell, value, (_, kind, _) in zip(cells, row, columns, strict=True):
            if len(columns) == 1 and not cell:
                assert value in (None, "", b"", [])  # a lone null is an empty text: readers skip blank lines
            else:
                assert alike(cast_back(cell, kind), value), (cell, value)


def read_csv(text: str) -> list[list[str | None]]:
    """RFC 4180, where nothing at all is null and a pair of quotes an empty text, which Python's reader does not tell apart."""
    quoted = re.compile(r'(?:"((?:[^"]|"")*)"|([^,\n"]*))(,|\n)')
    rows, row, position = list[list[str | None]](), list[str | None](), 0
    while position < len(text):
        found = quoted.match(text, position)
        assert found, text[position:]
        row.append(found[1].replace('""', '"') if found[1] is not None else (found[2] or None))
        position = found.end()
        if found[3] == "\n":
            rows.append(row)
            row = []
    parsed = [[cell or "" for cell in row] for row in rows]
    assert parsed == list(csv.reader(io.StringIO(text, newline=""), strict=True))
    return rows


@settings(max_examples=60)
@given(COLUMNS)
def test_json_is_read_back(columns: Columns) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    content, names, rows = written(columns, AnswerFormat.json)
    read = json.loads(content, parse_constant=refuse, parse_float=Decimal)
    assert [list(item) for item in read] == [names] * len(rows)
    for item, row in zip(read, rows, strict=True):
        for value, expected, (_, kind, _) in zip(item.values(), row, columns, strict=True):
            assert alike(of_json(value, kind), expected), (value, expected)


def of_json(value: Any, kind: str) -> Any:
    if kind in ("DATE", "TIMESTAMP", "BLOB"):
        return cast_back(value, kind)
    if kind.startswith("DECIMAL") and value is not None:
        return Decimal(value)
    if kind in ("DOUBLE", "FLOAT") and value is not None:
        return float(value)
    if kind == "DOUBLE[]" and value is not None:
        return [None if inner is None else float(inner) for inner in value]
    return value


@settings(max_examples=60)
@given(COLUMNS)
def test_parquet_is_read_back(columns: Columns) -> None:
    content, names, rows = written(columns, AnswerFormat.parquet)
    table = pq.read_table(io.BytesIO(content))
    assert table.column_names == names
    for position, (_, kind, _) in enumerate(columns):
        for value, row in zip(table.column(position).to_pylist(), rows, strict=True):
            read = int(value) if kind in ("HUGEINT", "UHUGEINT") and value is not None else value
            assert alike(read, row[position]), (value, row[position])


@settings(max_examples=60)
@given(COLUMNS)
def test_lines_say_every_value_as_text(columns: Columns) -> None:
    content, names, rows = written(columns, AnswerFormat.line)
    blocks = content.decode().removesuffix("\n").split("\n\n")
    texts = as_text(columns)
    assert len(blocks) == len(rows)
    for block, row in zip(blocks, texts, strict=True):
        lines = block.split("\n")
        width = max(len(spelt_out(name)) for name in names)
        assert lines == [
            f"{spelt_out(name).rjust(width)} = {'NULL' if value is None else spelt_out(value)}"
            for name, value in zip(names, row, strict=True)
        ]


def as_text(columns: Columns) -> list[tuple[str | None, ...]]:
    """Every value as DuckDB's own text, one value at a time."""
    with DATABASE.cursor() as connection:

        def text(value: Any, kind: str) -> str | None:
            sql = f"SELECT CAST(CAST(? AS {kind}) AS VARCHAR)"
            return connection.execute(sql, [value]).fetchall()[0][0]  # type: ignore[no-any-return]

        return list(
            zip(*([text(value, kind) for value in values] for _, kind, values in columns), strict=True)
        )


@settings(max_examples=60)
@given(COLUMNS)
def test_markdown_is_one_table(columns: Columns) -> None:
    content, names, _ = written(columns, AnswerFormat.md)
    tokens = MarkdownIt("commonmark").enable("table").parse(content.decode())
    assert [token.type for token in tokens[:1] + tokens[-1:]] == ["table_open", "table_close"]
    cells = ["".join(map(shown, token.children or ())) for token in tokens if token.type == "inline"]
    expected = [*names, *("NULL" if value is None else value for row in as_text(columns) for value in row)]
    for cell, text in zip(cells, expected, strict=True):
        assert cell.strip() == "\n".join(map(spelt_out, re.split(r"\r\n|\r|\n", text))).strip(), (cell, text)


def shown(token: Any) -> str:
    """What a reader sees of one piece of a cell; no piece may be anything but text or a line break."""
    assert token.type in ("text", "text_special", "html_inline") and (
        token.type != "html_inline" or token.content == "<br>"
    ), token
    return "\n" if token.type == "html_inline" else token.content  # type: ignore[no-any-return]


SCRIPTS = st.text(
    st.sampled_from(
        [chr(code) for first, last in [(0x20, 0x7E), (0xA1, 0x17F), (0x300, 0x36F), (0x391, 0x3A1), (0x410, 0x44F),
         (0x5D0, 0x5EA), (0x621, 0x652), (0xE01, 0xE3A), (0xE3F, 0xE5B), (0xEB0, 0xEBC),
         (0x3041, 0x3096), (0x4E00, 0x4E80), (0xAC00, 0xAC80),
         (0xFF01, 0xFF5E), (0x1F300, 0x1F320), (0x1F600, 0x1F640)] for code in range(first, last + 1)]
        + list("\x00\t\n\r\x1b\x7f\x9b\u2028\u202e\u2066")
    ).filter(lambda letter: letter != "\xad"),
    max_size=12,
)  # fmt: skip
"""Letters whose width DuckDB, rich and terminals agree on; about flags, keycaps and Indic conjuncts terminals disagree."""


@settings(max_examples=100)
@example("น้ำ", "น้ำ", "ດຳ")
@example("กำ\x9b2J", "\u202eำ", "中文 😀")
@given(SCRIPTS, SCRIPTS, SCRIPTS.filter(lambda name: bool(name.strip("\0 \n\r\t"))))
def test_a_box_is_as_wide_on_every_line(first: str, second: str, name: str) -> None:
    """In columns of a terminal, whatever stands in it, and no text of it controls the terminal."""
    record = second.translate(dict.fromkeys(map(ord, "ำຳ")))  # which DuckDB gives no width
    with duckdb.connect(":memory:") as connection:
        quoted = '"' + name.replace("\0", "").replace('"', '""') + '"'
        sql = f"SELECT ? AS {quoted}, ? AS texts, {{'a': ?}} AS record, 1 AS n UNION ALL SELECT NULL, [], NULL, 2"
        drawn = box(connection.sql(sql, params=[first, [second, None], record]), None, 1_000_000)
    assert drawn.startswith("┌") and drawn.endswith("┘\n")
    assert len({cell_len(line) for line in drawn[:-1].split("\n")}) == 1, drawn
    assert not set("\0\t\r\x1b\x7f\x9b\u2028\u202e\u2066") & set(drawn)


@settings(max_examples=30)
@given(COLUMNS)
def test_a_box_holds_values_of_every_type(columns: Columns) -> None:
    text = written(columns, AnswerFormat.table)[0].decode()
    assert text.startswith("┌") and "\x1b" not in text and "\0" not in text


def test_what_128_bits_hold_is_refused_where_parquet_does_not() -> None:
    with duckdb.connect(":memory:") as connection:
        answer = connection.sql("SELECT (2::HUGEINT ** 126)::HUGEINT * 1 AS n")
        assert len(str(answer.fetchall()[0][0])) == 38
        with pytest.raises(duckdb.Error, match="DECIMAL"):
            write_answer(
                connection.sql("SELECT 170141183460469231731687303715884105727 AS n"),
                AnswerFormat.parquet,
                io.BytesIO(),
            )


@pytest.mark.parametrize(
    ("form", "content"),
    [
        (AnswerFormat.csv, b"a,a_1\n"),
        (AnswerFormat.json, b"[]\n"),
        (AnswerFormat.line, b""),
        (AnswerFormat.md, b"| a | a\\_1 |\n| --- | --- |\n"),
    ],
)
def test_no_rows_are_a_head_alone(form: AnswerFormat, content: bytes) -> None:
    sink = io.BytesIO()
    with duckdb.connect(":memory:") as connection:
        assert write_answer(connection.sql("SELECT 1 AS a, 2 AS a LIMIT 0"), form, sink) == 0
    assert sink.getvalue() == content


def test_a_box_leaves_columns_out_and_says_how_wide_it_would_be() -> None:
    with duckdb.connect(":memory:") as connection:
        answer = connection.sql(
            "SELECT " + ", ".join(f"'{i:030}' AS c{i}" for i in range(6)) + " FROM range(100)"
        )
        assert box_width(answer, None) > 150
        drawn = box(answer, None, 80)
        assert "…" in drawn and all(len(line) <= 80 for line in drawn.splitlines())
        assert "·" in drawn and "·" not in box(answer, 100, 80)

"""`polyneuron query`: what people and programs get from the command line."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from polyneuron.eval.store.store import Store
from polyneuron.pipelines import cli
from tests.eval.store_rows import MODEL, impacts

WIDE = "SELECT * FROM impacts ORDER BY language, neuron"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = Store(tmp_path_factory.mktemp("stores") / "store")
    for language in ("en", "[/bold]"):
        store.write("impacts", impacts(language, 12), language, {"model": MODEL, "language": language}, "r")
    return str(store.root)


def asked(
    capfdbinary: pytest.CaptureFixture[bytes], store: str, *arguments: str, code: int = 0
) -> tuple[str, str]:
    """Standard output and standard error of one command, which ends with `code`."""
    capfdbinary.readouterr()
    with pytest.raises(SystemExit) as left:
        cli.main(["query", "--store", store, *arguments])
    out, error = (part.decode() for part in capfdbinary.readouterr())
    assert left.value.code == code, error
    return out, error


def test_a_program_gets_every_row_as_csv(store: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    out, error = asked(capfdbinary, store, WIDE)
    head, *rows = csv.reader(io.StringIO(out))
    assert len(rows) == 24 and not error
    assert {row[head.index("language")] for row in rows} == {"en", "[/bold]"}


def test_every_format_is_asked_for_by_name(store: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    sql = "SELECT language, neuron FROM impacts ORDER BY ALL"
    signs = {
        "table": "│ [/bold]  │",
        "line": "language = [/bold]",
        "md": r"| \[/bold\] | 0 |",
        "csv": "[/bold],0",
    }
    for form, sign in signs.items():
        assert sign in asked(capfdbinary, store, sql, "--format", form)[0]
    found = json.loads(asked(capfdbinary, store, sql, "--format", "json", "--limit", "2")[0])
    assert found == [{"language": "[/bold]", "neuron": 0}, {"language": "[/bold]", "neuron": 1}]


@pytest.mark.parametrize("suffix", ["csv", "json", "md", "parquet", "PARQUET"])
def test_a_file_is_what_its_name_says(
    store: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], suffix: str
) -> None:
    file = tmp_path / f"answer.{suffix}"
    assert asked(capfdbinary, store, "SELECT 1 AS a", "-o", str(file)) == ("", "")
    if suffix.lower() == "parquet":
        assert pq.read_table(file).to_pylist() == [{"a": 1}]
    else:
        assert "1" in file.read_text() and "a" in file.read_text()


def test_a_file_is_whole_or_as_it_was(
    store: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    file = tmp_path / "answer.csv"
    file.write_text("before")
    sql = "SELECT CASE WHEN range = 99999 THEN error('late') ELSE range END FROM range(100000)"
    assert "late" in asked(capfdbinary, store, sql, "-o", str(file), code=2)[1]
    assert file.read_text() == "before" and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["SELECT 1", "-o", "answer"], "say --format"),
        (["SELECT 1", "-o", "/nowhere/answer.csv"], "/nowhere/answer.csv"),
        (["SELECT 1", "--limit", "-1"], "limit"),
        (["SELECT 1", "--format", "xml"], "xml"),
        (["SELECT nothing FROM impacts"], "impact_rms_min"),
    ],
)
def test_a_mistake_is_named(
    store: str, capfdbinary: pytest.CaptureFixture[bytes], arguments: list[str], message: str
) -> None:
    out, error = asked(capfdbinary, store, *arguments, code=2)
    assert message in error and not out


def test_no_rows_are_said(store: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    sql = "SELECT neuron, layer FROM impacts WHERE layer = 9"
    assert asked(capfdbinary, store, sql) == ("neuron,layer\n", "0 rows\n")
    assert asked(capfdbinary, store, "SELECT neuron FROM impacts", "--limit", "0")[1] == "0 rows\n"
    assert asked(capfdbinary, store, sql, "--format", "table")[0].count("0 rows") == 1


def test_a_terminal_gets_a_box_and_lines_where_it_is_too_wide(
    store: str, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    narrow = "SELECT language, neuron FROM impacts ORDER BY ALL"
    out, error = asked(capfdbinary, store, narrow)
    assert out.startswith("┌") and "[/bold]" in out and not error
    out, error = asked(capfdbinary, store, WIDE)
    assert out.startswith("             run_id = r\n") and out.count("run_id = ") == 10
    assert "first 10 rows" in error
    out, error = asked(capfdbinary, store, WIDE, "--limit", "20")
    assert out.count("run_id = ") == 20 and not error
    out, _ = asked(capfdbinary, store, WIDE, "--format", "table")
    assert out.startswith("┌") and all(len(line) <= 80 for line in out.splitlines())
    assert asked(capfdbinary, store, f"SELECT * FROM ({WIDE}) WHERE neuron < 0")[0].count("0 rows") == 1
    assert "-o" in asked(capfdbinary, store, "SELECT 1", "--format", "parquet", code=2)[1]

"""Local items are checked row by row; the hub's absence is one message that says which files to put where."""

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyneuron.eval.tasks.benchmark_data import BenchmarkData, dataset_card
from polyneuron.eval.tasks.benchmarks import BenchmarkTask, task_of
from polyneuron.neuron_core.common.errors import BenchmarkError, ConfigError

ROW = {"Question": "2+2?", "A": "3", "B": "4", "C": "5", "D": "6", "Answer": "B", "Subject": "anatomy"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYNEURON_CACHE", str(tmp_path / "cache"))


def planned(name: str, language: str, **settings: Any) -> BenchmarkTask:
    task = task_of(name, language, **settings)
    assert isinstance(task, BenchmarkTask)
    return task


def mmmlu(folder: Path, rows: list[dict[str, Any]]) -> BenchmarkData:
    root = folder / "data" / "openai" / "MMMLU"
    root.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), root / "sw.parquet")
    (root / "README.md").write_text(dataset_card({"SW_KE": {"test": "sw.parquet"}}), encoding="utf-8")
    return BenchmarkData(str(folder / "data"))


def test_local_data_name_their_subjects_and_their_contents_hash(tmp_path: Path) -> None:
    rows = [ROW, ROW | {"Subject": "virology_test.csv_sw-KE.csv"}]
    found = mmmlu(tmp_path, rows).locate(planned("mmmlu", "sw"))
    assert found.subjects == ("anatomy", "virology") and found.kind == "local"
    changed = mmmlu(tmp_path, [*rows, ROW]).locate(planned("mmmlu", "sw"))
    assert changed.revision != found.revision


def test_a_folder_below_one_called_cache_is_hashed_too(tmp_path: Path) -> None:
    found = [mmmlu(tmp_path / name / ".cache", rows) for name, rows in (("a", [ROW]), ("b", [ROW, ROW]))]
    assert len({data.locate(planned("mmmlu", "sw")).revision for data in found}) == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROW | {"Answer": "E"}, "row 2: the answer 'E' is not one of A, B, C, D"),
        (ROW | {"Question": "  "}, "row 2: Question is empty"),
        (ROW | {"C": None}, "row 2: C is empty"),
    ],
)
def test_an_unusable_row_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        mmmlu(tmp_path, [ROW, row]).locate(planned("mmmlu", "sw"))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    row = {key: value for key, value in ROW.items() if key != "D"}
    with pytest.raises(BenchmarkError, match="lacks the column D"):
        mmmlu(tmp_path, [row]).locate(planned("mmmlu", "sw"))


def test_a_missing_folder_says_what_to_download(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="hf download --repo-type dataset facebook/xnli"):
        mmmlu(tmp_path, [ROW]).locate(planned("xnli", "sw"))


def test_the_hub_without_a_connection_says_which_files_to_put_where(monkeypatch: pytest.MonkeyPatch) -> None:
    # No host of this name exists, whatever network the test runs on.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://hub.invalid")
    with pytest.raises(BenchmarkError, match=r"local-dir DATA/juletxara/mgsm.*evaluation\.data=DATA"):
        BenchmarkData("hub").locate(planned("mgsm_direct", "sw"))


def write_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_users_mmmlu_file(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "th.csv", [ROW, ROW | {"Question": 'two\nlines, "quoted"'}])
    task = planned("mmmlu", "th", mmmlu_files={"th": str(file)})
    found = BenchmarkData("hub").locate(task)  # the file needs no hub
    assert found.subjects == ("anatomy",) and found.kind == "local" and found.config == "default"


@pytest.mark.parametrize(
    ("row", "message"),
    [({"Answer": "b"}, "the answer 'b'"), ({"A": ""}, "A is empty")],
)
def test_a_users_file_with_a_bad_row(tmp_path: Path, row: dict[str, str], message: str) -> None:
    file = write_csv(tmp_path / "th.csv", [ROW, ROW | row])
    task = planned("mmmlu", "th", mmmlu_files={"th": str(file)})
    with pytest.raises(BenchmarkError, match=f"th.csv, row 2: {message}"):
        BenchmarkData("hub").locate(task)


def test_a_users_file_without_a_column_or_that_is_missing(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "th.csv", [{key: ROW[key] for key in ROW if key != "Subject"}])
    with pytest.raises(BenchmarkError, match="lacks the column Subject"):
        BenchmarkData("hub").locate(planned("mmmlu", "th", mmmlu_files={"th": str(file)}))
    with pytest.raises(BenchmarkError, match="cannot be read"):
        BenchmarkData("hub").locate(planned("mmmlu", "th", mmmlu_files={"th": str(tmp_path / "no.csv")}))


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (["n,Question,A,A,B,C,D,Answer,Subject", "1,q,1,1,2,3,4,A,s"], ["column", "A"]),
        (
            ["n,Question,A,B,C,D,Answer,Subject", "1,q,1,2,3,4,A,s", "2,r,1,2,3,4,A,s", "3,q , 1,2,3,4,A,s"],
            ["row 3", "row 1"],
        ),
        (["n,Question,A,B,C,D,Answer,Subject", "1,q,1,2,3,4,A,s", "2,q,1,2, 1,4,A,s"], ["row 2", "'1'"]),
        (["n,Question,A,B,C,D,Answer,Subject", "1,q,1,2,3,4,A,s", "2,q, r,1,2,3,4,A,s"], ["row 2"]),
        (["n,Question,A,B,C,D,Answer,Subject", "1,q,1,2,3,4,A,s", "2,q,1,2,3,4,A"], ["row 2"]),
    ],
)
def test_a_users_file_says_everything_once(tmp_path: Path, lines: list[str], named: list[str]) -> None:
    file = tmp_path / "th.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(BenchmarkError) as caught:
        BenchmarkData("hub").locate(planned("mmmlu", "th", mmmlu_files={"th": str(file)}))
    assert all(name in caught.value.message for name in [str(file), *named])


@pytest.mark.parametrize("place", ["/proc/nope", "/dev/null/x"])
def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    file = tmp_path / "mmmlu.csv"
    file.write_text("Question,A,B,C,D,Answer,Subject\n2+2,1,2,4,5,C,abstract_algebra\n")
    data = mmmlu(tmp_path, [ROW])
    monkeypatch.setenv("POLYNEURON_CACHE", place)
    for task in (planned("mmmlu", "sw"), planned("mmmlu", "th", mmmlu_files={"th": str(file)})):
        with pytest.raises(ConfigError, match=f"{place}.*POLYNEURON_CACHE"):
            data.locate(task)

"""Training data: chosen by seed, checked, and apart from what the benchmarks ask."""

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyneuron.eval import samples
from polyneuron.eval.tasks.benchmark_data import BenchmarkData, dataset_card
from polyneuron.eval.tasks.training_data import squad_example, training_data, xnli_example
from polyneuron.neuron_core.common.errors import BenchmarkError


def rows(name: str) -> list[dict]:
    path = Path(samples.__file__).parent / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_examples_in_words() -> None:
    example = xnli_example({"premise": "It rains.", "hypothesis": "It is dry.", "label": 2})
    assert (example.prompt, example.answer) == ("It rains., right?", " No, It is dry.")
    row = {"context": "Ida is nine.", "question": "How old?"}
    example = squad_example(row | {"answers": {"text": ["nine", "9"], "answer_start": [7, 0]}})
    assert example.prompt == "Context: Ida is nine.\n\nQuestion: How old?\n\nAnswer:"
    assert example.answer == " nine" and example.needs_from == 16


def test_the_sample_is_balanced_and_apart_from_the_test_items() -> None:
    trained, tested = rows("xnli_train"), rows("xnli")
    assert Counter(row["label"] for row in trained) == {0: 16, 1: 16, 2: 16}
    assert len({(row["premise"], row["hypothesis"]) for row in trained}) == 48
    texts = {row[side]["en"] for row in tested for side in ("premise", "hypothesis")}
    assert not texts & {row[side] for row in trained for side in ("premise", "hypothesis")}
    contexts = {row["context"] for row in rows("squad_train")}
    assert len(contexts) == 6 and not contexts & {row["context"]["en"] for row in rows("xquad")}
    data = BenchmarkData("sample")
    xnli, squad = training_data("xnli", data), training_data("xquad", data)
    assert (len(xnli.examples), len(squad.examples)) == (48, 24)
    assert (xnli.dataset, squad.dataset) == ("facebook/xnli", "rajpurkar/squad")
    assert {xnli.kind, squad.kind} == {"sample"} and not xnli.n_unusable + squad.n_unusable


def test_items_are_chosen_by_seed() -> None:
    data = BenchmarkData("sample")
    some = training_data("xnli", data, n_items=10, seed=1)
    assert len(some.examples) == 10 and some.n_rows == 48
    assert some == training_data("xnli", data, n_items=10, seed=1)
    assert some.examples != training_data("xnli", data, n_items=10, seed=2).examples
    assert set(some.examples) < set(training_data("xnli", data, n_items=11, seed=1).examples)
    assert len(training_data("xnli", data, n_items=99).examples) == 48


def local(folder: Path, split: str, answer: str = "nine", start: int = 7) -> BenchmarkData:
    root = folder / "rajpurkar" / "squad"
    root.mkdir(parents=True)
    row = {
        "id": "0",
        "title": "a",
        "context": "Ida is nine.",
        "question": "How old?",
        "answers": {"text": [answer], "answer_start": [start]},
    }
    pq.write_table(pa.Table.from_pylist([row]), root / "rows.parquet")
    (root / "README.md").write_text(dataset_card({"plain_text": {split: "rows.parquet"}}), encoding="utf-8")
    return BenchmarkData(str(folder))


def test_local_rows_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYNEURON_CACHE", str(tmp_path / "cache"))
    assert len(training_data("xquad", local(tmp_path / "good", "train")).examples) == 1
    with pytest.raises(BenchmarkError, match="row 1: the answer 'nine' does not stand at character 3"):
        training_data("xquad", local(tmp_path / "bad", "train", start=3))
    with pytest.raises(BenchmarkError, match="SQuAD in .* has no train split"):
        training_data("xquad", local(tmp_path / "other", "validation"))
    with pytest.raises(BenchmarkError, match="hf download --repo-type dataset rajpurkar/squad"):
        training_data("xquad", BenchmarkData(str(tmp_path / "nowhere")))

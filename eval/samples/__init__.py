"""A small original sample of each benchmark's schema, so that the quick study and the tests run without a hub.

Written for this project and released as CC0. It shows mechanics: it is no benchmark, scores on it say nothing about a model, and
what is trained on it has learnt nothing. The files beside this one hold each item once with all its languages, and in English the
items to train on; `sample_folder` lays them out as the benchmarks' own datasets, in their columns.
"""

import csv
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from polyneuron.eval.tasks.benchmark_data import dataset_card
from polyneuron.neuron_core.common.cache import cache_folder, writable_cache

_HERE = Path(__file__).parent
_MMMLU_CONFIGS = {"zh": "ZH_CN", "sw": "SW_KE", "fr": "FR_FR", "de": "DE_DE"}


@cache
def sample_folder() -> Path:
    """A folder with `<organisation>/<dataset>/` for each benchmark of the sample, made in the cache at first use."""
    made_of = [*sorted(_HERE.glob("*.jsonl")), Path(__file__)]
    name = xxhash.xxh3_64_hexdigest(b"".join(file.read_bytes() for file in made_of))
    folder = cache_folder() / "samples" / name
    if not (folder / "complete").exists():
        writable_cache("samples", name)
        for dataset, configs in (
            ("juletxara/mgsm", dict(_mgsm())),
            ("openai/MMMLU", dict(_mmmlu())),
            ("cais/mmlu", dict(_mmlu())),
            ("facebook/xnli", dict(_xnli())),
            ("google/xquad", dict(_xquad())),
            ("rajpurkar/squad", dict(_squad())),
        ):
            _write(folder / dataset, configs)
        _write_thai_file(folder / "mmmlu_th.csv")
        (folder / "complete").touch()
    return folder


def sample_mmmlu_files() -> dict[str, str]:
    """For the languages MMMLU lacks and the sample has, beside English: a file in MMMLU's columns."""
    return {"th": str(sample_folder() / "mmmlu_th.csv")}


Splits = dict[str, list[dict[str, Any]]]


def _rows(name: str) -> list[dict[str, Any]]:
    with (_HERE / f"{name}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def _mgsm() -> Iterator[tuple[str, Splits]]:
    rows = _rows("mgsm")
    for words in _rows("mgsm_words"):  # how examples begin; test questions go without
        language = words["language"]
        splits: Splits = {"train": [], "test": []}
        for row in rows:
            example, question = row["split"] == "train", row["question"][language]
            splits[row["split"]].append(
                {
                    "question": words["question"] + question if example else question,
                    "answer": words["steps"] + row["steps"][language] if example else None,
                    "answer_number": row["answer"],
                    "equation_solution": None,
                }
            )
        yield language, splits


def _mmmlu_row(row: dict[str, Any], language: str) -> dict[str, str]:
    choices = dict(zip("ABCD", row["choices"][language], strict=True))
    question = row["question"][language]
    return {"Question": question, **choices, "Answer": "ABCD"[row["answer"]], "Subject": row["subject"]}


def _mmmlu() -> Iterator[tuple[str, Splits]]:
    tested = [row for row in _rows("mmmlu") if row["split"] == "test"]
    for language, config in _MMMLU_CONFIGS.items():
        yield config, {"test": [_mmmlu_row(row, language) for row in tested]}


def _mmlu() -> Iterator[tuple[str, Splits]]:
    rows = _rows("mmmlu")
    for subject in dict.fromkeys(row["subject"] for row in rows):
        splits: Splits = {"test": [], "dev": []}
        for row in rows:
            if row["subject"] == subject:
                chosen = {"choices": row["choices"]["en"], "answer": row["answer"]}
                splits[row["split"]].append({"question": row["question"]["en"], "subject": subject, **chosen})
        yield subject, splits


def _xnli() -> Iterator[tuple[str, Splits]]:
    rows = _rows("xnli")
    for language in rows[0]["premise"]:
        pairs = [
            {name: row[name][language] for name in ("premise", "hypothesis")} | {"label": row["label"]}
            for row in rows
        ]
        # The official task names a train split, from which examples would be drawn; only English is trained on.
        yield language, {"train": _rows("xnli_train") if language == "en" else pairs[:1], "validation": pairs}


def _squad() -> Iterator[tuple[str, Splits]]:
    yield "plain_text", {"train": [row for article in _rows("squad_train") for row in _asked(article)]}


def _xquad() -> Iterator[tuple[str, Splits]]:
    articles = _rows("xquad")
    for language in articles[0]["context"]:
        asked = [row for article in articles for row in _asked(article, language)]
        yield f"xquad.{language}", {"validation": asked}


def _asked(article: dict[str, Any], language: str = "") -> Iterator[dict[str, Any]]:
    """A row for each question on an article, in one of its languages where it has several, else with its title."""
    title = {} if language else {"title": article["id"]}
    for number, pair in enumerate(article["qas"]):
        texts = [article["context"], pair["question"], pair["answer"]]
        context, question, answer = [text[language] for text in texts] if language else texts
        answers = {"text": [answer], "answer_start": [context.index(answer)]}
        name = f"{article['id']}-{number}"
        yield {"id": name, **title, "context": context, "question": question, "answers": answers}


def _write(folder: Path, configs: dict[str, Splits]) -> None:
    for config, splits in configs.items():
        for split, rows in splits.items():
            path = folder / config / f"{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(_table(rows), path)
    files = {name: {split: f"{name}/{split}.parquet" for split in splits} for name, splits in configs.items()}
    (folder / "README.md").write_text(dataset_card(files), encoding="utf-8")


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    """A column of nothing but nulls would be untyped in one split and text in the other."""
    table = pa.Table.from_pylist(rows)
    text = pa.string()
    typed = [field.with_type(text) if pa.types.is_null(field.type) else field for field in table.schema]
    return table.cast(pa.schema(typed))


def _write_thai_file(path: Path) -> None:
    rows = [_mmmlu_row(row, "th") for row in _rows("mmmlu") if row["split"] == "test"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

"""Supervised training data in the benchmarks' own words: XNLI's English train split, and SQuAD's for XQuAD.

A model is taught on the very text that lm-eval's zero-shot prompts of `xnli_en` and `xquad_en` would give it, with the
right answer in its place (a test holds both against lm-eval). XQuAD is a translation of a part of SQuAD's validation
split and has no train split; SQuAD's train split shares no article with it. Imports nothing heavy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import xxhash

from polyneuron.eval.tasks.benchmark_data import BenchmarkData
from polyneuron.eval.tasks.benchmarks import BENCHMARKS, SQUAD, Benchmark, BenchmarkTask
from polyneuron.eval.tasks.row_rules import ROW_RULES
from polyneuron.neuron_core.common.errors import BenchmarkError
from polyneuron.neuron_core.training.data.answers import Example

SupervisedTask = Literal["xnli", "xquad"]
"""Tasks that can be trained, by the benchmark that judges them."""

LANGUAGE = "en"
"""Of all training data: paper B's source language."""

_XNLI_WORDS = ("Yes", "Also", "No")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """Examples of one task."""

    examples: tuple[Example, ...]
    """In the order of the dataset's rows."""
    dataset: str
    """Hub id of the dataset."""
    kind: str
    """Where it lies: "hub", "local" or "sample"."""
    revision: str
    """The hub's commit, or a hash of the local files."""
    n_rows: int
    """Rows of the whole train split."""
    n_unusable: int
    """Of the rows chosen, those left out because a field is empty or the answer does not fit."""


def xnli_example(row: Mapping[str, Any]) -> Example:
    """A premise, the word for its label, and the hypothesis.

    lm-eval asks nothing: it compares the likelihoods of "<premise>, right? Yes, <hypothesis>" and of the same with Also
    and No. The premise is common to the three, so what decides, and what is learnt, is the word and all that follows it.
    """
    word = _XNLI_WORDS[row["label"]]
    return Example(f"{row['premise']}, right?", f" {word}, {row['hypothesis']}", scored=True)


def squad_example(row: Mapping[str, Any]) -> Example:
    """A context with a question, and the answer's first reading; the part of the context that holds it must stay."""
    before = "Context: "
    prompt = f"{before}{row['context']}\n\nQuestion: {row['question']}\n\nAnswer:"
    start = len(before) + row["answers"]["answer_start"][0]
    return Example(prompt, f" {row['answers']['text'][0]}", scored=False, needs_from=start)


_SOURCES: dict[str, tuple[Benchmark, Callable[[Mapping[str, Any]], Example]]] = {
    "xnli": (BENCHMARKS["xnli"], xnli_example),
    "xquad": (SQUAD, squad_example),
}


def training_task(task: SupervisedTask) -> BenchmarkTask:
    """What `BenchmarkData` locates the rows by."""
    source = _SOURCES[task][0]
    return BenchmarkTask(benchmark=source, asked_for=source.name, language=LANGUAGE, code=LANGUAGE)


def training_data(
    task: SupervisedTask, data: BenchmarkData, n_items: int | None = None, seed: int = 0
) -> TrainingData:
    """The examples of a task from the hub, a local folder or the embedded sample. n_items: how many rows, chosen by `seed`; None,
    or more than there are: all. Raises BenchmarkError when the dataset is not there or cannot be read."""
    from datasets import load_dataset

    source, example_of = _SOURCES[task]
    located = data.locate(training_task(task))
    try:
        rows = load_dataset(located.path, located.config, split="train", **located.kwargs)
    except (ValueError, OSError) as error:
        raise BenchmarkError(
            f"{source.title} in {located.path} has no train split that can be read: {str(error).splitlines()[0]}"
        ) from error
    n_rows = len(rows)
    chosen = list(rows.select(_chosen(n_rows, n_items, seed)))
    usable = [row for row in chosen if ROW_RULES[source.dataset].problem(row) is None]
    return TrainingData(
        examples=tuple(example_of(row) for row in usable),
        dataset=source.dataset,
        kind=located.kind,
        revision=located.revision,
        n_rows=n_rows,
        n_unusable=len(chosen) - len(usable),
    )


def _chosen(n_rows: int, n_items: int | None, seed: int) -> list[int]:
    """The rows with the smallest seeded hashes, ascending: the choice outlives any library's random numbers."""
    if n_items is None or n_items >= n_rows:
        return list(range(n_rows))
    order = sorted(range(n_rows), key=lambda row: xxhash.xxh3_64_intdigest(f"{seed}:{row}".encode()))
    return sorted(order[:n_items])

"""The benchmarks: for (benchmark, language) the lm-eval tasks, their data and how they are judged.

Task definitions and prompts are lm-eval's own (`eval/tasks/harness.py` loads them); the table `benchmarks.toml` only says
which task stands for which language, with how many examples, and what takes the place of a language that is missing.
Imports nothing heavy.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from polyneuron.neuron_core.common.errors import ConfigError

NO_FILTER = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """One family of lm-eval tasks, and the one number it is judged by."""

    name: str
    """Short name, by which configurations and the store know it."""
    title: str
    """Name for people."""
    folder: str = ""
    """The lm-eval folder that defines its tasks."""
    task: str = ""
    """lm-eval's name of the task, {code} for the language; with `subjects`, how the names of its subject tasks begin."""
    codes: Mapping[str, str] = field(hash=False)
    """What the benchmark calls each language."""
    dataset: str
    """Hub id of its data."""
    config: str = "{code}"
    """The dataset's configuration; {CODE}: the language's code in capitals."""
    metric: str
    """What it is judged by, higher being better."""
    filter: str = NO_FILTER
    """How the answer is taken out of a generated text."""
    subjects: str | None = None
    """The column that holds a row's subject, or "config": each subject is a configuration; None: it has no subjects."""
    n_shots: int = 0
    """How many examples stand before the question, unless another number is asked for."""
    max_gen_toks: int | None = None
    """The longest answer in tokens, unless asked for otherwise; None: nothing is generated."""
    stand_ins: Mapping[str, tuple[str, str]] = field(default_factory=dict, hash=False)
    """For languages that it lacks: another benchmark, and in words what takes its place."""
    n_items: int
    """Items of one language, of the split that is judged."""
    n_prompts: int = 1
    """Prompts an item, one for each choice; those that generate have one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkTask:
    """What is run for one benchmark in one language."""

    benchmark: Benchmark
    """Whose task it is, a stand-in's where the language's own is lacking."""
    asked_for: str
    """Name of the benchmark that was asked for."""
    language: str
    """The language, as the study calls it."""
    code: str
    """The benchmark's name for the language."""
    n_shots: int = 0
    """How many examples stand before the question."""
    max_gen_toks: int | None = None
    """The longest answer in tokens; None: nothing is generated."""
    max_items: int | None = None
    """How many items at most; None: all."""
    stand_in: str | None = None
    """In words, what takes the place of the language's own task, if anything."""
    user_file: str | None = None
    """A file of the user's own rows, in MMMLU's columns."""

    @property
    def lm_eval_name(self) -> str:
        """The lm-eval task, or the beginning of its subject tasks."""
        return self.benchmark.task.format(code=self.code)

    @property
    def config(self) -> str:
        """The dataset's configuration; {subject} is left to be filled in."""
        return self.benchmark.config.format(code=self.code, CODE=self.code.upper(), subject="{subject}")


@dataclass(frozen=True)
class Unavailable:
    """A benchmark without this language, and why."""

    asked_for: str
    language: str
    reason: str


def _read() -> dict[str, Benchmark]:
    rows = tomllib.loads(Path(__file__).with_name("benchmarks.toml").read_text(encoding="utf-8"))
    found = {}
    for name, row in rows.items():
        row = {**rows.get(row.pop("like", ""), {}), **row}
        codes = {code.partition("_")[0]: code for code in row.pop("codes").split()}
        found[name] = Benchmark(name=name, codes=codes, **row)
    return found


BENCHMARKS = _read()
SQUAD = BENCHMARKS.pop("squad")
"""Judges nothing: its train split is trained on."""


def task_of(
    name: str,
    language: str,
    *,
    n_shots: int | None = None,
    max_gen_toks: int | None = None,
    max_items: int | None = None,
    mmmlu_files: Mapping[str, str] | None = None,
) -> BenchmarkTask | Unavailable:
    """The task of one benchmark in one language; None for a setting means the benchmark's own.

    `mmmlu_files`: language -> CSV or Parquet file in MMMLU's columns, for languages MMMLU lacks.

    Raises ConfigError when there is no such benchmark.
    """
    if name not in BENCHMARKS:
        raise ConfigError(f"There is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    benchmark, stand_in, user_file = BENCHMARKS[name], None, None
    if name == "mmmlu" and mmmlu_files and language in mmmlu_files:
        user_file = mmmlu_files[language]
        stand_in = "a file in MMMLU's columns, under MMMLU's official prompt"
    elif language in benchmark.stand_ins:
        instead, stand_in = benchmark.stand_ins[language]
        benchmark = BENCHMARKS[instead]
    elif language not in benchmark.codes:
        offered = ", ".join(benchmark.codes)
        return Unavailable(name, language, f"{benchmark.title} has no {language}; it has {offered}")
    generates = benchmark.max_gen_toks is not None
    return BenchmarkTask(
        benchmark=benchmark,
        asked_for=name,
        language=language,
        code=benchmark.codes.get(language, language),
        n_shots=benchmark.n_shots if n_shots is None else n_shots,
        max_gen_toks=(max_gen_toks or benchmark.max_gen_toks) if generates else None,
        max_items=max_items,
        stand_in=stand_in,
        user_file=user_file,
    )

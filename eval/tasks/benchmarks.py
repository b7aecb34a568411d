"""The table of benchmarks: for (benchmark, language) the lm-eval tasks, their data and how they are judged.

Task definitions and prompts are lm-eval's own (`eval/tasks/harness.py` loads them); this table only says which task
stands for which language, with how many examples, and what takes the place of a language that is missing.
Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from polyneuron.neuron_core.common.errors import ConfigError

NO_FILTER = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """One family of lm-eval tasks, and the one number it is judged by."""

    name: str
    """Short name, by which configurations and the store know it."""
    title: str
    """Name for people."""
    folder: str
    """The lm-eval folder that defines its tasks."""
    task: str
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


def _codes(codes: str) -> dict[str, str]:
    """A benchmark's names for languages, which they begin with, by language."""
    return {code.partition("_")[0]: code for code in codes.split()}


def _mgsm(style: str, title: str) -> Benchmark:
    return Benchmark(
        name=f"mgsm_{style}",
        title=title,
        folder=f"mgsm/{style}",
        task=f"mgsm_{style}_{{code}}",
        codes=_codes("bn de en es fr ja ru sw te th zh"),
        dataset="juletxara/mgsm",
        metric="exact_match",
        filter="flexible-extract",
        n_shots=8,
        max_gen_toks=512,
    )


_ALL = (
    _mgsm("direct", "MGSM, direct answers"),
    _mgsm("native_cot", "MGSM, steps in the language"),
    _mgsm("en_cot", "MGSM, steps in English"),
    Benchmark(
        name="mmmlu",
        title="MMMLU",
        folder="openai-mmmlu/default",
        task="mmmlu_{code}_",
        codes=_codes("ar_xy bn_bd de_de es_la fr_fr hi_in id_id it_it ja_jp ko_kr pt_br sw_ke yo_ng zh_cn"),
        dataset="openai/MMMLU",
        config="{CODE}",
        metric="acc",
        subjects="Subject",
        n_shots=5,
    ),
    Benchmark(
        name="mmlu",
        title="MMLU",
        folder="mmlu/default",
        task="mmlu_",
        codes=_codes("en"),
        dataset="cais/mmlu",
        config="{subject}",
        metric="acc",
        subjects="config",
        n_shots=5,
    ),
    Benchmark(
        name="global_mmlu",
        title="Global-MMLU",
        folder="global_mmlu/full",
        task="global_mmlu_full_{code}_",
        codes=_codes(
            "am ar bn cs de el en es fa fil fr ha he hi id ig it ja ko ky lt mg ms ne nl ny pl pt ro ru si sn "
            "so sr sv sw te tr uk vi yo zh"
        ),
        dataset="CohereForAI/Global-MMLU",
        metric="acc",
        subjects="subject",
        n_shots=5,
    ),
    Benchmark(
        name="mmlu_prox",
        title="MMLU-ProX",
        folder="mmlu_prox",
        task="mmlu_prox_{code}_",
        codes=_codes(
            "af ar bn cs de en es fr hi hu id it ja ko mr ne pt ru sr sw te th uk ur vi wo yo zh zu"
        ),
        dataset="li-lab/MMLU-ProX",
        metric="exact_match",
        filter="custom-extract",
        subjects="category",
        n_shots=5,
        max_gen_toks=2048,
    ),
    Benchmark(
        name="xnli",
        title="XNLI",
        folder="xnli",
        task="xnli_{code}",
        codes=_codes("ar bg de el en es fr hi ru sw th tr ur vi zh"),
        dataset="facebook/xnli",
        metric="acc",
    ),
    Benchmark(
        name="xquad",
        title="XQuAD",
        folder="xquad",
        task="xquad_{code}",
        codes=_codes("ar de el en es hi ro ru th tr vi zh"),
        dataset="google/xquad",
        config="xquad.{code}",
        metric="f1",
        max_gen_toks=64,
    ),
)
BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ALL}

_STAND_INS = {
    ("mmmlu", "en"): ("mmlu", "MMLU (cais/mmlu), the English original: MMMLU has no English part"),
    ("mmmlu", "th"): (
        "mmlu_prox",
        "MMLU-ProX in Thai (ten choices, written answers): MMMLU has no Thai part; not comparable with the "
        "other languages' four choices",
    ),
}


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

    Raises:
        ConfigError: there is no such benchmark.
    """
    if name not in BENCHMARKS:
        raise ConfigError(f"There is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    benchmark, stand_in, user_file = BENCHMARKS[name], None, None
    if name == "mmmlu" and mmmlu_files and language in mmmlu_files:
        user_file = mmmlu_files[language]
        stand_in = "a file in MMMLU's columns, under MMMLU's official prompt"
    elif (name, language) in _STAND_INS:
        instead, stand_in = _STAND_INS[name, language]
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

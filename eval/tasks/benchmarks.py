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


@dataclass(frozen=True)
class Benchmark:
    """One family of lm-eval tasks.

    folders: lm-eval task folders that define it; task: the task's name, or where `subjects` is set the
    beginning of the names of its subject tasks, {code} standing for the language; codes: language -> code;
    dataset: hub id; config: the dataset's configuration ({CODE}: in capitals); subjects: None, or the column
    that holds a row's subject ("config": each subject is a configuration of the dataset); n_shots,
    max_gen_toks: defaults (None: nothing is generated); metric, filter: the one number it is judged by.
    """

    name: str
    title: str
    folders: tuple[str, ...]
    task: str
    codes: Mapping[str, str] = field(hash=False)
    dataset: str
    config: str
    metric: str
    filter: str = NO_FILTER
    subjects: str | None = None
    n_shots: int = 0
    max_gen_toks: int | None = None


@dataclass(frozen=True)
class BenchmarkTask:
    """What is run for one benchmark in one language.

    code: the benchmark's name for the language; stand_in: in words, what takes the place of the language's
    own task, or None; max_items: how many items at most (None: all); user_file: rows of the user's own, in
    MMMLU's columns.
    """

    benchmark: Benchmark
    asked_for: str
    language: str
    code: str
    n_shots: int
    max_gen_toks: int | None
    max_items: int | None
    stand_in: str | None = None
    user_file: str | None = None

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


def _same(languages: str) -> dict[str, str]:
    return {language: language for language in languages.split()}


_MGSM = _same("bn de en es fr ja ru sw te th zh")
_MMMLU = {
    "ar": "ar_xy",
    "bn": "bn_bd",
    "de": "de_de",
    "es": "es_la",
    "fr": "fr_fr",
    "hi": "hi_in",
    "id": "id_id",
    "it": "it_it",
    "ja": "ja_jp",
    "ko": "ko_kr",
    "pt": "pt_br",
    "sw": "sw_ke",
    "yo": "yo_ng",
    "zh": "zh_cn",
}


def _mgsm(style: str, title: str) -> Benchmark:
    return Benchmark(
        f"mgsm_{style}",
        title,
        (f"mgsm/{style}",),
        f"mgsm_{style}_{{code}}",
        _MGSM,
        "juletxara/mgsm",
        "{code}",
        "exact_match",
        "flexible-extract",
        n_shots=8,
        max_gen_toks=512,
    )


_ALL = (
    _mgsm("direct", "MGSM, direct answers"),
    _mgsm("native_cot", "MGSM, steps in the language"),
    _mgsm("en_cot", "MGSM, steps in English"),
    Benchmark(
        "mmmlu",
        "MMMLU",
        ("openai-mmmlu/default",),
        "mmmlu_{code}_",
        _MMMLU,
        "openai/MMMLU",
        "{CODE}",
        "acc",
        subjects="Subject",
        n_shots=5,
    ),
    Benchmark(
        "mmlu",
        "MMLU",
        ("mmlu/default",),
        "mmlu_",
        {"en": "en"},
        "cais/mmlu",
        "{subject}",
        "acc",
        subjects="config",
        n_shots=5,
    ),
    Benchmark(
        "global_mmlu",
        "Global-MMLU",
        ("global_mmlu/full",),
        "global_mmlu_full_{code}_",
        _same(
            "am ar bn cs de el en es fa fil fr ha he hi id ig it ja ko ky lt mg ms ne nl ny pl pt ro ru si sn "
            "so sr sv sw te tr uk vi yo zh"
        ),
        "CohereForAI/Global-MMLU",
        "{code}",
        "acc",
        subjects="subject",
        n_shots=5,
    ),
    Benchmark(
        "mmlu_prox",
        "MMLU-ProX",
        ("mmlu_prox",),
        "mmlu_prox_{code}_",
        _same("af ar bn cs de en es fr hi hu id it ja ko mr ne pt ru sr sw te th uk ur vi wo yo zh zu"),
        "li-lab/MMLU-ProX",
        "{code}",
        "exact_match",
        "custom-extract",
        subjects="category",
        n_shots=5,
        max_gen_toks=2048,
    ),
    Benchmark(
        "xnli",
        "XNLI",
        ("xnli",),
        "xnli_{code}",
        _same("ar bg de el en es fr hi ru sw th tr ur vi zh"),
        "facebook/xnli",
        "{code}",
        "acc",
    ),
    Benchmark(
        "xquad",
        "XQuAD",
        ("xquad",),
        "xquad_{code}",
        _same("ar de el en es hi ro ru th tr vi zh"),
        "google/xquad",
        "xquad.{code}",
        "f1",
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
    n_shots: int | None = None,
    max_gen_toks: int | None = None,
    max_items: int | None = None,
    mmmlu_files: Mapping[str, str] | None = None,
) -> BenchmarkTask | Unavailable:
    """The task of one benchmark in one language; None for a setting means the table's own.

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
        benchmark,
        name,
        language,
        benchmark.codes.get(language, language),
        benchmark.n_shots if n_shots is None else n_shots,
        (max_gen_toks or benchmark.max_gen_toks) if generates else None,
        max_items,
        stand_in,
        user_file,
    )

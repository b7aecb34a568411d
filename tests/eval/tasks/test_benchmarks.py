"""The table of benchmarks against lm-eval's own index, and what is planned for each language."""

import pytest

from polyneuron.eval.tasks.benchmarks import BENCHMARKS, BenchmarkTask, Unavailable, task_of
from polyneuron.neuron_core.common.errors import ConfigError

SUBJECTS = {"mmlu_prox": 14}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_task_of_the_table_exists_in_lm_eval(name: str) -> None:
    from polyneuron.eval.tasks.harness import _manager

    benchmark = BENCHMARKS[name]
    known = _manager(benchmark.folder).all_subtasks
    for language, code in benchmark.codes.items():
        task = benchmark.task.format(code=code)
        found = [entry for entry in known if entry.startswith(task)] if benchmark.subjects else [task]
        assert set(found) <= set(known), (language, task)
        assert len(found) == (SUBJECTS.get(name, 57) if benchmark.subjects else 1), language


def test_defaults_are_the_pinned_ones() -> None:
    task = task_of("mgsm_native_cot", "sw")
    assert isinstance(task, BenchmarkTask)
    assert (task.lm_eval_name, task.n_shots, task.max_gen_toks) == ("mgsm_native_cot_sw", 8, 512)
    task = task_of("xnli", "th")
    assert isinstance(task, BenchmarkTask) and (task.n_shots, task.max_gen_toks) == (0, None)


def test_mmmlu_without_english_and_thai_says_what_stands_in() -> None:
    english, thai = task_of("mmmlu", "en"), task_of("mmmlu", "th")
    assert isinstance(english, BenchmarkTask) and isinstance(thai, BenchmarkTask)
    assert english.benchmark.name == "mmlu" and "MMMLU has no English" in str(english.stand_in)
    assert thai.benchmark.name == "mmlu_prox" and "not comparable" in str(thai.stand_in)
    assert thai.asked_for == "mmmlu"


def test_a_users_file_takes_the_place_of_the_stand_in() -> None:
    task = task_of("mmmlu", "th", mmmlu_files={"th": "th.csv"})
    assert isinstance(task, BenchmarkTask)
    assert task.benchmark.name == "mmmlu" and task.user_file == "th.csv"


def test_a_language_a_benchmark_lacks_is_null_with_the_reason() -> None:
    task = task_of("xquad", "sw")
    assert isinstance(task, Unavailable)
    assert "XQuAD has no sw" in task.reason and "th" in task.reason


def test_an_unknown_benchmark_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="mgsm_direct"):
        task_of("mgsm", "sw")

"""Prompts rendered through our loading equal, string for string, what lm-eval renders by itself from the same data."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.samples import sample_folder
from polyneuron.eval.tasks.benchmark_data import BenchmarkData
from polyneuron.eval.tasks.benchmarks import BenchmarkTask, task_of
from polyneuron.eval.tasks.harness import FEWSHOT_SEED, Tasks

CASES = [
    ("mgsm_direct", "sw", 4),
    ("mgsm_direct", "zh", 4),
    ("mgsm_native_cot", "th", 4),
    ("mgsm_en_cot", "de", 4),
    ("mmmlu", "sw", 5),
    ("mmmlu", "zh", 5),
    ("mmmlu", "en", 4),
    ("xnli", "fr", 0),
    ("xquad", "th", 0),
]


@pytest.fixture
def in_sample_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The official `dataset_path`s are relative to here, so that lm-eval reads the sample by itself."""
    monkeypatch.chdir(sample_folder())
    yield


def rendered(task: Any, n_shots: int) -> list[Any]:
    task.set_config(key="num_fewshot", value=n_shots)
    task.set_fewshot_seed(seed=FEWSHOT_SEED)
    task.build_all_requests(rank=0, world_size=1)
    return [
        [part for part in instance.args if isinstance(part, str)]
        for instance in sorted(task.instances, key=lambda instance: (instance.doc_id, instance.idx))
    ]


@pytest.mark.parametrize(("name", "language", "n_shots"), CASES)
def test_prompts_are_the_official_ones(
    name: str, language: str, n_shots: int, in_sample_folder: None
) -> None:
    import lm_eval.tasks

    task = task_of(name, language, n_shots=n_shots)
    assert isinstance(task, BenchmarkTask)
    ours = Tasks(task, BenchmarkData("sample").locate(task))
    root = Path(lm_eval.tasks.__file__).parent
    official = lm_eval.tasks.TaskManager(
        include_defaults=False, include_path=[str(root / task.benchmark.folder)]
    )
    assert os.path.isdir(task.benchmark.dataset)
    n_prompts = 0
    for task_name, lm_task in official.load(list(ours.names))["tasks"].items():
        theirs = rendered(lm_task, n_shots)
        assert rendered(ours.tasks[task_name], n_shots) == theirs
        n_prompts += len(theirs)
    assert n_prompts >= 20
    print(f"{name} {language}, {n_shots} shots: {n_prompts} prompts equal")


def test_a_thai_file_gets_mmmlus_prompt_with_its_own_language() -> None:
    task = task_of("mmmlu", "th", n_shots=0, mmmlu_files={"th": str(sample_folder() / "mmmlu_th.csv")})
    assert isinstance(task, BenchmarkTask)
    tasks = Tasks(task, BenchmarkData("sample").locate(task))
    prompt = rendered(next(iter(tasks.tasks.values())), 0)[0][0]
    assert prompt.startswith("The following are multiple choice questions (with answers) about ")
    assert "(Thai).\n\n" in prompt and prompt.endswith("\nAnswer:")

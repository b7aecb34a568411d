"""What benchmarks ask of the engine, and how long it generates."""

from pathlib import Path

import pytest

from polyneuron.cluster.capacity.devices import parse_devices
from polyneuron.cluster.capacity.engine import EngineNeed, Requests, generating_bytes
from polyneuron.eval.tasks.benchmarks import BENCHMARKS
from polyneuron.pipelines.config.evaluation import BenchmarkConfig
from polyneuron.pipelines.plan.engine import study_requests, task_requests
from polyneuron.pipelines.plan.planning import plan
from tests.pipelines.plan.cases import large


@pytest.mark.parametrize(
    ("name", "n_prompts"),
    [
        ("mgsm_direct", 250),
        ("mgsm_native_cot", 250),
        ("mgsm_en_cot", 250),
        ("mmmlu", 4 * 14_042),
        ("mmlu", 4 * 14_042),
        ("global_mmlu", 4 * 14_042),
        ("mmlu_prox", 11_759),
        ("xnli", 3 * 2_490),
        ("xquad", 1_190),
    ],
)
def test_every_item_of_a_benchmark_is_asked(name: str, n_prompts: int, tmp_path: Path) -> None:
    asked = task_requests(large(tmp_path / "store"), BenchmarkConfig(name=name, n_shots=0))
    assert asked.prompt_tokens == n_prompts * 120


def test_the_items_of_every_benchmark_are_counted(tmp_path: Path) -> None:
    config = large(tmp_path / "store")
    assert all(task_requests(config, BenchmarkConfig(name=name)).prompt_tokens for name in BENCHMARKS)


def test_generating_takes_as_long_as_reading_weights_and_cache(tmp_path: Path) -> None:
    """An answer of MGSM is taken to have 256 tokens, after eight examples and the question."""
    tasks = {"benchmarks": [{"name": "mgsm_direct"}], "languages": ["sw"], "variants": []}
    engine = {"engine": {"tensor_parallel": 8, "gpus": 8}}
    config = large(tmp_path / "store", evaluation=tasks | engine, training={})
    (row,) = plan(config, parse_devices("8x80GB")).models
    asked = Requests(250 * 9 * 120, 250 * 256, 250 * 256 * (9 * 120 + 128))
    assert study_requests(config) == asked
    evaluation = row.stages[-1]
    need = EngineNeed(tensor_parallel=8, on_gpu=True, max_model_len=4096, max_num_seqs=64, utilisation=0.85)
    assert row.shape is not None
    assert evaluation.stage.generating_bytes == generating_bytes(row.shape, need, asked)
    assert evaluation.seconds["generating"] == evaluation.stage.generating_bytes / 2e12

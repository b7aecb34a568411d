"""`polyneuron say` through transformers and through vLLM: the same answers, whatever is changed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.store.store import Store
from polyneuron.pipelines.config.load import load_study
from polyneuron.pipelines.config.study import StudyConfig
from polyneuron.pipelines.run.record import Run
from tests.pipelines.in_process import TinyStudy, tiny_config
from tests.real_models import smollm2_gguf
from tests.tiny_models import save_tiny_model

ROOT = Path(__file__).parents[3]


def detected(config: StudyConfig, model: Path) -> Path:
    """The store of a study that went as far as its sets."""
    run = Run(Store(config.store), config)
    with TinyStudy(config, model, run.id) as study:
        study.do("corpora", "detection")
    run.record("finished")
    return Path(config.store)


def answers(engine: str, *arguments: object, timeout_s: float = 400) -> list[dict[str, Any]]:
    """What `say` prints in a process of its own, which is where vLLM belongs."""
    ran = subprocess.run(
        [sys.executable, "-m", "polyneuron.pipelines.cli", "say", "--engine", engine, "--format", "json"]
        + [str(each) for each in arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout)
    assert found["engine"] == engine
    said: list[dict[str, Any]] = found["answers"]
    return said


@pytest.mark.long
@pytest.mark.timeout(900)
def test_engines_say_the_same(tmp_path: Path) -> None:
    """Sizes that vLLM's attention accepts: heads of 32. That the base model answers as at first, `say` itself requires."""
    model = save_tiny_model(tmp_path / "tiny", spread=0.1, hidden_size=128)
    sections = {"detection": {"mode": "full"}, "selection": {"target_shared": 0.1}}
    store = detected(tiny_config(model, tmp_path / "store", **sections), model)
    asked = (
        "--store",
        store,
        "--scale",
        "shared=3",
        "--variant",
        "exclusive-sw",
        "--max-tokens",
        16,
        "Habari",
    )
    hf, vllm = answers("hf", *asked), answers("vllm", *asked)
    assert hf == vllm
    titles = ["base", "shared × 3", "control: random neurons", "exclusive-sw"]
    assert [each["variant"] for each in hf] == titles
    texts = [each["answer"] for each in hf]
    assert len(set(texts)) == len(texts) and all(texts), "every change shows"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["hf", "vllm"])
@pytest.mark.timeout(1800)
def test_without_the_shared_set_the_capital_is_forgotten(
    engine: str, smollm2_store: Path, tmp_path: Path
) -> None:
    """`say` asks the base model once more after all changes, and fails where it answers otherwise than at first."""
    asked = ("--off", "shared", "--max-tokens", 8, "The capital of France is")
    base, without, control = answers(engine, "--store", smollm2_store, *asked, timeout_s=1000)
    assert base["answer"].startswith(" Paris") and control["answer"].startswith(" Paris")
    assert "Paris" not in without["answer"] and without["n_neurons"] == control["n_neurons"] > 0


@pytest.fixture(scope="module")
def smollm2_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets of the quick study, from a fifth of its sentences in three of its languages."""
    overrides = [
        f"store={tmp_path_factory.mktemp('smollm2') / 'store'}",
        "languages=en,zh,sw",
        "corpus.n_detection=20",
        "corpus.n_heldout=2",
        "detection.noise_floor=off",
    ]
    return detected(load_study("study_smollm2", overrides), smollm2_gguf())

"""A tiny study with its sets and perplexities, as a run leaves it in a store."""

from pathlib import Path

import pytest

from polyneuron.eval.store.store import Store
from polyneuron.pipelines.notebook.study import OpenedStudy, open_study
from polyneuron.pipelines.run.record import Run
from tests.pipelines.in_process import TinyStudy, tiny_config
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny", intermediate_size=200)


@pytest.fixture(scope="module")
def store(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "store"
    sections = {"detection": {"mode": "full"}, "selection": {"target_shared": 0.02}}
    config = tiny_config(model, folder, languages=["en", "sw", "th"], **sections)
    run = Run(Store(folder), config)
    TinyStudy(config, model, run.id).do("corpora", "detection", "ablation", "metrics")
    run.record("finished")
    return folder


@pytest.fixture(scope="module")
def study(store: Path) -> OpenedStudy:
    return open_study(store)

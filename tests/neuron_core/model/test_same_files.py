"""Whoever opens a model later gets the files that were seen first, or none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.engines.hf_engine import HfEngine
from polyneuron.eval.engines.settings import EngineSettings
from polyneuron.eval.engines.vllm_engine import VllmEngine
from polyneuron.neuron_core.common.errors import ModelError
from polyneuron.neuron_core.model.folder import commit_of
from polyneuron.neuron_core.model.opening import load_config
from tests.own_process import found_by
from tests.tiny_models import save_tiny_model


@pytest.mark.parametrize("engine", [HfEngine, VllmEngine])
def test_an_engine_refuses_files_that_the_driver_did_not_see(
    tmp_path: Path, engine: Callable[[EngineSettings], Any]
) -> None:
    folder = save_tiny_model(tmp_path / "model")
    settings = EngineSettings(
        source=str(folder), backend="hf", dtype="float32", add_bos=False, fingerprint="0" * 16
    )
    with pytest.raises(ModelError, match=f"{folder} on "):
        engine(settings)


@pytest.mark.long
def test_models_of_the_hub_are_looked_at_too(tmp_path: Path) -> None:
    found = found_by("tests.neuron_core.model.hub_models", tmp_path, threads=1, timeout_s=120)
    assert set(found.pop("whole").values()) == {""}
    moved = found.pop("moved")
    assert moved["commit"] == "a" * 40 and moved["kept"] == "" and "org/moved" in moved["newest"]
    for model, named in (("adapter", "adapter_config.json"), ("awq", "awq"), ("nowhere", "No model at"), ("outside", "../model-"),
                         ("lost", "org/lost")):  # fmt: skip
        for door, said in found[model].items():
            assert named in said and "CRASH" not in said, (model, door, said)


@pytest.mark.parametrize("door", [load_config, commit_of], ids=["load_config", "commit_of"])
def test_a_hub_out_of_reach_is_no_model_without_files(
    monkeypatch: pytest.MonkeyPatch, door: Callable[[str], object]
) -> None:
    """And it is asked for one file only: each costs half a minute of the library's patience."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    waits = list[float]()
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", waits.append)
    with pytest.raises(ModelError, match=r"No model at org/any: .*couldn't connect"):
        door("org/any")
    assert 0 < sum(waits) < 40

"""Model folders with one thing wrong: refused in one message at every door, or the model that they were."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import polyneuron as pn
from polyneuron.neuron_core.common.errors import PolyneuronError
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.run.studied_model import StudiedModel
from tests.model_mutations import base_folders, mutate
from tests.time_limit import no_longer_than
from tests.tiny_models import token_ids

IDS = torch.tensor(token_ids([9, 9]))
_LIMIT_S = 60


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return base_folders(tmp_path_factory.mktemp("bases"))


def verdict_of(error: PolyneuronError, folder: Path) -> str:
    """How a folder was refused; the message is one that a person can read, and says where."""
    assert len(error.message) > 20 and error.message.count("\n") < 10, error.message
    assert str(folder) in error.message, error.message
    return "refused"


def outcomes(folder: Path, original: torch.Tensor, what: str) -> tuple[str, str]:
    """What `load_model` and the study's own opening make of a folder."""
    with no_longer_than(_LIMIT_S):
        try:
            model, _ = pn.load_model(folder)
            logits = model(IDS).logits
            assert torch.isfinite(logits).all(), what
            if torch.equal(logits, original):
                loaded = "the same"
            else:  # a value of the config that transformers takes as it is, and that no file contradicts
                assert what.startswith("config"), what
                theirs, info = AutoModelForCausalLM.from_pretrained(
                    folder, dtype=torch.float32, output_loading_info=True, attn_implementation="sdpa"
                )
                assert not info["missing_keys"] and not info["unexpected_keys"], what
                assert torch.equal(theirs.eval()(IDS).logits, logits), what
                loaded = "another model"
        except PolyneuronError as error:
            loaded = verdict_of(error, folder)
    with no_longer_than(_LIMIT_S):
        try:
            StudiedModel.open(ModelConfig(path=str(folder), name="m"))
            opened = "opened"
        except PolyneuronError as error:
            opened = verdict_of(error, folder)
    return loaded, opened


def tried(bases: dict[str, Path], seeds: range, tmp_path: Path) -> Counter[str]:
    """How many folders came to which end. Both doors agree about each."""
    originals = {name: pn.load_model(folder)[0](IDS).logits for name, folder in bases.items()}
    count: Counter[str] = Counter()
    faults = []
    for seed in seeds:
        name = list(bases)[seed % len(bases)]
        folder = tmp_path / f"m{seed}" / "model"
        shutil.copytree(bases[name], folder)
        what = mutate(folder, seed)
        try:
            loaded, opened = outcomes(folder, originals[name], what)
            if (loaded == "refused") != (opened == "refused"):
                faults.append(f"{seed} {name} {what}: load_model {loaded}, study {opened}")
            count[loaded] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            faults.append(f"{seed} {name} {what}: {type(error).__name__} {str(error)[:300]}")
        shutil.rmtree(folder.parent)
    assert not faults, "\n".join(faults)
    return count


def test_some_mutated_folders(bases: dict[str, Path], tmp_path: Path) -> None:
    count = tried(bases, range(60), tmp_path)
    assert count["refused"] >= 30 and count["the same"] >= 3, count


@pytest.mark.slow
def test_many_mutated_folders(bases: dict[str, Path], tmp_path: Path) -> None:
    count = tried(bases, range(60, 660), tmp_path)
    print(count)
    assert count["refused"] >= 300 and count["the same"] >= 20, count

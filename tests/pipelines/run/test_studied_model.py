"""What decides a study's results is in the keys of its units: change it, and only it, and the work is due again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.run.studied_model import StudiedModel
from tests.tiny_models import save_tiny_model


def zero_a_row(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3] = 0
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def reword(name: str, **values: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | values))

    return change


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (zero_a_row, True),
        (reword("config.json", rms_norm_eps=1e-3), True),
        (reword("tokenizer_config.json", clean_up_tokenization_spaces=True), True),
        (reword("generation_config.json", repetition_penalty=1.1), True),
        (lambda folder: (folder / "README.md").write_text("x"), False),
        (lambda folder: (folder / "trainer_state.json").write_text("{}"), False),
        (lambda folder: (folder / "model.safetensors").touch(), False),
    ],
    ids=["row", "config", "tokenizer", "generation", "readme", "trainer", "touched"],
)
def test_keys_follow_what_decides(tmp_path: Path, change: Callable[[Path], object], counts: bool) -> None:
    folder = save_tiny_model(tmp_path / "model")
    config = ModelConfig(path=str(folder), name="m")
    before = StudiedModel.open(config).deciding()
    change(folder)
    assert (StudiedModel.open(config).deciding() != before) == counts

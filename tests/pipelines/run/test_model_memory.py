"""A model that opened before opens without transformers, exactly as long as opening it anew would give the same."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from polyneuron.neuron_core.common import memory
from polyneuron.neuron_core.common.errors import ModelError
from polyneuron.neuron_core.model import identity
from polyneuron.neuron_core.training.data.token_files import tokenizer_fingerprint
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.run import model_memory, studied_model
from polyneuron.pipelines.run.studied_model import StudiedModel
from tests.tiny_models import save_tiny_model

Change = Callable[[Path], object]
Opened = list[str]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """The sources that were opened with transformers. Files settle at once, and nothing is known at first."""
    monkeypatch.setenv("POLYNEURON_CACHE", str(tmp_path / "cache"))
    for module in (identity, model_memory):
        monkeypatch.setattr(module, "SETTLED_S", -60.0)
    sources, open_anew = Opened(), studied_model._opened

    def counted(parts: studied_model.Parts, source: str, *rest: object) -> model_memory.ModelFacts:
        sources.append(source)
        return open_anew(parts, source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(studied_model, "_opened", counted)
    return sources


def asked(model: StudiedModel) -> object:
    return model.deciding(), model.facts.as_json(), model.revision


def outcome(folder: Path, **settings: object) -> object:
    try:
        return asked(StudiedModel.open(ModelConfig(path=str(folder), name="m", **settings)))  # type: ignore[arg-type]
    except ModelError as error:
        return error.message


def in_weights(change: Callable[[dict[str, object]], object]) -> Change:
    def made(folder: Path) -> None:
        tensors = dict(load_file(folder / "model.safetensors"))
        change(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return made


def set_key(name: str, **values: object) -> Change:
    def made(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | values))

    return made


def last_bit(folder: Path) -> None:
    """Of the last weight, in a file that has the size and the time of change that it had."""
    path = folder / "model.safetensors"
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[-4] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


CHANGES: dict[str, Change] = {
    "nothing": lambda folder: None,
    "a bit of a weight": last_bit,
    "a tensor less": in_weights(lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight")),
    "a tensor that is not finite": in_weights(
        lambda tensors: tensors["model.norm.weight"].fill_(float("nan"))
    ),  # type: ignore[attr-defined]
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "half of the weights": lambda folder: os.truncate(folder / "model.safetensors", 1000),
    "a layer more in the config": set_key("config.json", num_hidden_layers=4),
    "a context in the config": set_key("config.json", max_position_embeddings=64),
    "another family": set_key("config.json", model_type="bert"),
    "no JSON": lambda folder: (folder / "config.json").write_text("{"),
    "no tokenizer": lambda folder: [path.unlink() for path in folder.glob("token*")],
    "another tokenizer": set_key("tokenizer_config.json", bos_token=None),
    "an adapter": lambda folder: (folder / "adapter_config.json").write_text("{}"),
    "a template that is no text": lambda folder: (folder / "chat_template.jinja").write_bytes(
        b"\xff\xfe\xff"
    ),
    "a readme": lambda folder: (folder / "README.md").write_text("x"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_every_change_is_met_as_if_nothing_were_known(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    folder = save_tiny_model(tmp_path / "model")
    first = outcome(folder)
    assert (outcome(folder), len(opened)) == (first, 1)  # the second time from memory
    change(folder)
    found = outcome(folder)
    monkeypatch.setenv("POLYNEURON_CACHE", str(tmp_path / "empty"))
    assert found == outcome(folder)


def test_memory_is_of_one_dtype_one_version_and_one_code(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_tiny_model(tmp_path / "model")
    for _ in range(2):
        outcome(folder)
        outcome(folder, dtype="bfloat16")
    assert len(opened) == 2
    monkeypatch.setattr(memory, "code_hash", lambda: "another")
    outcome(folder)
    assert len(opened) == 3
    monkeypatch.setattr(model_memory, "versions_of", lambda *names: dict.fromkeys(names, "99"))
    outcome(folder)
    assert len(opened) == 4


@pytest.mark.parametrize("left", [b"", b"{", b"null", b'{"key": 1}', b"\xff"])
def test_damaged_memory_is_no_memory(tmp_path: Path, opened: Opened, left: bytes) -> None:
    folder = save_tiny_model(tmp_path / "model")
    first = outcome(folder)
    for path in (tmp_path / "cache" / "found").rglob("*.json"):
        path.write_bytes(left)
    assert (outcome(folder), len(opened)) == (first, 2)
    assert (outcome(folder), len(opened)) == (first, 2)


def test_a_changed_value_in_memory_is_not_believed(tmp_path: Path, opened: Opened) -> None:
    folder = save_tiny_model(tmp_path / "model")
    first = outcome(folder)
    (path,) = (tmp_path / "cache" / "found" / "opened").glob("*.json")
    path.write_text(path.read_text().replace("128", "999"))
    assert (outcome(folder), len(opened)) == (first, 2)


def test_files_that_may_still_change_are_not_remembered(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_memory, "SETTLED_S", 3600.0)
    folder = save_tiny_model(tmp_path / "model")
    outcome(folder)
    outcome(folder)
    assert len(opened) == 2


TEXTS = [
    "",
    " ",
    "Wasser kocht.",
    "ภาษาไทย",
    "a" * 5000,
    "\N{ZERO WIDTH SPACE}x",
    "<s>x</s>",
    "Wasser kocht.",
]


def test_a_tokenizer_answers_from_memory_as_it_would_itself(tmp_path: Path, opened: Opened) -> None:
    config = ModelConfig(path=str(save_tiny_model(tmp_path / "model")), name="m")
    itself = StudiedModel.open(config).tokenizer
    for texts, is_new in ((TEXTS, True), (TEXTS, False), ([*TEXTS, "new"], True), (TEXTS[:3], False)):
        model = StudiedModel.open(config)
        with model.known_tokenizer(of="a test") as known:
            for text in texts:
                for special in (True, False):
                    told = known(text, add_special_tokens=special)["input_ids"]
                    assert told == itself(text, add_special_tokens=special)["input_ids"]
            assert known.fingerprint() == tokenizer_fingerprint(itself)
            assert (known.bos_token_id, known.eos_token_id) == (itself.bos_token_id, itself.eos_token_id)
        assert ("tokenizer" in vars(model.parts)) == is_new
        assert known.vocab_size == itself.vocab_size
    assert len(opened) == 1

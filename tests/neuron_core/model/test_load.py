"""Loading: what can be read loads, what cannot is one clear message."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer, BertConfig, BertModel

from polyneuron.neuron_core.common.errors import ModelError, UnsupportedArchitecture
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.gguf import dequantised, gguf_tokenizer, kept_folder
from polyneuron.neuron_core.model.load import from_pretrained, load_model
from polyneuron.neuron_core.model.opening import load_config
from tests.real_models import gemma3_gguf, smollm2_gguf
from tests.tiny_models import TINY, tiny_model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tiny_model("llama-gqa-tied").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_gguf_is_dequantised_once() -> None:
    folder = dequantised(smollm2_gguf())
    assert (folder / "model.safetensors").is_file()
    written = (folder / "model.safetensors").stat().st_mtime_ns
    model, tokenizer = load_model(smollm2_gguf())
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    assert anatomy_of(model).widths == {"q": 576, "k": 192, "v": 192, "ffn": 1536, "o": 576}
    assert tokenizer("Hello")["input_ids"]


@pytest.mark.slow
def test_a_gguf_that_asks_for_bos_has_a_tokenizer_that_adds_it(tmp_path: Path) -> None:
    tokenizer = gguf_tokenizer(gemma3_gguf())
    tokenizer.save_pretrained(tmp_path)
    for read in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        assert read("hola")["input_ids"] == [read.bos_token_id, 122310]
        assert read("hola", add_special_tokens=False)["input_ids"] == [122310]


def test_a_folder_of_an_older_conversion_is_not_taken_for_a_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYNEURON_CACHE", str(tmp_path))
    now = kept_folder(smollm2_gguf())
    older = now.with_name(now.name.rpartition("-")[0])  # as names were before conversions were counted
    older.mkdir(parents=True)
    assert not kept_folder(smollm2_gguf()).exists()
    now.mkdir()
    assert kept_folder(smollm2_gguf()) == now


def test_a_gguf_that_asks_for_no_bos_has_a_tokenizer_without_it() -> None:
    tokenizer = gguf_tokenizer(smollm2_gguf())
    assert tokenizer.bos_token_id not in tokenizer("hola")["input_ids"]


def test_saved_model_loads_bit_for_bit(saved: Path) -> None:
    model = from_pretrained(saved, load_config(saved), torch.float32)
    for name, parameter in tiny_model("llama-gqa-tied").named_parameters():
        assert torch.equal(model.get_parameter(name), parameter)


def test_missing_folder() -> None:
    with pytest.raises(ModelError, match="does not exist"):
        load_model("/nowhere/at/all")


def test_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No model at"):
        load_config(tmp_path)


def test_truncated_weights(saved: Path) -> None:
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot be read"):
        from_pretrained(saved, load_config(saved), torch.float32)


def test_corrupt_header(saved: Path) -> None:
    (saved / "model.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(ModelError, match="cannot be read"):
        from_pretrained(saved, load_config(saved), torch.float32)


def test_pickled_weights_are_not_opened(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    torch.save({}, saved / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        from_pretrained(saved, load_config(saved), torch.float32)


def test_not_a_causal_lm(tmp_path: Path) -> None:
    BertModel(
        BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    ).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedArchitecture, match=r"BertModel .*'bert'.*Llama 2/3"):
        load_config(tmp_path)


def test_impostor_names_what_it_lacks() -> None:
    model = tiny_model("llama-mha-untied")
    del model.model.layers[0].mlp.gate_proj
    with pytest.raises(UnsupportedArchitecture, match="mlp.gate_proj.weight"):
        anatomy_of(model)


@pytest.mark.parametrize("name", TINY)
def test_slices_cover_each_projection_once(name: str) -> None:
    """Zeroing every q, k and v neuron through the anatomy leaves no nonzero weight or bias in the
    projections.
    """
    model = tiny_model(name)
    anatomy = anatomy_of(model)
    layer = anatomy.layers(model)[0]
    for group in ("q", "k", "v"):
        for part in anatomy.slices(group):
            layer.get_parameter(part.parameter).data.narrow(
                part.axis, part.offset, anatomy.widths[group]
            ).zero_()
    for parameter_name, parameter in layer.self_attn.named_parameters():
        if "norm" not in parameter_name:
            assert bool(parameter.any()) == parameter_name.startswith("o_proj")


def test_file_that_is_not_gguf(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="cannot be dequantised"):
        dequantised(tmp_path / "x.gguf")


def test_config_alone_gives_the_anatomy(saved: Path) -> None:
    assert anatomy_of(AutoConfig.from_pretrained(saved)) == anatomy_of(tiny_model("llama-gqa-tied"))
    json.loads((saved / "config.json").read_text())

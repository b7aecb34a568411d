"""Every door opens a model in the same way: what one refuses the others refuse, in the same words, before anything heavy."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.utils.hub import get_checkpoint_shard_files

import polyneuron as pn
from polyneuron.eval.engines.hf_engine import HfEngine
from polyneuron.eval.engines.settings import EngineSettings
from polyneuron.eval.engines.vllm_engine import VllmEngine
from polyneuron.neuron_core.common.boundary import errors_become
from polyneuron.neuron_core.common.errors import ConfigError, ModelError, PolyneuronError
from polyneuron.neuron_core.model.folder import INDEX, local_weights
from polyneuron.neuron_core.model.gguf import dequantised
from polyneuron.neuron_core.model.opening import load_config, load_tokenizer
from polyneuron.neuron_core.model.stored_model import StoredModel
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.run.studied_model import StudiedModel
from tests.real_models import smollm2_gguf
from tests.tiny_models import save_tiny_model, tiny_model

DOORS: dict[str, Callable[[Path], Any]] = {
    "load_model": pn.load_model,
    "study": lambda folder: StudiedModel.open(ModelConfig(path=str(folder), name="m")),
    "streamed": lambda folder: StoredModel(folder, "float32"),
    "vllm engine": lambda folder: VllmEngine(
        EngineSettings(source=str(folder), backend="vllm", dtype="float32", add_bos=False)
    ),
    "hf engine": lambda folder: HfEngine(
        EngineSettings(source=str(folder), backend="hf", dtype="float32", add_bos=False)
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model", "llama-mha-untied")


def refused_everywhere(folder: Path, *named: str, doors: dict[str, Callable[[Path], Any]] = DOORS) -> None:
    """All doors refuse a folder with the same message, which names the folder and all of `named`."""
    messages = set()
    for door in doors.values():
        with pytest.raises(ModelError) as refused:
            door(folder)
        messages.add(refused.value.message)
    assert len(messages) == 1, messages
    for name in (str(folder), *named):
        assert name in next(iter(messages))


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    changed = change(tensors)
    save_file(
        changed if isinstance(changed, dict) else tensors, folder / "model.safetensors", {"format": "pt"}
    )


def change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


PREFIXES = {
    "_orig_mod.": "torch.compile",
    "module.": "DistributedDataParallel",
    "base_model.model.": "merge_and_unload",
}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_names_that_a_wrapper_gave(folder: Path, prefix: str) -> None:
    change_tensors(folder, lambda t: {prefix + name: value for name, value in t.items()})
    refused_everywhere(folder, PREFIXES[prefix], prefix)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: {k: v for k, v in t.items() if ".layers.1." not in k}, "[1]"),
        (
            lambda t: t | {k.replace(".1.", ".2."): v.clone() for k, v in t.items() if ".layers.1." in k},
            "hold 3",
        ),
        (lambda t: t.pop("lm_head.weight"), "tie_word_embeddings"),
        (lambda t: t.pop("model.layers.1.mlp.up_proj.weight"), "model.layers.1.mlp.up_proj.weight"),
        (lambda t: t | {"model.layers.0.self_attn.q_proj.bias": torch.ones(32)}, "self_attn.q_proj.bias"),
        (lambda t: t.update({"model.norm.weight": torch.ones(7)}), "model.norm.weight"),
        (lambda t: t.update({"model.norm.weight": torch.ones(32, dtype=torch.int8)}), "I8"),
        (lambda t: t.update({"model.layers.0.mlp.up_proj.qweight": torch.ones(3)}), "quantised"),
    ],
    ids=[
        "layer gone",
        "layer too many",
        "head gone",
        "tensor gone",
        "tensor too many",
        "shape",
        "packed",
        "quantised",
    ],
)
def test_weights_of_another_model(folder: Path, change: Callable[..., Any], named: str) -> None:
    change_tensors(folder, change)
    refused_everywhere(folder, named)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(folder: Path, value: float) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.1.mlp.down_proj.weight"][3, 5] = value

    change_tensors(folder, spoil)
    for name in ("load_model", "study", "hf engine"):
        with pytest.raises(ModelError, match=r"model\.layers\.1\.mlp\.down_proj\.weight"):
            DOORS[name](folder)
    stored = StoredModel(folder, "float32")  # reads nothing yet
    layer = list(stored.model.model.layers[1].parameters())
    with pytest.raises(ModelError, match=r"model\.layers\.1\.mlp\.down_proj\.weight"), stored.gather(layer):
        pass


def test_what_transformers_passes_over_is_no_stranger(folder: Path) -> None:
    change_tensors(folder, lambda t: t | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})
    for name, door in DOORS.items():
        if name != "vllm engine":  # which would start
            door(folder)


@pytest.mark.parametrize(
    "method", ["awq", "gptq", "compressed-tensors", "bitsandbytes", "fp8", "hqq", "mxfp4"]
)
def test_quantised_models_are_named(folder: Path, method: str) -> None:
    change_json(folder / "config.json", quantization_config={"quant_method": method, "bits": 4})
    refused_everywhere(folder, method)


def test_an_adapter_beside_the_weights(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    refused_everywhere(folder, "adapter_config.json", "merge_and_unload")


def test_an_adapter_alone(folder: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    refused_everywhere(folder, "adapter_config.json", "merge_and_unload")


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter_without_its_config(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"x")
    refused_everywhere(folder, name)


def test_a_tied_head_that_differs_from_the_embedding(tmp_path: Path) -> None:
    """transformers takes both; vLLM takes the embedding."""
    folder = save_tiny_model(tmp_path / "model", "llama-gqa-tied")
    change_tensors(folder, lambda t: t | {"lm_head.weight": t["model.embed_tokens.weight"].clone()})
    assert pn.load_model(folder)
    change_tensors(folder, lambda t: t["lm_head.weight"][3].mul_(2))
    refused_everywhere(folder, "lm_head.weight", "tie_word_embeddings")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rms_norm_eps", -1), ("rope_parameters", {"rope_type": "default", "rope_theta": 0}), ("sliding_window", 0),
        ("rope_parameters", {"rope_type": "linear", "rope_theta": 1e4, "factor": -2.0}), ("num_attention_heads", True),
        ("eos_token_id", "x"), ("num_hidden_layers", 10**9), ("tie_word_embeddings", "no"), ("hidden_act", ["silu"]),
    ],
)  # fmt: skip
def test_values_that_no_config_has(folder: Path, key: str, value: Any) -> None:
    change_json(folder / "config.json", **{key: value})
    refused_everywhere(folder, key, "config.json")


def test_a_folder_with_only_a_gguf(tmp_path: Path) -> None:
    (tmp_path / "q4.gguf").write_bytes(b"GGUF")
    refused_everywhere(tmp_path, str(tmp_path / "q4.gguf"))


def test_a_file_in_place_of_a_folder(folder: Path) -> None:
    refused_everywhere(folder / "model.safetensors")


@pytest.fixture
def sharded(folder: Path) -> Path:
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    (folder / "model.safetensors").unlink()
    tiny_model("llama-mha-untied", vocab_size=rows).save_pretrained(folder, max_shard_size="20KB")
    return folder


def test_the_files_are_those_that_transformers_reads(sharded: Path) -> None:
    theirs, _ = get_checkpoint_shard_files(str(sharded), str(sharded / INDEX))
    assert [str(path) for path in local_weights(sharded)] == theirs


def test_a_shard_that_is_missing(sharded: Path) -> None:
    gone = sorted(sharded.glob("*.safetensors"))[1]
    gone.unlink()
    refused_everywhere(sharded, gone.name)


def test_shards_elsewhere_or_of_another_kind(sharded: Path) -> None:
    index = json.loads((sharded / INDEX).read_text())
    one = next(iter(index["weight_map"]))
    shard = index["weight_map"][one]
    (sharded.parent / shard).write_bytes((sharded / shard).read_bytes())
    torch.save({}, sharded / "weights.bin")
    for name in (f"../{shard}", str(sharded.parent / shard), "weights.bin", f"./{shard}", 3, None):
        index["weight_map"][one] = name
        (sharded / INDEX).write_text(json.dumps(index))
        refused_everywhere(sharded, INDEX, str(name)[:60])  # a long name is quoted in part


def test_an_index_that_says_otherwise(sharded: Path) -> None:
    index = json.loads((sharded / INDEX).read_text())
    one, *_, other = index["weight_map"]
    index["weight_map"][one] = index["weight_map"][other]
    (sharded / INDEX).write_text(json.dumps(index))
    refused_everywhere(sharded, one)


def test_two_sets_of_weights(sharded: Path) -> None:
    save_file({"model.norm.weight": torch.ones(3)}, sharded / "model.safetensors", {"format": "pt"})
    refused_everywhere(sharded, "model.safetensors", INDEX)


def test_vllm_is_given_no_weights_beside_the_models(folder: Path) -> None:
    save_file({"model.norm.weight": torch.ones(32)}, folder / "older.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"older\.safetensors"):
        DOORS["vllm engine"](folder)
    assert pn.load_model(folder)


@pytest.mark.parametrize("device", ["cuda:9", "nowhere", 3.5])
def test_a_device_that_is_not_there(folder: Path, device: Any) -> None:
    with pytest.raises(ModelError, match=str(device)):
        pn.load_model(folder, device=device)


@pytest.mark.parametrize("dtype", ["float31", "int8", torch.int64, "nn"])
def test_a_dtype_of_no_model(folder: Path, dtype: Any) -> None:
    with pytest.raises(ModelError, match=str(dtype)):
        pn.load_model(folder, dtype)


@pytest.mark.parametrize(
    "path", [None, 3, "", "\0", "x" * 5000, "a/b/c", "~nobody/x", ".gguf", Path("/dev/null"), b"x"]
)
def test_what_is_no_model_at_all(path: Any) -> None:
    with pytest.raises(ModelError):
        pn.load_model(path)


def test_a_bos_of_a_tokenizer_that_has_none(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", bos_token=None)
    with pytest.raises(ConfigError, match="add_bos"):
        StudiedModel.open(ModelConfig(path=str(folder), name="m", add_bos=True))


@pytest.mark.parametrize("special", [True, False])
def test_tokens_beyond_the_embedding(folder: Path, special: bool) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    n_rows = len(content["model"]["vocab"])
    token = dict(
        id=n_rows, content="<image>", single_word=False, lstrip=False, rstrip=False, normalized=False
    )
    content["added_tokens"].append(token | {"special": special})
    path.write_text(json.dumps(content))
    if not special:
        doors = {name: door for name, door in DOORS.items() if name != "streamed"}
        refused_everywhere(folder, "<image>", str(n_rows), doors=doors)
        return
    model, tokenizer = pn.load_model(folder)
    assert pn.perplexity(model, tokenizer, ["an image"]) > 0
    with pytest.raises(PolyneuronError, match=f"token id {n_rows}"):
        pn.perplexity(model, tokenizer, ["an <image>"])
    engine = DOORS["hf engine"](folder)
    with pytest.raises(PolyneuronError, match=f"token id {n_rows}"):
        engine.lm._model_call(torch.tensor([tokenizer("<image> a")["input_ids"]]))


def test_the_tokenizer_of_a_larger_model(folder: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    tiny_model("llama-gqa-tied", vocab_size=97).save_pretrained(small)
    with pytest.raises(ModelError, match="97"):
        load_tokenizer(folder, load_config(small))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.6])
def test_a_gguf_that_is_not_whole(tmp_path: Path, share: float) -> None:
    whole = smollm2_gguf().read_bytes()
    (tmp_path / "half.gguf").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelError, match=r"half\.gguf"):
        pn.load_model(tmp_path / "half.gguf")


def test_an_unwritable_cache_is_named_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYNEURON_CACHE", "/proc/nope")
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", None)
    with pytest.raises(ConfigError, match=r"/proc/nope.*POLYNEURON_CACHE"):
        dequantised(smollm2_gguf())


def test_the_boundary_passes_what_is_no_fault_of_a_file() -> None:
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
    for inside, outside in (
        (ValueError("x y"), ModelError), (KeyError("x"), ModelError), (RecursionError(), ModelError), (panic("x"), ModelError),
        (ConfigError("x"), ConfigError), (MemoryError(), MemoryError), (KeyboardInterrupt(), KeyboardInterrupt),
        (torch.OutOfMemoryError("x"), torch.OutOfMemoryError), (SystemExit(), SystemExit),
    ):  # fmt: skip
        with pytest.raises(outside), errors_become(ModelError, "It cannot be read", "Mend it"):
            raise inside


def cli(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """A detection on a folder, from the command line."""
    study = folder.parent / "study.yaml"
    study.write_text(
        f"kind: study\nmodels: [{{path: {json.dumps(str(folder))}, name: m}}]\nlanguages: [en, sw]\n"
        "corpus: {n_detection: 4, n_heldout: 2, max_tokens: 16}\ndetection: {mode: full}\n"
        f"store: {json.dumps(str(folder.parent / 'store'))}\n"
    )
    command = [sys.executable, "-m", "polyneuron.pipelines.cli", "detect", "--config", str(study), *overrides]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def nan(folder: Path) -> None:
    change_tensors(folder, lambda t: t["model.norm.weight"].fill_(float("nan")))


WRONG: dict[str, Callable[[Path], Any]] = {
    "adapter": adapter,
    "no weights": no_weights,
    "compiled": lambda folder: change_tensors(folder, lambda t: {f"_orig_mod.{k}": v for k, v in t.items()}),
    "nan": nan,
    "config": lambda folder: (folder / "config.json").write_text("[" * 99_999),
    "tokenizer": lambda folder: (folder / "tokenizer.json").write_text("{}"),
    "awq": lambda folder: change_json(folder / "config.json", quantization_config={"quant_method": "awq"}),
    "layers": lambda folder: change_json(folder / "config.json", num_hidden_layers=10**9),
    "cut": lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:999]),
    "kind": lambda folder: change_json(folder / "config.json", model_type="mamba"),
    "empty": lambda folder: [path.unlink() for path in folder.iterdir()],
    "token map": lambda folder: change_json(folder / "tokenizer_config.json", bos_token=[3]),
}  # fmt: skip


def check_cli(folder: Path, kind: str, *overrides: str) -> None:
    WRONG[kind](folder)
    ran = cli(folder, *overrides)
    lines = ran.stderr.strip().splitlines()
    assert ran.returncode == 2 and "Traceback" not in ran.stderr, ran.stderr
    assert len(lines) <= 10 and str(folder) in ran.stderr, ran.stderr


def test_the_command_refuses_an_adapter_beside(folder: Path) -> None:
    check_cli(folder, "adapter")


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRONG)
def test_the_command_refuses_each_in_one_message(folder: Path, kind: str) -> None:
    check_cli(folder, kind)


@pytest.mark.parametrize("change", [{"use_bidirectional_attention": True}, {"is_causal": False}])
def test_a_model_that_sees_what_comes_is_no_causal_one(tmp_path: Path, change: dict[str, bool]) -> None:
    folder = save_tiny_model(tmp_path / "model", "gemma3")
    change_json(folder / "config.json", **change)
    for door in DOORS.values():
        with pytest.raises(ModelError, match=next(iter(change))):
            door(folder)

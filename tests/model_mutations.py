"""Model folders with one thing wrong, drawn by seed: configs, indexes, tokenizers and weights as they come out of broken
downloads, other programs, other formats and hostile hands."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.tiny_models import save_tiny_model, tiny_model

WEIRD: tuple[Any, ...] = (
    None, "x", "", [], {}, [1, 2], {"a": 1}, -1, 0, 1, 3, 1.5, 1e-30, 10**6, 10**9, 10**30, True, False, "1e999", ["silu"],
    float("nan"), float("inf"),
)  # fmt: skip
DEEP = "[" * 50_000
SMALL = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")
INDEX = "model.safetensors.index.json"


def base_folders(root: Path) -> dict[str, Path]:
    """Whole models to mutate: one in a single file, one in several with an index, one with several kinds of layers."""
    folders = {name: root / name for name in ("single", "sharded", "gemma3")}
    save_tiny_model(folders["single"])
    save_tiny_model(folders["gemma3"], "gemma3")
    save_tiny_model(folders["sharded"], "llama-biased")
    (folders["sharded"] / "model.safetensors").unlink()
    rows = json.loads((folders["sharded"] / "config.json").read_text())["vocab_size"]
    tiny_model("llama-biased", vocab_size=rows).save_pretrained(folders["sharded"], max_shard_size="20KB")
    assert (folders["sharded"] / INDEX).is_file()
    return folders


def mutate(folder: Path, seed: int) -> str:
    """Puts one thing of a folder wrong; says what."""
    draw = random.Random(seed)
    kinds = [
        _config_value,
        _config_value,
        _config_key,
        _bytes,
        _json,
        _tokens,
        _tokens,
        _weights,
        _weights,
        _weights,
        _others,
    ]
    if (folder / INDEX).is_file():
        kinds += [_index, _index, _index]
    return draw.choice(kinds)(folder, draw)


def _edit(path: Path, change: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    changed = change(value)
    path.write_text(json.dumps(value if changed is None else changed))


def _config_value(folder: Path, draw: random.Random) -> str:
    config = json.loads((folder / "config.json").read_text())
    key, value = draw.choice(sorted(config)), draw.choice(WEIRD)
    nested = config[key] if isinstance(config[key], dict) and config[key] and draw.random() < 0.5 else None
    if nested is None:
        config[key] = value
    else:
        nested[draw.choice(sorted(nested))] = value
    (folder / "config.json").write_text(json.dumps(config))
    return f"config: {key} = {value!r}"


def _config_key(folder: Path, draw: random.Random) -> str:
    key, value = draw.choice([
        ("quantization_config", {"quant_method": "awq", "bits": 4}), ("quantization_config", {"quant_method": "gptq", "bits": 4}),
        ("quantization_config", {"quant_method": "compressed-tensors"}), ("quantization_config", {"load_in_4bit": True}),
        ("quantization_config", {"quant_method": "fp8"}), ("quantization_config", {}), ("quantization_config", "awq"),
        ("transformers_weights", "../secret.safetensors"), ("transformers_weights", "/etc/passwd"),
        ("transformers_weights", "model.bin"), ("transformers_weights", 3), ("configuration_files", ["config.5.json"]),
        ("auto_map", {"AutoConfig": "x.Y"}), ("auto_map", "x"), ("num_hidden_layers", 10**9), ("num_hidden_layers", 2),
        ("num_hidden_layers", 5), ("model_type", "bert"), ("model_type", "mamba"), ("model_type", "qwen2"), ("model_type", 3),
        ("torch_dtype", "foo"), ("dtype", "int8"), ("architectures", "x"), ("return_dict", False), ("output_attentions", True),
        ("is_encoder_decoder", True), ("torchscript", True), ("tie_word_embeddings", "no"), ("rope_scaling", {"type": "magic"}),
        ("rope_parameters", {"rope_type": "yarn"}), ("rope_parameters", {"rope_theta": "x"}), ("hidden_act", "relu9"),
        ("layer_types", ["x"]), ("sliding_window", -3), ("mlp_bias", True), ("attention_bias", True), ("vocab_size", 10**12),
        ("hidden_size", 10**9), ("head_dim", 7), ("num_key_value_heads", 3), ("pad_token_id", 10**6), ("eos_token_id", "x"),
        ("text_config", {"num_hidden_layers": 10**9}), ("text_config", []), ("use_bidirectional_attention", True),
        ("_attn_implementation", "flash_attention_2"), ("attn_implementation", "magic"), ("pruned_heads", {"0": [1]}),
        ("id2label", {"a": "b"}), ("num_labels", -1), ("max_position_embeddings", 10**15), ("_name_or_path", 3),
        ("transformers_version", 5), ("tp_plan", "auto"), ("base_model_tp_plan", {"x": "y"}), ("dtype", {"": "float32"}),
    ])  # fmt: skip
    _edit(folder / "config.json", lambda config: config.update({key: value}))
    return f"config: {key} = {value!r} put in"


def _present(folder: Path, draw: random.Random) -> Path:
    names = [name for name in (*SMALL, INDEX) if (folder / name).is_file()]
    return folder / draw.choice(names)


def _bytes(folder: Path, draw: random.Random) -> str:
    path = draw.choice([_present(folder, draw), *folder.glob("*.safetensors")])
    content = bytearray(path.read_bytes())
    # of weights the header, since other values are another model
    end = (
        8 + int.from_bytes(content[:8], "little")
        if path.suffix == ".safetensors"
        else min(len(content), 4000)
    )
    at = draw.randrange(end)
    how = draw.choice(["change", "cut", "insert", "tail", "empty"])
    if how == "change":
        for _ in range(3):
            content[draw.randrange(end)] = draw.randrange(256)
    elif how == "cut":
        del content[at:]
    elif how == "insert":
        content[at:at] = draw.randbytes(5)
    elif how == "tail":
        content += draw.randbytes(9)
    else:
        content.clear()
    path.write_bytes(content)
    return f"bytes of {path.name}: {how}"


def _json(folder: Path, draw: random.Random) -> str:
    path = _present(folder, draw)
    text = path.read_text()
    new = draw.choice([
        "", "null", "[]", "3", '"x"', "{}", DEEP, '{"a":' * 20_000, "\ufeff" + text, text[:-2], text + "}", "NaN",
        text.replace("{", '{"x": NaN,', 1), text.replace("{", '{"x": 1e999,', 1), text.replace("{", '{"x": 1, "x": 2,', 1),
        f"[{text}]", text.replace("{", '{"x": ' + "9" * 5000 + ",", 1), "\x00" * 50,
    ])  # fmt: skip
    path.write_text(new)
    return f"text of {path.name}: {new[:20]!r}"


def _index(folder: Path, draw: random.Random) -> str:
    index = json.loads((folder / INDEX).read_text())
    tensors, shards = sorted(index["weight_map"]), sorted(set(index["weight_map"].values()))
    how = draw.choice(["elsewhere", "lost", "swapped", "dropped", "shape", "extra", "metadata", "both"])
    one = draw.choice(tensors)
    if how == "elsewhere":
        shutil.copy(folder / shards[0], folder.parent / "outside.safetensors")
        (folder / "weights.bin").write_bytes(b"x")
        index["weight_map"][one] = draw.choice([
            "../outside.safetensors", str(folder.parent / "outside.safetensors"), "weights.bin", "", ".", "..", 3, None, ["x"],
            "sub/../" + shards[0], "..\\outside.safetensors", "x" * 5000 + ".safetensors", "\x00.safetensors",
        ])  # fmt: skip
    elif how == "lost":
        (folder / draw.choice(shards)).unlink()
    elif how == "swapped":
        index["weight_map"][one] = draw.choice([s for s in shards if s != index["weight_map"][one]])
    elif how == "dropped":
        del index["weight_map"][one]
    elif how == "shape":
        index["weight_map"] = draw.choice([[], {}, "x", None, list(index["weight_map"].items())])
    elif how == "extra":
        index["weight_map"]["model.extra.weight"] = draw.choice([shards[0], "gone.safetensors"])
    elif how == "metadata":
        index["metadata"] = draw.choice([None, [], "x", {"total_size": "x"}])
    else:
        save_file({"model.norm.weight": torch.ones(3)}, folder / "model.safetensors", {"format": "pt"})
    (folder / INDEX).write_text(json.dumps(index))
    return f"index: {how}"


def _tokens(folder: Path, draw: random.Random) -> str:
    how = draw.choice([
        "beyond", "special beyond", "model", "class", "lost", "merges", "vocab", "added", "map", "padding", "value", "template",
    ])  # fmt: skip
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    if how in ("beyond", "special beyond"):
        token = dict(
            id=tokenizer["model"]["vocab"].__len__() + 5, content="<new>", single_word=False, lstrip=False
        )
        token |= dict(rstrip=False, normalized=False, special=how != "beyond")
        tokenizer["added_tokens"].append(token)
    elif how == "model":
        tokenizer["model"] = draw.choice(
            [None, {}, {"type": "Magic"}, {"type": "BPE", "vocab": {"a": "b"}, "merges": []}, "x"]
        )
    elif how == "class":
        value = draw.choice(["Magic", 3, None, "GemmaTokenizerFast", "../x", ["LlamaTokenizer"]])
        _edit(folder / "tokenizer_config.json", lambda config: config.update(tokenizer_class=value))
    elif how == "lost":
        draw.choice([path, folder / "tokenizer_config.json"]).unlink()
        return "tokenizer: lost"
    elif how == "merges":
        tokenizer["model"]["merges"] = draw.choice([["a b c"], [["a"]], "x", [1], [["zzz", "yyy"]]])
    elif how == "vocab":
        tokenizer["model"]["vocab"] = draw.choice([{}, {"a": 10**6}, {"a": -1}, {"a": 2**33}, [], {"a": 0.5}])
    elif how == "added":
        tokenizer["added_tokens"] = draw.choice(
            [None, "x", [{}], [{"id": -1, "content": "x"}], [{"id": 10**7, "content": "x"}]]
        )
    elif how == "map":
        value = draw.choice([3, [], {"a": 1}, "<unseen>"])
        _edit(folder / "tokenizer_config.json", lambda config: config.update(bos_token=value))
    elif how == "padding":
        tokenizer["padding"] = tokenizer["truncation"] = draw.choice([3, {"max_length": -1}, "x", {}])
    elif how == "value":
        key = draw.choice(sorted(tokenizer))
        tokenizer[key] = draw.choice([v for v in WEIRD if v == v and v != float("inf")])
        how = f"value of {key}"
    else:
        tokenizer["post_processor"] = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<z>", "type_id": 0}}],
            "pair": [], "special_tokens": {"<z>": {"id": "<z>", "ids": [10**6], "tokens": ["<z>"]}}}  # fmt: skip
    path.write_text(json.dumps(tokenizer))
    return f"tokenizer: {how}"


def _weights(folder: Path, draw: random.Random) -> str:
    path = draw.choice(sorted(folder.glob("*.safetensors")))
    tensors = load_file(path)
    one = draw.choice(sorted(tensors))
    how = draw.choice([
        "prefix", "lost", "extra", "shape", "dtype", "nan", "inf", "renamed", "file lost", "quantised", "empty", "buffer", "lora",
        "turned", "folder",
    ])  # fmt: skip
    if how == "prefix":
        prefix = draw.choice(["_orig_mod.", "module.", "base_model.model.", "model.", "x."])
        tensors = {prefix + name: value for name, value in tensors.items()}
    elif how == "lost":
        del tensors[one]
    elif how == "extra":
        tensors["model.layers.0.self_attn.k_norm_2.weight"] = torch.ones(3)
    elif how == "shape":
        tensors[one] = tensors[one][..., :-1].contiguous()
    elif how == "dtype":
        kind = draw.choice(
            [
                torch.int8,
                torch.uint8,
                torch.int64,
                torch.bool,
                torch.float8_e4m3fn,
                torch.float64,
            ]
        )
        tensors[one] = tensors[one].to(kind)
        how = f"dtype {kind}"
    elif how in ("nan", "inf"):
        tensors[one].view(-1)[draw.randrange(tensors[one].numel())] = draw.choice([float(how), -float(how)])
    elif how == "renamed":
        tensors[one + "_2"] = tensors.pop(one)
    elif how == "file lost":
        path.unlink()
        return "weights: file lost"
    elif how == "quantised":
        tensors[one.replace(".weight", ".qweight")] = torch.ones(4, dtype=torch.int32)
    elif how == "empty":
        tensors = {}
    elif how == "buffer":
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    elif how == "lora":
        tensors["model.layers.0.self_attn.q_proj.lora_A.weight"] = torch.ones(4, 4)
    elif how == "turned":
        tensors[one] = (
            tensors[one].t().contiguous() if len(set(tensors[one].shape)) == 2 else tensors[one][None]
        )
    else:
        path.unlink()
        path.mkdir()
        return "weights: a folder in place of the file"
    save_file(tensors, path, {"format": "pt"})
    return f"weights: {how} ({one})"


def _others(folder: Path, draw: random.Random) -> str:
    how = draw.choice(
        ["adapter", "adapter alone", "gguf alone", "no config", "pickled", "config is a folder", "readme"]
    )
    if how in ("adapter", "adapter alone"):
        adapter = {"peft_type": "LORA", "base_model_name_or_path": "x", "r": 4, "target_modules": ["q_proj"]}
        (folder / "adapter_config.json").write_text(json.dumps(adapter))
        if how == "adapter alone":
            for name in ("config.json", *(path.name for path in folder.glob("model*"))):
                (folder / name).unlink()
    elif how == "gguf alone":
        for path in folder.iterdir():
            path.unlink()
        (folder / "model.gguf").write_bytes(b"GGUF" + draw.randbytes(100))
    elif how == "no config":
        (folder / "config.json").unlink()
    elif how == "pickled":
        for path in folder.glob("model*"):
            path.unlink()
        torch.save({}, folder / "pytorch_model.bin")
    elif how == "config is a folder":
        (folder / "config.json").unlink()
        (folder / "config.json").mkdir()
    else:
        (folder / "README.md").write_text("a model")
    return f"folder: {how}"

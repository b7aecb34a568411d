"""What is looked at in a model's folder before any library reads it: whole JSON files of sane types, weights that are there.

A library that meets a damaged or foreign folder guesses, downloads, unpickles, takes an hour or ends in a traceback of its
own; here it gets one message. Of a hub's model the same files are looked at, fetched first.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from polyneuron.neuron_core.common.boundary import errors_become
from polyneuron.neuron_core.common.errors import ModelError

CONFIG, GENERATION = "config.json", "generation_config.json"
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZER_FILES = (
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "tekken.json",
)
"""Names of a tokenizer's files, as patterns."""

_AGAIN = "Download or export the model again"
_WAY_OUT = "Give a hub id, a local folder with config.json and safetensors files, or a .gguf file"
_MOST_LAYERS = 1000
_MOST = 2**31 - 1
_MOST_OF = {"num_hidden_layers": _MOST_LAYERS}
_COUNTS = (
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
    "sliding_window",
)
_POSITIVE = (
    "rms_norm_eps",
    "rope_theta",
    "rope_local_base_freq",
    "query_pre_attn_scalar",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "partial_rotary_factor",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "attention_factor",
    "beta_fast",
    "beta_slow",
)
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
_FLAGS = ("tie_word_embeddings", "attention_bias", "mlp_bias", "use_bidirectional_attention")
_TEXTS = ("model_type", "hidden_act", "hidden_activation", "dtype", "torch_dtype")
_LISTS_OF_TEXT = ("architectures", "layer_types")
_OBJECTS = ("text_config", "vision_config", "rope_scaling", "rope_parameters", "auto_map")


def json_object(path: Path) -> dict[str, Any]:
    """What a JSON file holds. Raises ModelError when it is no JSON in UTF-8, no object, or holds a number that is none
    (NaN, Infinity), a key twice, or more nesting than can be followed."""
    with errors_become(ModelError, f"{path} cannot be read", _AGAIN):
        value = json.loads(
            path.read_text(encoding="utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_once,
        )
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds {type(value).__name__} where an object is due. {_AGAIN}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is no number of JSON")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"it holds {text}, which no number can be")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice!r} is there twice")
    return values


def file_of(source: str | Path, name: str, revision: str | None = None) -> Path | None:
    """The path of one file of a model, fetched where it is a hub's; None where the model has no such file. Raises OSError where
    a hub's config.json cannot be had, since without it nothing is known of the model."""
    if Path(source).is_dir():
        path = Path(source, name)
        return path if path.is_file() else None
    from transformers.utils.hub import cached_file

    needed = name == CONFIG  # by default a hub out of reach is taken for a model without the file
    found = cached_file(str(source), name, revision=revision, _raise_exceptions_for_missing_entries=needed)
    return None if found is None else Path(found)


def commit_of(source: str | Path, revision: str | None = None) -> str | None:
    """The commit that a revision of a hub's model means now; None for what lies here. Raises ModelError when there is none."""
    if Path(source).exists():
        return None
    with errors_become(ModelError, f"No model at {source}", _WAY_OUT):
        config = file_of(source, CONFIG, revision)
        return None if config is None else _commit_in(config)


def _commit_in(path: Path) -> str | None:
    from transformers.utils.hub import extract_commit_hash

    return extract_commit_hash(str(path), None)


def checked_config(source: str | Path, revision: str | None = None) -> dict[str, Any]:
    """The content of a model's config.json, after all that can be said from the small files of its folder.

    Raises:
        ModelError: no model there, an adapter, quantised weights, or a file or value that no model can have.
    """
    if Path(source).is_file():
        raise ModelError(f"{source} is a file, not a model. Give the folder that it lies in, or a .gguf file")
    with errors_become(ModelError, f"No model at {source}", _WAY_OUT):
        path = file_of(source, CONFIG, revision)
        is_local = Path(source).is_dir()
        # a hub's cache answers for a commit without asking the hub again
        pinned = revision if is_local or path is None else _commit_in(path) or revision
        names = _ADAPTER if is_local else _ADAPTER[:1]
        adapter = next((name for name in names if file_of(source, name, pinned) is not None), None)
    if adapter is not None:
        raise ModelError(
            f"{source} holds an adapter ({adapter}), which would not be applied. Merge it first (peft: "
            "AutoPeftModelForCausalLM.from_pretrained(folder).merge_and_unload().save_pretrained(other)) and give that "
            "folder, or remove the adapter's files to study the bare model"
        )
    if path is None:
        raise ModelError(f"No model at {source}: {_what_is_there(Path(source))}. {_WAY_OUT}")
    config = json_object(path)
    _refuse_quantised(config, path)
    for where, part in _parts(config):
        for key, value in part.items():
            _check_value(f"{path}: {where}{key}", key, value)
    if others := {"configuration_files", "transformers_weights"} & config.keys():
        raise ModelError(
            f"{path} names files to take in place of the usual ones ({', '.join(sorted(others))}), which not every program "
            f"follows. Give those files the usual names ({CONFIG}, {WEIGHTS}), and remove the key"
        )
    text = config | (config.get("text_config") or {})
    if not isinstance(config.get("model_type"), str):
        raise ModelError(f"{path} does not say its model_type. {_AGAIN}")
    kinds, n_layers = text.get("layer_types"), text.get("num_hidden_layers")
    if kinds is not None and n_layers is not None and len(kinds) != n_layers:
        raise ModelError(
            f"{path}: layer_types names {len(kinds)} layers, num_hidden_layers {n_layers}. {_AGAIN}"
        )
    generation = Path(source, GENERATION)
    if Path(source).is_dir() and generation.is_file():
        for key, value in json_object(generation).items():
            _check_value(f"{generation}: {key}", key, value)
    return config


def _what_is_there(folder: Path) -> str:
    if not folder.is_dir():
        return "it has no config.json"
    if ggufs := sorted(path.name for path in folder.glob("*.gguf")):
        return f"the folder has no config.json, but GGUF files: name one of them, such as {folder / ggufs[0]}"
    if any(folder.iterdir()):
        return "the folder has no config.json"
    return "the folder is empty"


def _parts(config: dict[str, Any], where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The config and the objects in it, such as those of text and of rotary embeddings, each with its place."""
    yield where, config
    for name, part in config.items():
        if isinstance(part, dict):
            yield from _parts(part, f"{where}{name}.")


def _refuse_quantised(config: dict[str, Any], path: Path) -> None:
    for _, part in _parts(config):
        for key in ("quantization_config", "compression_config"):
            if part.get(key) is None:
                continue
            how = part[key] if isinstance(part[key], dict) else {}
            method = next(
                (how[name] for name in ("quant_method", "quant_algo") if name in how),
                "a method it does not name",
            )
            raise ModelError(
                f"{path}: the weights are quantised by {method} ({key}), and neurons of packed weights cannot be measured. "
                "Give the unquantised model, or dequantise this one and save it in bfloat16"
            )


def _check_value(where: str, key: str, value: Any) -> None:
    """Raises ModelError for a value that no model has. None is for transformers to judge, which knows the defaults."""
    rules: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (
        (_COUNTS, lambda v: _whole(v) and 1 <= v <= _MOST_OF.get(key, _MOST), "a whole number, at least 1 and "
         f"at most {_MOST_OF.get(key, _MOST)}"),
        (_POSITIVE, lambda v: isinstance(v, int | float) and not isinstance(v, bool) and v > 0, "a number above 0"),
        (_FLAGS, lambda v: isinstance(v, bool), "true or false"),
        (_TOKENS, lambda v: all(_whole(i) and i >= -1 for i in (v if isinstance(v, list) else [v])), "a token's number, or some"),
        (_TEXTS, lambda v: isinstance(v, str), "text"),
        (_LISTS_OF_TEXT, lambda v: isinstance(v, list) and all(isinstance(i, str) for i in v), "a list of names"),
        (_OBJECTS, lambda v: isinstance(v, dict), "an object"),
    )  # fmt: skip
    for keys, is_right, wanted in rules:
        if key in keys and value is not None and not is_right(value):
            shown = repr(value)
            raise ModelError(f"{where} is {shown[:60]}, which must be {wanted}. {_AGAIN}")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def local_weights(folder: Path) -> list[Path]:
    """The safetensors files that transformers reads of a local folder.

    Raises:
        ModelError: none, or an index that is damaged, names a file elsewhere or of another kind, or one that is missing.
    """
    main, index = folder / WEIGHTS, folder / INDEX
    if main.is_file():
        if index.is_file() and (others := set(shards_of(index)) - {WEIGHTS}):
            raise ModelError(
                f"{folder} holds {WEIGHTS} and {INDEX}, which names {', '.join(sorted(others)[:3])}: which are the "
                "weights is not clear. Remove the ones that are not"
            )
        return [main]
    if not index.is_file():
        there = sorted(
            p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".safetensors")
        )
        raise ModelError(
            f"The weights of {folder} cannot be found: there is neither {WEIGHTS} nor {INDEX}, but "
            f"{', '.join(there[:5]) or 'no weights at all'}. Only safetensors files are read. {_AGAIN}"
        )
    paths = [folder / name for name in shards_of(index)]
    if missing := [path.name for path in paths if not path.is_file()]:
        raise ModelError(
            f"The weights of {folder} are not complete: {index.name} names {', '.join(missing[:3])}, of which "
            f"{len(missing)} of {len(paths)} are not there. {_AGAIN}"
        )
    return paths


def shards_of(index: Path) -> dict[str, list[str]]:
    """The tensors of each file that an index names, in the order of the files' names. Raises ModelError when it is damaged or
    names something that is not a safetensors file beside it."""
    content = json_object(index)
    weight_map = content.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not isinstance(content.get("metadata"), dict):
        raise ModelError(
            f"{index} lacks its weight_map, which says where each tensor lies, or its metadata. {_AGAIN}"
        )
    tensors: dict[str, list[str]] = {}
    for tensor, name in weight_map.items():
        _require_plain(name, index)
        tensors.setdefault(name, []).append(tensor)
    return dict(sorted(tensors.items()))


def _require_plain(name: Any, where: Path) -> None:
    if (
        not isinstance(name, str)
        or Path(name).name != name
        or "\\" in name
        or not name.endswith(".safetensors")
    ):
        raise ModelError(
            f"{where} names {str(name)[:100]!r} as a file of weights; only safetensors files in the same folder are read. "
            f"{_AGAIN}"
        )

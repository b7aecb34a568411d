"""A model without weights beside the files that hold them, with every tensor of the one found in the other.

Built on the meta device by transformers' own classes, with names translated by transformers' own rules. Whatever reads
weights starts here, so that what is missing, left over or of another shape is refused in the same words everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from polyneuron.neuron_core.common.boundary import errors_become
from polyneuron.neuron_core.common.errors import ModelError
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.folder import INDEX, file_of, local_weights, shards_of
from polyneuron.neuron_core.model.weight_files import WeightFiles

_PIECE = 1 << 22
"""Elements of two tensors that are compared at a time."""
_NAMED = 3
"""Tensors named in a message; the rest are counted."""
_AGAIN = "Download or export the model again"
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_WRAPPERS = {
    "_orig_mod.": "torch.compile; save the model inside (model._orig_mod)",
    "module.": "DistributedDataParallel or DataParallel; save the model inside (model.module)",
    "base_model.model.": "peft; merge the adapter first (model.merge_and_unload())",
    "_fsdp_wrapped_module.": "FSDP; gather and save the full state dict of the model inside",
    "_checkpoint_wrapped_module.": "activation checkpointing; save the model inside",
}
"""Prefixes that wrappers of a model put before the names of its tensors, and how to save without."""
_PACKED = (
    ".qweight",
    ".qzeros",
    ".scales",
    ".g_idx",
    ".weight_scale",
    ".weight_packed",
    ".absmax",
    ".quant_map",
)
"""Endings of what quantised weights consist of."""


@dataclass(frozen=True)
class Skeleton:
    """`model`, on meta; `files`; and by the name of each of the model's tensors its name in the files."""

    model: Any
    files: WeightFiles
    keys: dict[str, str]


def skeleton_of(
    source: str | Path,
    config: Any,
    dtype: torch.dtype,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Skeleton:
    """Reads the headers of a model's files and finds every tensor of the model in them.

    Raises:
        ModelError: files that are missing or damaged, another number of layers than the config's, tensors that are missing,
            left over (but for what transformers itself ignores), or of another shape.
    """
    files = WeightFiles(weight_paths(source, revision))
    _require_index(files, source, revision)
    _require_depth(files, config, source)
    with errors_become(ModelError, f"The model of {source} cannot be built from its config", _AGAIN):
        model = _on_meta(config, dtype, trust_remote_code)
        keys, left_over = _matched(model, files, source)
        missing, tied = set(model.state_dict()) - set(keys), dict(model.all_tied_weights_keys)
        model.tie_weights(missing_keys=missing, recompute_mapping=False)
    _refuse_strangers(sorted(left_over), sorted(missing), source)
    for name, tensor in model.state_dict().items():
        if name in keys and (shape := files.tensors[keys[name]].shape) != tensor.shape:
            raise ModelError(
                f"{keys[name]} in the weights of {source} has shape {list(shape)}, but the model's config asks for "
                f"{list(tensor.shape)}. Config and weights are of different models"
            )
    for name, other in tied.items():
        if name in keys and other in keys and not _same(files, keys[name], keys[other]):
            raise ModelError(
                f"The config of {source} says that {name} is {other} (tie_word_embeddings), but the weights hold two that "
                "differ: some programs would take the one, some the other. Set tie_word_embeddings to false, or remove the one"
            )
    return Skeleton(model, files, keys)


def _same(files: WeightFiles, name: str, other: str) -> bool:
    """Whether two tensors of a checkpoint hold the same values; read in pieces."""
    shape, n = files.tensors[name].shape, files.tensors[name].shape.numel()
    if files.tensors[other].shape != shape:
        return False
    for start in range(0, n, _PIECE):
        pieces = [
            torch.empty(min(_PIECE, n - start), dtype=files.tensors[key].dtype) for key in (name, other)
        ]
        for key, piece in zip((name, other), pieces, strict=True):
            files.read(key, piece, start)
        if not torch.equal(*pieces):
            return False
    return True


def model_class(config: Any) -> Any:
    """transformers' Auto class that makes a model of this config."""
    import transformers

    return getattr(transformers, anatomy_of(config).family.auto_class)


def weight_paths(source: str | Path, revision: str | None = None) -> list[Path]:
    """The safetensors files of a model, fetched where it is a hub's. Raises ModelError when they are not all there."""
    with errors_become(
        ModelError, f"The weights of {source} cannot be found", "Only safetensors files are read"
    ):
        if Path(source).is_dir():
            return local_weights(Path(source))
        from transformers.modeling_utils import _get_resolved_checkpoint_files

        if (index := file_of(source, INDEX, revision)) is not None:
            shards_of(index)
        paths, _ = _get_resolved_checkpoint_files(
            pretrained_model_name_or_path=str(source),
            variant=None,
            gguf_file=None,
            use_safetensors=True,
            user_agent=None,
            is_remote_code=False,
            download_kwargs={"revision": revision},
        )
    return [Path(path) for path in paths or []]


def _require_index(files: WeightFiles, source: str | Path, revision: str | None) -> None:
    """An index and the files beside it are of one model: each tensor lies where the index says."""
    with errors_become(ModelError, f"The index of {source} cannot be read", _AGAIN):
        if len(files.paths) < 2 or (index := file_of(source, INDEX, revision)) is None:
            return
        for name, tensors in shards_of(index).items():
            for tensor in tensors:
                if tensor not in files.tensors or files.tensors[tensor].path.name != name:
                    raise ModelError(
                        f"{index} says that {tensor} lies in {name}, which does not hold it. {_AGAIN}"
                    )


def _require_depth(files: WeightFiles, config: Any, source: str | Path) -> None:
    """Before the model is built, which takes as long as the config has layers."""
    wanted = anatomy_of(config).n_layers
    there = {int(found[1]) for key in files.tensors if "vision" not in key and (found := _LAYER.search(key))}
    if there and there != set(range(wanted)):
        absent = sorted(set(range(wanted)) - there)
        raise ModelError(
            f"The config of {source} asks for {wanted} layers, its weights hold {len(there)}"
            f"{f' and lack {absent[:_NAMED]}' if absent else ''}. {_AGAIN}"
        )


def _on_meta(config: Any, dtype: torch.dtype, trust_remote_code: bool) -> Any:
    from transformers.initialization import no_tie_weights

    with torch.device("meta"), no_tie_weights():
        return model_class(config).from_config(
            config,
            dtype=dtype,
            attn_implementation=anatomy_of(config).attention_implementation,
            trust_remote_code=trust_remote_code,
        )


def _matched(model: Any, files: WeightFiles, source: str | Path) -> tuple[dict[str, str], set[str]]:
    """By the name of each of the model's tensors its name in the files; and what in the files is no tensor of the model."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    mapping = get_model_conversion_mapping(model)
    renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
    wanted, ignored = model.state_dict(), _ignored(model)
    key_of, left_over = dict[str, str](), set[str]()
    for key in files.tensors:
        name, converted = rename_source_key(key, renamings, converters, model.base_model_prefix, wanted)
        if name not in wanted and key in wanted:
            name, converted = rename_source_key(key, [], [], model.base_model_prefix, wanted)
        if name not in wanted:
            if not ignored.search(name):
                left_over.add(key)
            continue
        if converted is not None:
            raise ModelError(
                f"{key} in the weights of {source} is stored in a layout that must be converted when loading. Load the model "
                "with transformers, save it again, and give that folder"
            )
        if name in key_of:
            raise ModelError(f"{key} and {key_of[name]} in the weights of {source} are one tensor. {_AGAIN}")
        key_of[name] = key
    return key_of, left_over


def _ignored(model: Any) -> re.Pattern[str]:
    """What transformers passes over in a file of weights: the class's own patterns, and buffers that models compute now."""
    patterns = [
        r"rotary_emb\.inv_freq",
        r"(^|\.)position_ids$",
        *(model._keys_to_ignore_on_load_unexpected or ()),
    ]
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


def _refuse_strangers(left_over: list[str], missing: list[str], source: str | Path) -> None:
    if not left_over and not missing:
        return
    faults = []
    if missing:
        faults.append(f"lack {len(missing)} of the model's tensors ({_named(missing)})")
    if left_over:
        faults.append(f"hold {len(left_over)} tensors that are none of its own ({_named(left_over)})")
    raise ModelError(f"The weights of {source} {' and '.join(faults)}. {_way_out(left_over, missing)}")


def _named(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _way_out(left_over: list[str], missing: list[str]) -> str:
    for prefix, what in _WRAPPERS.items():
        if any(name.startswith(prefix) or f".{prefix}" in name for name in left_over):
            return f"They were saved through {what}"
    if any(".lora_" in name for name in left_over):
        return f"They were saved through {_WRAPPERS['base_model.model.']}"
    if any(name.endswith(_PACKED) for name in left_over):
        return "They are quantised. Give the unquantised model, or dequantise it and save it in bfloat16"
    if not left_over and all("lm_head" in name or "embed_out" in name for name in missing):
        return f"{_AGAIN}; a head that is the embedding needs tie_word_embeddings in config.json"
    return _AGAIN

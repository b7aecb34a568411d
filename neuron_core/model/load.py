"""Loading models whole: a hub id, a local folder, or a GGUF file that is dequantised once into a cached safetensors folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polyneuron.neuron_core.common.boundary import errors_become
from polyneuron.neuron_core.common.errors import ModelError
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.gguf import dequantised
from polyneuron.neuron_core.model.identity import all_finite, require_finite_files
from polyneuron.neuron_core.model.opening import load_config, load_tokenizer
from polyneuron.neuron_core.model.skeleton import model_class, skeleton_of


def load_model(
    path_or_id: str | Path,
    dtype: torch.dtype | str = torch.float32,
    gguf_file: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    *,
    device: str | torch.device = "cpu",
) -> tuple[Any, Any]:
    """Loads a causal LM and its tokenizer, ready to measure (evaluation mode, no gradients).

    `path_or_id`: hub id, local folder, or a .gguf file; `gguf_file` names one inside a folder. Models with a
    soft-cap on attention scores run eager attention, because fused attention ignores the cap.

    Raises:
        ModelError: nothing there, not a causal LM, an adapter, quantised, damaged or incomplete files, tensors that the model
            lacks or does not know, weights that are not finite, a tokenizer that is not this model's, or a device that is
            not there.
        UnsupportedArchitecture: a family whose anatomy is not declared.
        ConfigError: a GGUF file, and a cache that cannot be written.
    """
    with errors_become(
        ModelError, f"The device {device} cannot be used", "cpu can; cuda where torch sees a GPU"
    ):
        torch.empty(1, device=device)
    source = resolve_model(path_or_id, gguf_file)
    config = load_config(source, revision=revision, trust_remote_code=trust_remote_code)
    tokenizer = load_tokenizer(source, config, revision, trust_remote_code)
    model = from_pretrained(source, config, dtype, revision=revision, trust_remote_code=trust_remote_code)
    return model.to(device), tokenizer


def from_pretrained(
    source: str | Path,
    config: Any,
    dtype: torch.dtype | str,
    revision: str | None = None,
    trust_remote_code: bool = False,
    *,
    nf4: bool = False,
) -> Any:
    """Loads the weights (safetensors only, nothing is unpickled), after the checks of `skeleton_of`. Raises ModelError as
    `load_model`. `nf4`: a frozen base in 4 bits that computes in `dtype`, as paper B fine-tunes it (appendix B): NF4 with
    double quantisation (Dettmers et al. 2023), by bitsandbytes. Adapters are trained on top of it; what they learn is merged
    into the weights of the files, not into the quantised ones, so a weight edit differs from the base in its neurons alone."""
    wanted = dtype_of(dtype)
    files = skeleton_of(source, config, wanted, revision, trust_remote_code).files
    if nf4:
        require_finite_files(files.paths)
    with errors_become(
        ModelError,
        f"The weights of {source} cannot be read",
        "Download or export the model again; only safetensors files are read",
    ):
        model = model_class(config).from_pretrained(
            source,
            config=config,
            dtype=wanted,
            attn_implementation=anatomy_of(config).attention_implementation,
            use_safetensors=True,
            revision=revision,
            trust_remote_code=trust_remote_code,
            quantization_config=_nf4(wanted) if nf4 else None,
        )
    anatomy_of(model)
    for module in model.modules() if nf4 else ():
        # Else bitsandbytes repacks weights for inference on a CPU at their first use, after which they have no gradient.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    require_finite([*model.named_parameters(), *model.named_buffers()], source)
    return model.eval().requires_grad_(False)


def _nf4(dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def require_finite(tensors: Iterable[tuple[str, Tensor]], source: str | Path) -> None:
    """Raises ModelError when one of a model's tensors, read or computed from its config, holds NaN or infinity."""
    for name, tensor in tensors:
        if tensor.is_floating_point() and not all_finite(tensor.detach()):
            raise ModelError(
                f"{name} of {source} holds NaN or infinity in {str(tensor.dtype).removeprefix('torch.')}. Download or export "
                "the model again, or load it in float32 or bfloat16"
            )


def dtype_of(dtype: torch.dtype | str) -> torch.dtype:
    """The dtype of a name such as float32. Raises ModelError when it names none that a model can compute in."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ModelError(f"{dtype!r} is no dtype of a model; float32 and bfloat16 are")
    return found


def resolve_model(path_or_id: str | Path, gguf_file: str | None = None) -> str:
    """A hub id or folder that transformers can open; a GGUF file is dequantised into the cache first. Raises ModelError for
    a path that does not exist, or a GGUF file that cannot be read."""
    with errors_become(
        ModelError, f"No model at {path_or_id!r}", "Give a hub id, a local folder or a .gguf file"
    ):
        path = Path(path_or_id).expanduser()
        if gguf_file is not None:
            path = path / gguf_file
        exists = path.exists()
    if path.suffix == ".gguf" and not path.is_dir():
        return str(dequantised(path))
    looks_like_path = str(path_or_id).startswith((".", "/", "~")) or str(path_or_id).count("/") > 1
    if looks_like_path and not exists:
        raise ModelError(
            f"No model at {path}: the folder does not exist. Give a hub id, a local folder or a .gguf file"
        )
    return str(path) if exists else str(path_or_id)

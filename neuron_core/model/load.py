"""Loading models: a hub id, a local folder, or a GGUF file that is dequantised once into a cached safetensors folder."""

import hashlib
import math
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from polyneuron.neuron_core.common.errors import ModelError
from polyneuron.neuron_core.common.files import sampled, whole_folder
from polyneuron.neuron_core.model.anatomy import anatomy_of

_WORST_PLAUSIBLE_NATS = 0.9
"""A dequantised model whose loss on English is above this share of a uniform guess was not read correctly."""

_UNREADABLE = (OSError, SafetensorError, ValueError, RuntimeError)

_CHECK_TEXT = (
    "Water boils at one hundred degrees Celsius at sea level. The children walked to school with their friends, and in "
    "the evening they ate dinner with their family."
)


def load_model(
    path_or_id: str | Path,
    dtype: torch.dtype | str = torch.float32,
    gguf_file: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    *,
    device: str | torch.device = "cpu",
) -> tuple[Any, Any]:
    """Loads a causal LM and its tokenizer, ready to measure (evaluation mode, no gradients). `path_or_id`: hub id, local
    folder, or a .gguf file; `gguf_file` names one inside a folder. Models with a soft-cap on attention scores run eager
    attention, because fused attention ignores the cap. Raises ModelError when nothing is there, it is no causal LM, or
    weights are unreadable or truncated, and UnsupportedArchitecture for a family whose anatomy is not declared."""
    from transformers import AutoTokenizer

    source = resolve_model(path_or_id, gguf_file)
    config = load_config(source, revision, trust_remote_code)
    read_as: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **read_as)
    except (OSError, ValueError) as error:
        raise ModelError(f"The tokenizer of {path_or_id} cannot be loaded: {_first_line(error)}") from error
    model = from_pretrained(source, config, dtype, **read_as)
    return model.to(device), tokenizer


def load_config(path_or_id: str | Path, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """The Hugging Face config of a supported causal LM; reads no weights. Raises as `load_model`."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            path_or_id, revision=revision, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"No model at {path_or_id}: {_first_line(error)} Give a hub id, a local folder with config.json and "
            "safetensors files, or a .gguf file"
        ) from error
    anatomy_of(config)
    return config


def from_pretrained(
    source: str | Path,
    config: Any,
    dtype: torch.dtype | str,
    revision: str | None = None,
    trust_remote_code: bool = False,
    *,
    nf4: bool = False,
) -> Any:
    """Loads the weights (safetensors only, nothing is unpickled). Under a DeepSpeed ZeRO-3 context they arrive sharded.
    `nf4`: a frozen base in 4 bits that computes in `dtype`, as paper B fine-tunes it (appendix B): NF4 with double
    quantisation (Dettmers et al. 2023), by bitsandbytes. Adapters are trained on top of it; what they learn is merged into
    the weights of the files, not into the quantised ones, so a weight edit differs from the base in its neurons alone."""
    wanted = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    try:
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
    except _UNREADABLE as error:
        if type(error) not in _UNREADABLE:
            raise  # an error of another kind, such as no memory on the device
        raise ModelError(
            f"The weights of {source} cannot be read: {_first_line(error)} Download or export the model again; only "
            "safetensors files are read"
        ) from error
    anatomy_of(model)
    for module in model.modules() if nf4 else ():
        # Else bitsandbytes repacks weights for inference on a CPU at their first use, after which they have no gradient.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model.eval().requires_grad_(False)


def _nf4(dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def model_class(config: Any) -> Any:
    """transformers' Auto class that makes a model of this config."""
    import transformers

    return getattr(transformers, anatomy_of(config).family.auto_class)


def resolve_model(path_or_id: str | Path, gguf_file: str | None = None) -> str:
    """A hub id or folder that transformers can open; a GGUF file is dequantised into the cache first. Raises ModelError for
    a path that does not exist, or a GGUF file that cannot be read."""
    path = Path(path_or_id).expanduser()
    if gguf_file is not None:
        path = path / gguf_file
    if path.suffix == ".gguf":
        return str(dequantised(path))
    looks_like_path = str(path_or_id).startswith((".", "/", "~")) or str(path_or_id).count("/") > 1
    if looks_like_path and not path.exists():
        raise ModelError(
            f"No model at {path}: the folder does not exist. Give a hub id, a local folder or a .gguf file"
        )
    return str(path) if path.exists() else str(path_or_id)


def cache_folder() -> Path:
    """Where dequantised models are kept: $POLYNEURON_CACHE, else ~/.cache/polyneuron."""
    return Path(os.environ.get("POLYNEURON_CACHE", "~/.cache/polyneuron")).expanduser()


def dequantised(gguf: Path) -> Path:
    """The safetensors folder of a GGUF file, made on first use, named by the file's content, checked by perplexity. Raises
    ModelError when the file is missing, not a GGUF, of an unsupported family, or its text makes no sense afterwards."""
    if not gguf.is_file():
        raise ModelError(f"No GGUF file at {gguf}")
    import xxhash
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with gguf.open("rb") as file:
        content = hashlib.file_digest(file, xxhash.xxh3_64).hexdigest()  # type: ignore[arg-type]
    folder = cache_folder() / "gguf" / f"{gguf.stem}-{content}"
    if folder.exists():
        return folder

    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"{gguf} cannot be dequantised: {_first_line(error)}") from error
    anatomy_of(model)
    ids = tokenizer(_CHECK_TEXT, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        nats = float(model.eval()(input_ids=ids, labels=ids).loss)
    if nats > _WORST_PLAUSIBLE_NATS * math.log(model.config.get_text_config().vocab_size):
        raise ModelError(
            f"{gguf} was read, but its loss on English is {nats:.1f} nats a token, hardly better than guessing: its layout "
            "is not what transformers expects"
        )
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    with whole_folder(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
    return folder


def model_fingerprint(source: str | Path, config: Any) -> str:
    """16 hex digits that tell one set of weights from another without reading all of it. A hub model is its commit; a
    folder is its config and, of every safetensors file, the size, the header and evenly spaced blocks."""
    import xxhash

    commit = getattr(config, "_commit_hash", None)
    digest = xxhash.xxh3_64(str(commit or "").encode())
    folder = Path(source)
    if folder.is_dir():
        digest.update((folder / "config.json").read_bytes())
        for path in sorted(folder.glob("*.safetensors")):
            digest.update(f"{path.name}:{path.stat().st_size}".encode())
            for block in sampled(path):
                digest.update(block)
    else:
        digest.update(f"{source}@{commit}".encode())
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".") + "."

"""GGUF files: dequantised once into a safetensors folder of the cache, and checked by what the model makes of English."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from polyneuron.neuron_core.common.boundary import errors_become
from polyneuron.neuron_core.common.cache import cache_folder, writable_cache
from polyneuron.neuron_core.common.errors import ModelError
from polyneuron.neuron_core.common.files import whole_folder
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.gguf_header import require_whole_gguf

_WORST_PLAUSIBLE_NATS = 0.9
"""A dequantised model whose loss on English is above this share of a uniform guess was not read correctly."""

_CONVERSION = 2
"""Counted up when a file becomes another folder than before, so that no older one is taken for it. 2: tokenizers add BOS."""

_CHECK_TEXT = (
    "Water boils at one hundred degrees Celsius at sea level. The children walked to school with their friends, and in "
    "the evening they ate dinner with their family."
)


def gguf_config(gguf: Path) -> Any:
    """The config that a GGUF file's header stands for. Raises ModelError when it cannot be read, UnsupportedArchitecture for
    a family that is not declared."""
    from transformers import AutoConfig

    with _read(gguf):
        require_whole_gguf(gguf)
        config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
        anatomy_of(config)
    return config


def gguf_tokenizer(gguf: Path) -> Any:
    """The tokenizer that a GGUF file carries, which starts texts with BOS where the file says so: transformers leaves that
    out, and Gemma is useless without it. Raises what transformers or gguf raise for a file that they cannot read."""
    from gguf import GGUFReader
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    said = GGUFReader(gguf).get_field("tokenizer.ggml.add_bos_token")
    if said is not None and said.contents() and tokenizer.bos_token_id is not None:
        tokenizer.add_bos_token = True
    return tokenizer


def kept_folder(gguf: Path) -> Path:
    """Where the cache has the safetensors folder of a GGUF file, whether it is there or not. Raises ModelError where the file
    cannot be read."""
    with _read(gguf):
        import xxhash

        with gguf.open("rb") as file:
            content = hashlib.file_digest(file, xxhash.xxh3_64).hexdigest()  # type: ignore[arg-type]
    return cache_folder() / "gguf" / f"{gguf.stem}-{content}-{_CONVERSION}"


def dequantised(gguf: Path) -> Path:
    """The safetensors folder of a GGUF file, made on first use, named by the file's content, checked by perplexity.

    Raises:
        ModelError: the file is missing, not a GGUF, cut short, of an unsupported family, or its text makes no sense afterwards.
        ConfigError: the cache cannot be written.
    """
    folder = kept_folder(gguf)
    if folder.exists():
        return folder
    cache = writable_cache("gguf")
    from transformers import AutoModelForCausalLM

    with _read(gguf):
        require_whole_gguf(gguf)
        model: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
        tokenizer = gguf_tokenizer(gguf)
        anatomy_of(model)
        nats = _english_loss_nats(model, tokenizer)
    if not nats <= _WORST_PLAUSIBLE_NATS * math.log(model.config.get_text_config().vocab_size):
        raise ModelError(
            f"{gguf} was read, but its loss on English is {nats:.1f} nats a token, hardly better than guessing: its layout "
            "is not what transformers expects"
        )
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    with (
        errors_become(ModelError, f"{gguf} cannot be kept dequantised in {cache}", "Make room there"),
        whole_folder(folder) as temporary,
    ):
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
    return folder


@contextmanager
def _read(gguf: Path) -> Iterator[None]:
    if not gguf.is_file():
        raise ModelError(f"No GGUF file at {gguf}")
    with errors_become(
        ModelError,
        f"{gguf} cannot be dequantised",
        "Download it again, whole; its model must be of a supported family",
    ):
        yield


@torch.no_grad()
def _english_loss_nats(model: Any, tokenizer: Any) -> float:
    ids = tokenizer(_CHECK_TEXT, return_tensors="pt")["input_ids"]
    return float(model.eval()(input_ids=ids, labels=ids).loss)

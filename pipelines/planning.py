"""What a study would do: units done and to do, sizes, memory and time. No weights are read."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any

from eval.store import Store
from neuron_core.anatomy import Anatomy, anatomy_of
from neuron_core.errors import ModelError, PolyneuronError
from pipelines.config import ModelConfig, StudyConfig
from pipelines.subject import Subject, model_path

_BYTES = {"float32": 4, "bfloat16": 2}
_LOCAL_CORPORA = ("embedded", "files")
_DETECTION_COST = 1.4
"""Detection beside a plain forward pass over the same sentences."""

ASSUMED_FLOPS_PER_WORKER = {"cpu": 5e10, "gpu": 1e14}
"""Sustained floating-point operations a second: about one core with AVX2, and a third of a data-centre GPU's
peak in bfloat16."""


def plan(config: StudyConfig) -> list[dict[str, Any]]:
    """One row per model: parameters, neurons, units, memory, hours; `error` where it cannot be read."""
    return [_plan_model(config, model) for model in config.models]


def _plan_model(config: StudyConfig, model: ModelConfig) -> dict[str, Any]:
    try:
        hf_config = _hf_config(model)
        anatomy = anatomy_of(hf_config)
    except PolyneuronError as error:
        return {"model": model.label, "error": error.message}
    parameters, largest_outside = _parameters(hf_config, anatomy)
    in_layer = (parameters - largest_outside) // anatomy.n_layers
    cluster, corpus, seeds = config.cluster, config.corpus, config.ablation
    size, n_languages = _BYTES[model.dtype], len(config.languages)
    tokens_detection = n_languages * corpus.n_detection * corpus.max_tokens
    tokens_heldout = n_languages * corpus.n_heldout * corpus.max_tokens
    n_variants = (
        2
        + n_languages
        + _n_trainings(config)
        + seeds.shared_control_seeds
        + n_languages * seeds.exclusive_control_seeds
    )
    n_sites, n_detected = _n_activation_units(config)
    passes_detection, passes_heldout = _DETECTION_COST + n_sites, n_variants + n_detected
    flops = 2 * parameters * (passes_detection * tokens_detection + passes_heldout * tokens_heldout)
    speed = ASSUMED_FLOPS_PER_WORKER["gpu" if cluster.gpus_per_worker else "cpu"]
    measured_at_once = tokens_detection if n_sites else tokens_detection // n_languages
    waiting = max(measured_at_once, seeds.variants_per_pass * tokens_heldout)
    return {
        "model": model.label,
        "family": anatomy.family.name,
        "parameters": parameters,
        "neurons": {group: anatomy.widths[group] * anatomy.n_layers for group in config.detection.groups},
        "units": _units(config, model, n_variants),
        "tokens_detection_at_most": tokens_detection,
        "tokens_heldout_at_most": tokens_heldout,
        "memory_per_worker_bytes": {
            "shard": parameters * size // cluster.world_size,
            "gathered_at_most": max(in_layer, largest_outside) * size,
            "hidden_states": waiting * anatomy.hidden_size * size // cluster.world_size,
        },
        "hours_at_most": round(flops / speed / cluster.world_size / 3600, 3),
        "assumed_flops_per_worker": speed,
    }


def _hf_config(model: ModelConfig) -> Any:
    """The model's config; of a GGUF file from its header, without dequantising it."""
    from neuron_core.models import load_config, resolve_model

    path = Path(model_path(model)).expanduser()
    if path.suffix != ".gguf":
        return load_config(resolve_model(model_path(model)), model.revision, model.trust_remote_code)
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error


def _parameters(hf_config: Any, anatomy: Anatomy) -> tuple[int, int]:
    """Parameters of the whole model and of what lies outside its layers, counted on the meta device."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(hf_config.get_text_config())
    total = sum(parameter.numel() for parameter in model.parameters())
    inside = sum(
        parameter.numel()
        for module in model.modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == anatomy.n_layers
        for parameter in module.parameters()
    )
    return total, total - inside


def _units(config: StudyConfig, model: ModelConfig, n_variants: int) -> dict[str, Any]:
    """Done and to do of each stage. Corpora of the hub are not read for it, so their units stay unknown."""
    from neuron_core.corpora.presets import source_of
    from pipelines.stages.corpora import read_sentences
    from pipelines.stages.detection import detection_units
    from pipelines.stages.selection import floor_fractions, selection_name_and_unit

    store, n_languages = Store(config.store), len(config.languages)
    todo = {
        "detection": {"done": 0, "to_do": n_languages},
        "perplexity": {"done": 0, "to_do_at_most": n_variants},
        "training": {"to_do_at_most": _n_trainings(config)},
        "benchmarks": {"to_do_at_most": _n_benchmark_units(config)},
    }
    n_sites, n_detected = _n_activation_units(config)
    if n_sites:
        todo["activations"] = {"to_do_at_most": n_sites}
        todo["perplexity_of_detected_sets"] = {"to_do_at_most": n_detected}
    if not store.exists():
        return todo
    names = [config.corpus.sources.get(language, config.corpus.source) for language in config.languages]
    sources = [source_of(name) for name in names]
    if any(source.kind not in _LOCAL_CORPORA or "://" in str(source.path) for source in sources):
        return {"unknown": "the units of a corpus on the hub are known once it is read"}
    with Subject.open(config, model) as subject:
        read_sentences(subject, store)
        missing, selection = n_languages, ""
        for floor_fraction in floor_fractions(config):
            units = detection_units(subject, floor_fraction)
            missing_here = len(store.missing("detections", units.values()))
            if selection and missing_here == n_languages:
                break
            missing, (selection, unit) = missing_here, selection_name_and_unit(config, units)
            if missing or store.has("selections", unit):
                break
    todo["detection"] = {"done": n_languages - missing, "to_do": missing}
    if not missing:
        filters = [("model", "=", model.label), ("selection", "=", selection)]
        done = len(set(store.read("perplexities", filters, ["variant"])["variant"].to_pylist()))
        todo["perplexity"] = {"done": done, "to_do_at_most": n_variants - done}
    return todo


def _n_activation_units(config: StudyConfig) -> tuple[int, int]:
    """Sites measured, and sets of detectors with their controls that are deactivated; none where the stage is off."""
    activations = config.activations
    n_sets = len(activations.detectors) * len(config.languages)
    return (len(activations.sites) if n_sets else 0), n_sets * (1 + activations.controls)


def _n_trainings(config: StudyConfig) -> int:
    """Sets that a study trains."""
    training = config.training
    return len(training.groups) * len(training.strategies) * len(training.seeds)


def _n_benchmark_units(config: StudyConfig) -> int:
    """Variants judged, the base model and trained ones included, by benchmarks and languages."""
    evaluation, seeds = config.evaluation, config.ablation
    names = ["shared", *(f"control-shared-{seed}" for seed in range(seeds.shared_control_seeds))]
    for language in config.languages:
        names.append(f"exclusive-{language}")
        controls = range(seeds.exclusive_control_seeds)
        names += [f"control-exclusive-{language}-{seed}" for seed in controls]
    named = [n for n in names if any(fnmatch.fnmatchcase(n, pattern) for pattern in evaluation.variants)]
    n_languages = len(evaluation.languages or config.languages)
    return (1 + len(named) + _n_trainings(config)) * len(evaluation.benchmarks) * n_languages

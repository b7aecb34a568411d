"""How much a study would do: its units, done and to do, and what they are counted from. No weights are read."""

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.corpora.sources import CorpusSource
from polyneuron.neuron_core.sets.variant_name import (
    CONTROL_KINDS,
    SHARED,
    ControlKind,
    VariantName,
    exclusive,
    strict_exclusive,
)
from polyneuron.neuron_core.training.choices.names import SET_STRATEGIES
from polyneuron.pipelines.config.corpus import CorpusConfig
from polyneuron.pipelines.config.study import ModelConfig, StudyConfig
from polyneuron.pipelines.run.record import warn_of_trusted_code
from polyneuron.pipelines.run.studied_model import model_path
from polyneuron.pipelines.stages.corpora import source_for

_LOCAL_CORPORA = ("embedded", "files")
DETECTED = "perplexities of detected sets"
"""Stands for a table of its own: perplexities without the sets that detectors found."""


def config_of_model(model: ModelConfig) -> Any:
    """The model's config; of a GGUF file that was not dequantised before from its header. Tokenizer and headers of weights are
    looked at where a local folder holds them, so that a plan refuses what a start would; a config alone can be planned with."""
    from polyneuron.neuron_core.model.gguf import gguf_config, kept_folder
    from polyneuron.neuron_core.model.load import dtype_of, resolve_model
    from polyneuron.neuron_core.model.opening import load_config, load_tokenizer
    from polyneuron.neuron_core.model.skeleton import skeleton_of

    warn_of_trusted_code(model)
    path = Path(model_path(model)).expanduser()
    if path.suffix == ".gguf" and not kept_folder(path).exists():
        return gguf_config(path)
    source, trusted = resolve_model(model_path(model)), model.trust_remote_code
    config = load_config(source, model.revision, trusted)
    if any(Path(source).glob("tokenizer*.json")):
        load_tokenizer(source, config, model.revision, trusted)
    if any(Path(source).glob("*.safetensors*")):
        skeleton_of(source, config, dtype_of(model.dtype), model.revision, trusted)
    return config


def units_of(config: StudyConfig, model: ModelConfig) -> dict[str, Any]:
    """Done and to do of each stage. Corpora of the hub are not read for it, so their units stay unknown."""
    store, n_languages = Store(config.store), len(config.languages)
    n_sites, n_detected = n_activation_units(config)
    trains = {"training"} if config.training.languages else set[str]()
    planned = {
        "detection": ("detections", n_languages, {"detection"}),
        "perplexity": ("perplexities", n_variants(config), {"ablation", *trains}),
        "training": ("training", n_trainings(config), trains),
        "benchmarks": ("scores", n_benchmark_units(config), {"evaluation", *trains}),
    }
    if n_sites:
        planned["activations"] = ("activations", n_sites, {"activations"})
        planned["perplexity_of_detected_sets"] = (DETECTED, n_detected, {"ablation"})
    if config.contexts.top_tokens:
        planned["contexts"] = ("contexts", n_languages, {"contexts"})
    done, complete = dict[str, int](), set[str]()
    if store.exists():
        if not is_at_hand(config.corpus, config.languages):
            return {"unknown": "the units of a corpus on the hub are known once it is read"}
        from polyneuron.pipelines.plan.stored import stored_units

        done, complete = stored_units(config, model, store)
    units = {}
    for name, (table, n, stages) in planned.items():
        n_done = done.get(table, 0)
        is_complete = stages <= complete
        todo = "to_do" if is_complete or name == "detection" else "to_do_at_most"
        units[name] = {"done": n_done, todo: 0 if is_complete else n - n_done}
    return units


def is_at_hand(corpus: CorpusConfig, languages: Sequence[str]) -> bool:
    """Whether the corpora of all languages lie on this machine. Raises CorpusError for a source that is not there."""

    return all(lies_here(source_for(corpus, language)) for language in languages)


def lies_here(source: CorpusSource) -> bool:
    """Whether a corpus lies on this machine."""
    return source.kind in _LOCAL_CORPORA and "://" not in str(source.path)


def n_activation_units(config: StudyConfig) -> tuple[int, int]:
    """Sites measured, and sets of detectors with their controls that are deactivated; none where the stage is off."""
    activations = config.activations
    n_sets = len(activations.detectors) * len(config.languages)
    return (len(activations.sites) if n_sets else 0), n_sets * (1 + activations.controls)


def n_trainings(config: StudyConfig) -> int:
    """What a study trains, random controls of its sets included."""
    training = config.training
    sets = [strategy for strategy in training.strategies if strategy in (*SET_STRATEGIES, "auto")]
    controls = (len(sets) or 1) - 1 if "random" in training.strategies else 0
    return len(training.groups) * (len(training.strategies) + controls) * len(training.seeds)


def n_variants(config: StudyConfig) -> int:
    """Variants whose perplexity is measured."""
    return n_variants_everywhere(config) + len(config.languages) * n_variants_at_home(config)


def n_variants_everywhere(config: StudyConfig) -> int:
    """Variants measured in all languages: the base model, sets, controls of the shared set, and trained ones."""
    sets = _deactivated(config, controls=False)
    controls = len(_kinds(SHARED)) * config.ablation.shared_control_seeds
    return 1 + len(sets) + controls + n_trainings(config)


def n_variants_at_home(config: StudyConfig) -> int:
    """Variants measured in one language alone, for each language: controls of its sets."""
    sets = (exclusive(""), strict_exclusive(""))
    return config.ablation.exclusive_control_seeds * sum(len(_kinds(name)) for name in sets)


def _kinds(name: VariantName) -> tuple[ControlKind, ...]:
    """The kinds of controls of a set; no neuron of another language is a control of what all share."""
    return CONTROL_KINDS if name.language is not None else CONTROL_KINDS[:2]


def _deactivated(config: StudyConfig, controls: bool) -> list[VariantName]:
    """The names of the sets that are switched off, and of their controls."""
    n_draws = config.ablation.n_controls
    names = []
    for name in (SHARED, *map(exclusive, config.languages), *map(strict_exclusive, config.languages)):
        names.append(name)
        seeds = range(n_draws["shared" if name == SHARED else "exclusive"] * controls)
        names += [name.control(seed, kind) for kind in _kinds(name) for seed in seeds]
    return names


def n_judged(config: StudyConfig) -> int:
    """Variants judged on benchmarks, the base model and trained ones included."""
    names, patterns = map(str, _deactivated(config, controls=True)), config.evaluation.variants
    named = [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    return 1 + len(named) + n_trainings(config)


def n_benchmark_units(config: StudyConfig) -> int:
    """Variants judged, by benchmarks and languages."""
    evaluation = config.evaluation
    n_languages = len(evaluation.languages or config.languages)
    return n_judged(config) * len(evaluation.benchmarks) * n_languages

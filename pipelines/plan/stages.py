"""The stages of a study as the planner's numbers: what each holds, computes, gathers and reads."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from polyneuron.cluster.capacity import passes, training
from polyneuron.cluster.capacity.estimate import HEADROOM, Stage
from polyneuron.cluster.capacity.placing import LIBRARIES_DEVICE, LIBRARIES_HOST, Phase, Placing
from polyneuron.cluster.capacity.training import PlannedTraining
from polyneuron.cluster.memory import GIB
from polyneuron.neuron_core.training.data.documents import documents
from polyneuron.pipelines.config.study import StudyConfig
from polyneuron.pipelines.config.training import TrainingConfig
from polyneuron.pipelines.plan.case import PlannedCase
from polyneuron.pipelines.plan.engine import EXAMPLE_TOKENS, engine_stage, study_requests
from polyneuron.pipelines.plan.units import (
    lies_here,
    n_activation_units,
    n_trainings,
    n_variants_at_home,
    n_variants_everywhere,
)
from polyneuron.pipelines.stages.corpora import mixture_for

TRAINED_SHARE = 0.01
"""Neurons of each group that a chosen set is assumed to have; how many it has is known after detection."""
ASSUMED_DOCUMENTS, MOST_COUNTED = 1000, 10_000
"""In place of `training.n_documents: all` where the corpora are not at hand; how far those at hand are counted. A document is
taken as one block of `max_tokens`."""
_OWNED_ROWS = {"q": 1, "k": 1, "v": 1, "ffn": 3}
"""Rows and columns that one neuron owns."""


def stages_of(case: PlannedCase) -> Iterator[Stage]:
    """Every stage that the configuration asks for, in order."""
    config = case.config
    yield detection_stage(case)
    if config.activations.detectors:
        yield activation_stage(case)
    if config.contexts.top_tokens:
        yield context_stage(case)
    if config.ablation.through == "workers":
        yield perplexity_stage(case)
    if config.training.languages:
        yield training_stage(case)
    if config.evaluation.benchmarks or config.ablation.through == "engine":
        yield engine_stage(case, study_requests(config))


def detection_stage(case: PlannedCase) -> Stage:
    """Two passes a language: its shortest sentences, then the others. With a noise floor they measure impacts on single
    sentences, in full, and the driver keeps them."""
    n_bytes, n_languages = noise_floor_bytes(case), len(case.config.languages)
    return _impact_stage(
        "detection",
        case,
        planned_detection(case),
        passes.sentence_impact_phases if n_bytes else passes.detection_phases,
        n_passes=2 * n_languages,
        n_rounds=n_languages,
        notes=(f"with the noise floor: the driver holds {n_bytes / GIB:.2f} GiB of impacts",)
        if n_bytes
        else (),
    )


def _impact_stage(
    name: str,
    case: PlannedCase,
    what: passes.Detection,
    phases: Callable[..., tuple[Phase, ...]],
    **more: Any,
) -> Stage:
    """Impacts of each language's detection sentences. `phases`: what a rank holds meanwhile; `more`: as `_pass_stage`."""
    config, n_languages = case.config, len(case.config.languages)
    corpus = passes.Corpus(config.corpus.n_detection, config.corpus.max_tokens, config.detection.batch_size)
    scores = n_languages * passes.score_flops(case.shape, corpus, what)
    return _pass_stage(
        name,
        case,
        corpus,
        phases(case.placing, corpus, what, _memory_scale(case)),
        flops=n_languages * passes.forward_flops(case.shape, corpus, with_head=False) + scores,
        score_flops=scores,
        **more,
    )


def _memory_scale(case: PlannedCase) -> float:
    """What a micro-batch of detection takes, measured where the stage runs, over its formula."""
    measured = case.measured
    return measured.detection_memory if measured and measured.on_gpu == case.placing.on_gpu else 1.0


def noise_floor_bytes(case: PlannedCase) -> int:
    """Impacts on every detection sentence in float32; 0 where the noise floor is not measured."""
    config = case.config
    neurons = case.shape.n_layers * sum(case.shape.width(group) for group in config.detection.groups)
    n_bytes = 4 * neurons * len(config.languages) * config.corpus.n_detection
    return n_bytes if config.detection.wants_noise_floor(n_bytes) else 0


def planned_detection(case: PlannedCase) -> passes.Detection:
    """What the study detects, as far as its cost depends on it: everything where a noise floor is measured."""
    detection = case.config.detection
    certified = detection.mode == "certified" and not noise_floor_bytes(case)
    return passes.Detection(detection.groups, certified, detection.floor_fraction)


def activation_stage(case: PlannedCase) -> Stage:
    """One pass a site over the detection sentences of all languages."""
    config, n_languages = case.config, len(case.config.languages)
    n_sentences = n_languages * config.corpus.n_detection
    corpus = passes.Corpus(n_sentences, config.corpus.max_tokens, config.detection.batch_size)
    n_sites, _ = n_activation_units(config)
    return _pass_stage(
        "activations",
        case,
        corpus,
        passes.activation_phases(case.placing, corpus, n_languages),
        flops=n_sites * passes.forward_flops(case.shape, corpus, with_head=False),
        n_passes=n_sites,
    )


def context_stage(case: PlannedCase) -> Stage:
    """One pass a language over its detection sentences; what is kept of neurons in sets is small beside them."""
    config, n_languages = case.config, len(case.config.languages)
    n_read = min(config.corpus.n_detection, config.contexts.n_sentences or config.corpus.n_detection)
    corpus = passes.Corpus(n_read, config.corpus.max_tokens, config.detection.batch_size)
    return _pass_stage(
        "contexts",
        case,
        corpus,
        passes.context_phases(case.placing, corpus),
        flops=n_languages * passes.forward_flops(case.shape, corpus, with_head=False),
        n_passes=n_languages,
    )


def perplexity_stage(case: PlannedCase) -> Stage:
    """Held-out sentences of all languages, or of its own, under every variant, some variants a pass."""
    config, at_once = case.config, case.config.ablation.variants_per_pass
    n_sentences = len(config.languages) * config.corpus.n_heldout
    corpus = passes.Corpus(n_sentences, config.corpus.max_tokens, config.ablation.batch_size)
    n_everywhere = n_variants_everywhere(config) + n_activation_units(config)[1]
    n_at_home, n_languages = n_variants_at_home(config), len(config.languages)
    # one round of every language's own variants reads each sentence once, as a pass over all languages does
    n_whole, n_at_home_passes = math.ceil(n_everywhere / at_once), math.ceil(n_at_home / at_once)
    n_passes, n_copies = n_whole + n_languages * n_at_home_passes, min(n_everywhere, at_once)
    n_all = n_everywhere + n_languages * n_at_home
    return _pass_stage(
        "perplexity",
        case,
        corpus,
        passes.perplexity_phases(case.placing, corpus, n_copies),
        flops=(n_everywhere + n_at_home) * passes.forward_flops(case.shape, corpus, with_head=True),
        n_passes=n_passes,
        n_rounds=n_whole + n_at_home_passes,
        with_head=True,
        n_copies=n_copies,
        notes=(f"{n_all} variants in {n_passes} passes",),
    )


def _pass_stage(
    name: str,
    case: PlannedCase,
    corpus: passes.Corpus,
    phases: tuple[Phase, ...],
    *,
    n_passes: int,
    n_rounds: int | None = None,
    with_head: bool = False,
    n_copies: int = 1,
    **work: Any,
) -> Stage:
    """n_passes: in which weights are gathered; n_rounds: how often all of `corpus` goes through the layers, in `n_copies`; work:
    what else the `Stage` says."""
    where = case.placing
    times = (n_passes if n_rounds is None else n_rounds) * case.shape.n_layers
    kept, spilled = (times * n for n in passes.hidden_state_bytes(where, corpus, n_copies))
    moved = 2 * (kept + spilled) if where.on_gpu else 0
    if where.on_gpu and where.weights == "stream":
        moved += n_passes * case.shape.model_bytes
    elif where.offloads:
        moved += n_passes * where.share(case.shape.model_bytes)
    return _stage(
        name,
        case,
        where,
        phases,
        received_bytes=where.received(n_passes, with_head),
        moved_bytes=moved,
        read_bytes=where.read(n_passes, with_head),
        spilled_bytes=2 * spilled,  # written and read once a layer
        **work,
    )


def _stage(name: str, case: PlannedCase, where: Placing, phases: tuple[Phase, ...], **work: Any) -> Stage:
    return Stage(
        name=name,
        world_size=where.world_size,
        ranks_per_node=where.ranks_per_node,
        on_gpu=where.on_gpu,
        devices=case.devices,
        phases=phases,
        **work,
    )


def training_stage(case: PlannedCase) -> Stage:
    """All trainings, one after the other; memory is that of the largest set."""
    settings, shape = case.config.training, case.shape
    rows = sum(times * shape.width(group) for group, times in _OWNED_ROWS.items())
    share = 1 if "full" in settings.strategies else TRAINED_SHARE
    n_blocks = n_documents(settings)
    planned = PlannedTraining(
        n_trained=int(share * rows * shape.hidden_size * shape.n_layers),
        n_steps=n_steps(n_blocks * settings.epochs, settings.global_batch, settings.max_steps),
        n_tokens=settings.max_tokens,
        **settings.model_dump(include={"global_batch", "micro_batch", "zero_stage", "recomputed_layers"}),
    )
    return fine_tuning_stage(case, [planned] * n_trainings(case.config))


def n_documents(training: TrainingConfig) -> int:
    """Documents of a language, of the one that has most; those at hand are counted, the study's own sentences too."""
    if training.n_documents != "all":
        return training.n_documents
    if not _are_counted(training):
        return ASSUMED_DOCUMENTS
    mixture, languages = mixture_for(training), {code for group in training.groups for code in group}
    return max(
        sum(1 for _ in itertools.islice(documents(mixture, code, "all"), MOST_COUNTED)) for code in languages
    )


def _are_counted(training: TrainingConfig) -> bool:
    return all(lies_here(source) for source, _ in mixture_for(training))


def n_steps(n_blocks: int, batch: int, max_steps: int | None) -> int:
    """Steps of a training over `n_blocks` in all, `batch` of them a step."""
    steps = math.ceil(n_blocks / batch)
    return min(steps, max_steps or steps)


def fine_tuning_stage(case: PlannedCase, trainings: Sequence[PlannedTraining]) -> Stage:
    """Trainings one after the other, each of which loads the model."""
    where = replace(case.placing, weights="shard")
    largest = max(trainings, key=lambda one: (one.n_trained, one.micro_tokens))
    n_micro = math.ceil(largest.global_batch / largest.micro_batch)
    notes = [f"{len(trainings)} x {largest.n_steps} steps, {largest.n_trained:,} scalars at most"]
    if n_micro % where.world_size:
        notes.append(f"{n_micro} micro-batches a step leave some of {where.world_size} ranks idle")
    return _stage(
        "training",
        case,
        where,
        training.training_phases(where, largest),
        flops=sum(training.training_flops(case.shape, one) for one in trainings),
        received_bytes=sum(training.gathered_in_training(where, one) for one in trainings),
        n_steps=sum(one.n_steps for one in trainings),
        moved_bytes=sum(training.moved_in_training(where, one) for one in trainings),
        read_bytes=len(trainings) * case.shape.model_bytes,
        notes=tuple(notes),
    )


def assumptions(config: StudyConfig, reads_corpus: bool = True) -> list[str]:
    """What the numbers of this configuration take for granted, beside rates."""
    cluster, training = config.cluster, config.training
    trains, in_part = bool(training.languages), "full" not in training.strategies
    libraries = f"{LIBRARIES_DEVICE / GIB:g} GiB on its GPU and {LIBRARIES_HOST / GIB:g} GiB of its node"
    answers = f"an example of a prompt has {EXAMPLE_TOKENS} tokens, an answer half of what it may have"
    said = {
        "sentences are as long as corpus.max_tokens allows, micro-batches are full": reads_corpus,
        f"{HEADROOM:.0%} of a memory may be planned with": True,
        "one model at a time, whatever cluster.models_at_once is": cluster.models_at_once > 1,
        f"libraries of a rank take {libraries}": cluster.gpus_per_worker,
        f"a trained set has {TRAINED_SHARE:.0%} of the neurons of each group": trains and in_part,
        "a training document is one block of training.max_tokens": trains,
        f"training.n_documents: all is {ASSUMED_DOCUMENTS:,}": trains
        and training.n_documents == "all"
        and not _are_counted(training),
        answers: config.evaluation.benchmarks,
    }
    return [words for words, holds in said.items() if holds]

"""Detection: exact impacts of every neuron over a corpus, in layer-major order, with certified pruning of q and k.

`detection_pass` is what one worker does with its micro-batches; `detect_language` puts the passes together for any way of
spreading them; `measure_impacts` is the one-process surface for notebooks.

Certified mode rests on one fact: the minimum over sentences only falls. The shortest sentences of a language (the seed) are
measured in full; the floor u of a group is the value its `floor_fraction` largest running minima reach. Only q and k
neurons at or above u go on. Whatever threshold >= u is chosen later selects exactly what the full measurement would.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from polyneuron.neuron_core.common.errors import CorpusError, ModelError
from polyneuron.neuron_core.impacts.accumulate import Impacts
from polyneuron.neuron_core.impacts.capture import recorded, recording_attention
from polyneuron.neuron_core.impacts.layer import LayerImpacts
from polyneuron.neuron_core.impacts.modes import DETECTION_MODES, DetectionMode
from polyneuron.neuron_core.model.groups import DEFAULT_GROUPS, SCORE_GROUPS, require_groups
from polyneuron.neuron_core.passes.batches import MicroBatch, Sentence, as_corpora, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor, attention_replaced
from polyneuron.neuron_core.passes.lengths import warn_of_unequal_reading
from polyneuron.neuron_core.passes.limits import FLOOR_FRACTION, MAX_COLLECTED, N_SEED_SENTENCES
from polyneuron.neuron_core.passes.live_model import measured

if TYPE_CHECKING:
    from polyneuron.neuron_core.impacts.table import ImpactTable, LanguageImpacts

Accumulated = dict[tuple[int, str], Impacts]
Candidates = Mapping[tuple[int, str], Tensor]
"""Per (layer, "q" or "k"), the neurons still measured: ascending int64 indices."""
RunPass = Callable[[list[MicroBatch], Candidates | None], Accumulated]
Progress = Callable[[int, int], None]


class LeftOutWarning(UserWarning):
    """Some of the sentences given were not measured."""


def detection_pass(
    runner: LayerMajor,
    batches: Sequence[MicroBatch],
    groups: Sequence[str],
    candidates: Candidates | None = None,
    progress: Progress | None = None,
) -> Accumulated:
    """Impacts of every neuron (q and k: of the candidates only) over the micro-batches of one worker. Raises ModelError
    when an impact is not finite; names the layer and group."""
    accumulated = Accumulated()

    def collector(layer: int) -> Collector:
        return _Collected(accumulated, layer, complete=candidates is None)

    measure_layers(runner, batches, groups, collector, candidates=candidates, progress=progress)
    return accumulated


class Collector(Protocol):
    """What becomes of the impacts of one layer."""

    def add(self, impacts: Mapping[str, Tensor], batch: MicroBatch) -> None:
        """Takes the impacts [B, N] per group of one micro-batch."""

    def flush(self) -> None:
        """Is called once, when the layer has measured every micro-batch."""


def measure_layers(
    runner: LayerMajor,
    batches: Sequence[MicroBatch],
    groups: Sequence[str],
    collector: Callable[[int], Collector],
    *,
    candidates: Candidates | None = None,
    progress: Progress | None = None,
) -> None:
    """Measures the micro-batches of one worker layer by layer, and gives what it finds to the `collector` of each layer."""
    device = runner.device
    config = runner.model.config.get_text_config()  # type: ignore[union-attr, operator]
    any_scores = bool(set(groups) & set(SCORE_GROUPS))
    # sdpa takes the same masks, and is faster where a layer has no candidate left
    always_recording = any_scores and config._attn_implementation != "sdpa"

    def recording(wanted: bool) -> AbstractContextManager[None]:
        return attention_replaced(runner.model, recording_attention()) if wanted else nullcontext()

    with runner.gathered_before(), recording(any_scores):
        running = [runner.begin(batch) for batch in batches]
    for index, layer in enumerate(runner.layers):
        wanted = None
        if candidates is not None:
            wanted = {g: candidates[index, g].to(device) for g in groups if g in SCORE_GROUPS}
        with_scores = any_scores and (wanted is None or any(len(neurons) for neurons in wanted.values()))
        with recording(with_scores or always_recording), runner.gathered_layer(index):
            measure, collected = LayerImpacts(layer, runner.anatomy, groups), collector(index)
            for inputs in running:
                with recorded(layer, runner.anatomy, with_scores) as record:
                    runner.run_layer(index, inputs)
                collected.add(measure(record, inputs.batch.scored.to(device), wanted), inputs.batch)
            collected.flush()
        if progress is not None:
            progress(index + 1, len(runner.layers))


class _Collected:
    """Impacts of one layer, accumulated many sentences at a time: the bookkeeping costs as much for one as for all."""

    def __init__(self, accumulated: Accumulated, layer: int, complete: bool) -> None:
        self._accumulated, self._layer, self._complete = accumulated, layer, complete
        self._parts: dict[str, list[Tensor]] = {}
        self._n_scored: list[int] = []
        self._n_values = 0

    def add(self, impacts: Mapping[str, Tensor], batch: MicroBatch) -> None:
        """Impacts [B, N] of one micro-batch."""
        for group, values in impacts.items():
            self._parts.setdefault(group, []).append(values)
            self._n_values += values.numel()
        self._n_scored += [sentence.n_scored for sentence in batch.sentences]
        if self._n_values > MAX_COLLECTED:
            self.flush()

    def flush(self) -> None:
        """Accumulates what was added since the last flush. Raises ModelError when an impact is not finite."""
        for group, parts in self._parts.items():
            values = finite(torch.cat(parts).cpu(), self._layer, group)
            complete = self._complete or group not in SCORE_GROUPS
            impacts = Impacts.of(values, torch.tensor(self._n_scored), complete)
            _add(self._accumulated, (self._layer, group), impacts)
        self._parts, self._n_scored, self._n_values = {}, [], 0


def finite(impacts: Tensor, layer: int, group: str) -> Tensor:
    """The impacts as they are. Raises ModelError when one is not finite."""
    if not torch.isfinite(impacts).all():
        raise ModelError(
            f"Layer {layer}, group {group}: an impact is not finite. The model's weights hold NaN or infinity, "
            "or its dtype overflows; check the checkpoint, or load it in float32"
        )
    return impacts


def merge_passes(parts: Sequence[Accumulated]) -> Accumulated:
    """Joins the impacts of several passes or workers, in their order; returns those of every (layer, group)."""
    merged: Accumulated = {}
    for part in parts:
        for key, impacts in part.items():
            _add(merged, key, impacts)
    return merged


def _add(accumulated: Accumulated, key: tuple[int, str], impacts: Impacts) -> None:
    accumulated[key] = accumulated[key].merged(impacts) if key in accumulated else impacts


def detect_language(
    run_pass: RunPass,
    sentences: Sequence[Sentence],
    groups: Sequence[str] = DEFAULT_GROUPS,
    mode: DetectionMode = "certified",
    batch_size: int = 8,
    *,
    floor_fraction: float = FLOOR_FRACTION,
) -> LanguageImpacts:
    """Impacts over all sentences of one language. `run_pass` measures micro-batches, here or on a cluster. `mode` "full"
    measures every neuron on every sentence, "certified" drops q and k neurons once they are proved to stay below the floor.
    A token that attends to itself alone is the same whatever q and k are: a sentence of one would give them no impact in
    its whole language, and is left out with a `LeftOutWarning`. Raises CorpusError when no sentence remains, ValueError for
    an unknown group or mode."""
    from polyneuron.neuron_core.impacts.table import LanguageImpacts

    require_groups(groups)
    if mode not in DETECTION_MODES:
        raise ValueError(f"Unknown mode {mode!r}; there are {', '.join(DETECTION_MODES)}")
    seed, rest = seed_and_rest(sentences)
    usable = [*seed, *rest]
    if not usable:
        raise CorpusError("None of the sentences has two tokens, one of them to score; give longer sentences")
    if n_left_out := len(sentences) - len(usable):
        warnings.warn(
            f"{n_left_out} of {len(sentences)} sentences of {usable[0].language} have fewer than two tokens, or none to score, "
            "and were left out",
            LeftOutWarning,
            stacklevel=2,
        )
    impacts = of_seed = run_pass(micro_batches(seed, batch_size), None)
    seed_squares = {group: _mean_squares(impacts, group, len(seed)) for group in groups}
    floors: dict[str, tuple[float, float]] = {}
    pruned: dict[tuple[int, str], tuple[Tensor, Impacts]] = {}
    if mode == "certified" and rest:
        floors = {group: _floor(impacts, group, floor_fraction) for group in groups if group in SCORE_GROUPS}
        for key, of_key in impacts.items():
            if key[1] in floors:
                raw, per_token = floors[key[1]]
                above = (of_key.minimum >= raw) | (of_key.smallest[0] >= per_token)
                pruned[key] = above.nonzero()[:, 0], of_key
    if rest:
        candidates = {key: kept for key, (kept, _) in pruned.items()}
        later = run_pass(micro_batches(rest, batch_size), candidates if floors else None)
        before = impacts | {key: of_key.select(kept) for key, (kept, of_key) in pruned.items()}
        impacts = merge_passes([before, later])
    return LanguageImpacts.build(
        usable[0].language,
        mode,
        n_tokens=sum(sentence.n_scored for sentence in usable),
        n_sentences=len(usable),
        impacts=impacts,
        seed=of_seed,
        pruned=pruned,
        floors=floors,
        seed_squares=seed_squares,
    )


def seed_and_rest(sentences: Sequence[Sentence]) -> tuple[list[Sentence], list[Sentence]]:
    """The sentences of a language that can be measured, shortest first: its seed, and all others."""
    usable = [s for s in sentences if s.n_scored > 0 and len(s.token_ids) > 1]
    usable.sort(key=lambda s: (len(s.token_ids), s.index))
    return usable[:N_SEED_SENTENCES], usable[N_SEED_SENTENCES:]


def _mean_squares(impacts: Accumulated, group: str, n_sentences: int) -> tuple[float, float]:
    """Mean over neurons and seed sentences of the squared impact: Frobenius norm, per-token impact. fsum rounds once, so
    the result does not depend on how many threads the driver has."""
    of_group = [impacts[key] for key in sorted(impacts) if key[1] == group]
    n = n_sentences * sum(len(of_layer.minimum) for of_layer in of_group)
    return (
        math.fsum(square for of_layer in of_group for square in of_layer.square.tolist()) / n,
        math.fsum(square for of_layer in of_group for square in of_layer.square_per_token.tolist()) / n,
    )


def _floor(impacts: Accumulated, group: str, fraction: float) -> tuple[float, float]:
    """The running minimum that `fraction` of the group's neurons reach: Frobenius norm, per-token impact."""
    of_group = [of_key for key, of_key in impacts.items() if key[1] == group]
    floors = []
    for parts in ([each.minimum for each in of_group], [each.smallest[0] for each in of_group]):
        floors.append(floor_of(torch.cat(parts), fraction))
    return floors[0], floors[1]


def floor_of(seed_minima: Tensor, fraction: float) -> float:
    """The value that `fraction` of the neurons of a group [N] reach."""
    keep = min(len(seed_minima), max(1, round(fraction * len(seed_minima))))
    return float(seed_minima.topk(keep).values[-1])


@torch.no_grad()
def measure_impacts(
    model: nn.Module,
    tokenizer: Any,
    corpora: Mapping[str, Sequence[Any]],
    groups: Sequence[str] = DEFAULT_GROUPS,
    mode: DetectionMode = "certified",
    *,
    batch_size: int = 8,
    floor_fraction: float = FLOOR_FRACTION,
    max_tokens: int | None = None,
    progress: Progress | None = None,
) -> ImpactTable:
    """Measures the impact of every neuron of `model` for each language, in this process (Eq. 8, 10, 11).

    `corpora` maps a language to sentences: windows of equal length, as `equal_windows` makes them; strings; or lists of token
    ids, which are used as they are, whole, and need no tokenizer. Where sentences of some language are longer or fewer than of
    another, an `UnequalReadingWarning` says so. A leading BOS that the tokenizer adds is attended to but not scored. `groups`,
    `mode`: as `detect_language`. A model in training mode is measured in evaluation mode and put back.

    Raises:
        UnsupportedArchitecture: the family is not declared.
        CorpusError: there is no corpus, one is empty, or none of its sentences has two tokens, one of them to score.
        ModelError: an impact is not finite, or the model is wrapped, sharded or quantised.
        ValueError: an unknown group or mode, or strings without a tokenizer.
    """
    from polyneuron.neuron_core.impacts.table import ImpactTable

    def run_pass(batches: list[MicroBatch], candidates: Candidates | None) -> Accumulated:
        return detection_pass(runner, batches, groups, candidates, progress)

    sentences = as_corpora(tokenizer, corpora, max_tokens)
    warn_of_unequal_reading(sentences, stacklevel=3)  # the caller's line: one frame is no_grad's
    with measured(model):
        runner = LayerMajor(model)
        return ImpactTable(
            [
                detect_language(run_pass, read, groups, mode, batch_size, floor_fraction=floor_fraction)
                for read in sentences.values()
            ]
        )

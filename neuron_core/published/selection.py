"""The selection of paper A's published code, on the scores of that code, to set beside ours.

It differs from the paper: it takes the top k of each prompt and layer instead of a threshold, and its quotas are swapped,
so attention gets k from the FFN width and the FFN gets k from the query width (`LlamaForCausalLMDetect.forward` and
`detect_key_neurons` of the authors' repository). Shapes: S prompts, N score entries of one layer and group.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.published.sets import kv_rows
from polyneuron.neuron_core.sets.neuron_set import Indices, Key, NeuronSet

if TYPE_CHECKING:
    from polyneuron.neuron_core.model.anatomy import Anatomy

Scores = Mapping[Key, npt.NDArray[Any]]
"""By (layer, group), scores [S, N], larger means more important. k and v run over query heads, as the code has them."""


def published_quotas(anatomy: Anatomy, ratio: float) -> dict[str, int]:
    """How many entries of each group a prompt selects: int(ratio * FFN width) for attention, int(ratio * query width)
    for the FFN, as published."""
    attention, ffn = int(ratio * anatomy.ffn_width), int(ratio * anatomy.widths["q"])
    return {"q": attention, "k": attention, "v": attention, "ffn": ffn, "o": attention}


def top_of_every_prompt(scores_SN: npt.NDArray[Any], k: int) -> npt.NDArray[np.int64]:
    """The entries that are among the k largest of every prompt, ascending. Of equal scores the later entry wins, k > N
    takes all."""
    if scores_SN.ndim != 2 or scores_SN.shape[0] == 0:
        raise SetError(
            f"Scores must be [prompts, neurons] with at least one prompt, not {list(scores_SN.shape)}"
        )
    if np.isnan(scores_SN).any():
        raise SetError("A score is NaN; the published code would rank it first")
    n_entries = scores_SN.shape[1]
    best_Sk = np.argsort(scores_SN, axis=1, kind="stable")[:, n_entries - min(k, n_entries) :]
    times = np.bincount(best_Sk.reshape(-1), minlength=n_entries)
    return np.flatnonzero(times == len(scores_SN)).astype(np.int64)


def reference_selection(
    scores: Scores, anatomy: Anatomy, model: str, ratio: float, kv_map: str = "correct"
) -> NeuronSet:
    """The language-related set the published code selects from one language's scores. `kv_map` says how its k and v
    entries, which run over query heads, become rows: "correct" (`kv_rows`) or "published" (i // G, which hits other rows);
    without grouped queries the two are the same. Raises SetError for scores of a wrong width, without prompts or with NaN,
    and for an unknown kv_map."""
    return _as_set(_entries(scores, anatomy, ratio), anatomy, model, kv_map)


def published_sets(
    scores: Mapping[str, Scores], anatomy: Anatomy, model: str, ratio: float, kv_map: str = "correct"
) -> tuple[dict[str, NeuronSet], NeuronSet, dict[str, NeuronSet]]:
    """The sets related by language, shared (in all languages) and exclusive by language (own minus shared), as published.
    As there, the sets are split before k and v entries become rows, so a row can be shared and exclusive at once. Raises
    SetError for no language, for languages with scores of different layers or groups, and as `reference_selection`."""
    if not scores:
        raise SetError("Give the scores of at least one language")
    entries = {language: _entries(own, anatomy, ratio) for language, own in scores.items()}
    keys = next(iter(entries.values())).keys()
    if any(own.keys() != keys for own in entries.values()):
        raise SetError("The languages have scores of different layers or groups; score all of them alike")
    shared = {key: reduce(np.intersect1d, [own[key] for own in entries.values()]) for key in keys}
    related = {language: _as_set(own, anatomy, model, kv_map) for language, own in entries.items()}
    exclusive = {
        language: _as_set({key: np.setdiff1d(own[key], shared[key]) for key in keys}, anatomy, model, kv_map)
        for language, own in entries.items()
    }
    return related, _as_set(shared, anatomy, model, kv_map), exclusive


def _entries(scores: Scores, anatomy: Anatomy, ratio: float) -> dict[Key, Indices]:
    quotas, found = published_quotas(anatomy, ratio), {}
    for (layer, group), scores_SN in scores.items():
        width = anatomy.widths["q" if group in ("k", "v") else group]
        if scores_SN.shape[-1] != width:
            raise SetError(
                f"(layer {layer}, group {group!r}): {scores_SN.shape[-1]} scores, but the code gives {width}"
            )
        found[layer, group] = top_of_every_prompt(scores_SN, quotas[group])
    return found


def _as_set(entries: Mapping[Key, Indices], anatomy: Anatomy, model: str, kv_map: str) -> NeuronSet:
    if kv_map not in ("correct", "published"):
        raise SetError(f"Unknown kv_map {kv_map!r}; there are correct and published")
    per_kv, rows = anatomy.heads_per_kv, dict(entries)
    for key, found in entries.items():
        if key[1] in ("k", "v"):
            rows[key] = found // per_kv if kv_map == "published" else kv_rows(found, per_kv, anatomy.head_dim)
    return NeuronSet.from_indices(model, anatomy.widths, anatomy.n_layers, rows)

"""Imports neuron sets that others published: paper A's JSON files and the LAPE `.pth` files. Nothing is unpickled."""

from __future__ import annotations

import json
import operator
import warnings
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.sets.neuron_set import Key, NeuronSet

if TYPE_CHECKING:
    from polyneuron.neuron_core.model.anatomy import Anatomy

JSON_KEYS: Mapping[str, str] = {
    "fwd_up": "ffn",
    "fwd_down": "ffn",
    "attn_q": "q",
    "attn_k": "k",
    "attn_v": "v",
    "attn_o": "o",
}
"""Keys of the published JSON and the groups they name. Row k of up and column k of down are one neuron."""

LAPE_LANGUAGES: tuple[str, ...] = ("en", "zh", "fr", "es", "vi", "id", "ja")
"""The order of languages in the published `*.neuron.pth` of LLaMA-2 7B and 13B. Those of LLaMA-2 70B, BLOOM, Mistral, OPT
and Phi-2 hold six languages, which their authors do not name."""


LAPE_FRACTION = 0.01
"""Share of all FFN neurons that LAPE keeps, as published; those of several languages count once."""
_LAPE_TOLERANCE, _FEW = 0.1, 20
_LEAST_LIKELY = 1e-9


class PublishedSetWarning(UserWarning):
    """An imported set does not mean exactly what its authors' code did with it."""


def kv_rows(indices: npt.ArrayLike, heads_per_kv: int, head_dim: int) -> npt.NDArray[np.int64]:
    """Rows of k_proj or v_proj that feature i of the repeated, query-head numbering reads. Under grouped-query attention kv
    head g is repeated for its G = `heads_per_kv` query heads, so feature i (head i // d, coordinate i % d) comes from row
    (i // (G d)) d + i % d. Several i share a row."""
    i = np.asarray(indices, np.int64)
    return (i // (heads_per_kv * head_dim)) * head_dim + i % head_dim


def load_published_json(path: str | Path, anatomy: Anatomy, model: str) -> NeuronSet:
    """Reads a set published with paper A: one JSON object, key (`JSON_KEYS`) -> layer -> indices.

    Its k and v indices run over query heads. The published code maps them back with `i // G`, which hits other rows; here
    they get the right rows (`kv_rows`), and a `PublishedSetWarning` says how many the two maps share. Raises SetError for a
    file of another kind, an unknown key, an index outside the model, or a set of a model of another depth or width: a
    published set lists every layer, an empty one too, and its indices reach the end of each group.
    """
    listed = _read_json(Path(path))
    layers_listed = set()
    for layer in {layer for layers in listed.values() for layer in layers}:
        if not layer.isdecimal() or len(layer) > 6:
            raise SetError(f"{path}: {layer!r} is not a layer; layers are whole numbers")
        layers_listed.add(int(layer))
    if layers_listed != set(range(anatomy.n_layers)):
        deepest = max(layers_listed, default=-1)
        raise SetError(
            f"{path} lists {len(layers_listed)} layers, up to layer {deepest}, but {model} has {anatomy.n_layers} (0 to "
            f"{anatomy.n_layers - 1}): the set is of another model. A published set lists every layer; give one without "
            "neurons an empty list"
        )
    found: dict[Key, set[int]] = {}
    corrected, hit = 0, 0
    widths = {**anatomy.widths, "k": anatomy.widths["q"], "v": anatomy.widths["q"]}
    for key, layers in listed.items():
        group = JSON_KEYS[key]
        for layer, values in layers.items():
            indices = _checked(values, widths[group], f"{path}, {key}, layer {layer}")
            if group in ("k", "v") and anatomy.heads_per_kv > 1:
                rows = kv_rows(indices, anatomy.heads_per_kv, anatomy.head_dim)
                corrected += len(indices)
                hit += int(np.isin(np.unique(indices // anatomy.heads_per_kv), rows).sum())
                indices = rows
            found.setdefault((int(layer), group), set()).update(indices.tolist())
    result = NeuronSet.from_indices(model, anatomy.widths, anatomy.n_layers, found)
    for group, width in anatomy.widths.items():
        members = [np.fromiter(of_layer, np.int64) for (_, own), of_layer in found.items() if own == group]
        _require_reach(members, width, f"{path}, {group}")
    if corrected:
        n_rows = result.counts()["k"] + result.counts()["v"]
        warnings.warn(
            f"{path}: its {corrected} k and v indices count query heads. They were mapped to the {n_rows} rows they read; "
            f"the published code, which divides by {anatomy.heads_per_kv}, would change only {hit} of those rows and others "
            "besides. Results will differ from the authors'.",
            PublishedSetWarning,
            stacklevel=2,
        )
    return result


def load_lape(
    path: str | Path, anatomy: Anatomy, model: str, languages: Sequence[str] = LAPE_LANGUAGES
) -> dict[str, NeuronSet]:
    """Reads the FFN neurons of each language from a LAPE `*.neuron.pth`: list[language][layer] of integer tensors. Read
    with `torch.load(weights_only=True)`, so a file that holds code is refused. LAPE keeps 1% of all neurons: where a file
    holds another share, a `PublishedSetWarning` says so. Raises SetError for a file that is unreadable, holds anything but
    lists of tensors, or does not fit the languages or the model."""
    import torch

    try:
        listed: Any = torch.load(path, map_location="cpu", weights_only=True)
    # A damaged file makes torch's reader raise whatever its next instruction runs into.
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise SetError(
            f"No LAPE set can be read from {path} without running code from it: {reason}"
        ) from error
    if not isinstance(listed, list | tuple) or not all(isinstance(layers, list | tuple) for layers in listed):
        raise SetError(
            f"{path} is not a LAPE set: expected a list per language of a list per layer of tensors"
        )
    if len(listed) != len(languages):
        raise SetError(
            f"{path} holds {len(listed)} languages, but {len(languages)} were named: {', '.join(languages)}. Name "
            "those it holds, in their order"
        )
    found: dict[str, NeuronSet] = {}
    members_of_all: list[npt.NDArray[np.int64]] = []
    for language, layers in zip(languages, listed, strict=True):
        if len(layers) != anatomy.n_layers:
            raise SetError(f"{path}, {language}: {len(layers)} layers, but {model} has {anatomy.n_layers}")
        members = {
            (layer, "ffn"): _checked(
                _integers(values), anatomy.ffn_width, f"{path}, {language}, layer {layer}"
            )
            for layer, values in enumerate(layers)
        }
        found[language] = NeuronSet.from_indices(model, anatomy.widths, anatomy.n_layers, members)
        members_of_all += members.values()
    _require_reach(members_of_all, anatomy.ffn_width, str(path))
    n_distinct = len(reduce(operator.or_, found.values())) if found else 0
    n_implied = round(LAPE_FRACTION * anatomy.n_layers * anatomy.ffn_width)
    if abs(n_distinct - n_implied) > max(_LAPE_TOLERANCE * n_implied, _FEW):
        warnings.warn(
            f"{path} holds {n_distinct} different neurons, but {LAPE_FRACTION:.0%} of the FFN neurons of {model} are {n_implied} "
            f"({anatomy.n_layers} x {anatomy.ffn_width}). It was made with another fraction, or for a model of another width.",
            PublishedSetWarning,
            stacklevel=2,
        )
    return found


def _require_reach(members: Sequence[npt.NDArray[np.int64]], width: int, where: str) -> None:
    """Raises SetError when indices end so far below `width` that they must count the neurons of a narrower model."""
    n = sum(map(len, members))
    reach = max((int(own.max()) + 1 for own in members if own.size), default=width)
    if n > _FEW and (reach / width) ** n < _LEAST_LIKELY:
        raise SetError(
            f"{where}: none of its {n} indices is above {reach - 1}, where the model's width is {width}; the set is of a "
            "narrower model"
        )


def _read_json(path: Path) -> dict[str, dict[str, Any]]:
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SetError(f"No published set can be read from {path}: {error}") from error
    if not isinstance(listed, dict) or not all(isinstance(layers, dict) for layers in listed.values()):
        raise SetError(f"{path} is not a published set: expected an object of key -> layer -> indices")
    if unknown := sorted(set(listed) - set(JSON_KEYS)):
        raise SetError(f"{path} holds unknown keys {unknown}; a published set has {', '.join(JSON_KEYS)}")
    return listed


def _integers(values: Any) -> Any:
    """The numbers of a plain tensor of integers; anything else as it is."""
    import torch

    plain = isinstance(values, torch.Tensor) and not (values.is_floating_point() or values.is_complex())
    return values.numpy() if plain and values.layout == torch.strided else values


def _checked(values: Any, width: int, where: str) -> npt.NDArray[np.int64]:
    try:
        indices = np.asarray(values)
    except (ValueError, TypeError, RuntimeError):  # ragged lists; tensors that NumPy has no like of
        indices = np.array([None])
    if indices.ndim != 1 or (indices.size and not np.issubdtype(indices.dtype, np.integer)):
        raise SetError(f"{where}: expected a list of whole numbers")
    if indices.size and (indices.min() < 0 or indices.max() >= width):
        outside = indices.min() if indices.min() < 0 else indices.max()
        raise SetError(f"{where}: index {outside} is outside 0 to {width - 1}; the set is of another model")
    return indices.astype(np.int64)

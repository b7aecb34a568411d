"""Items of two tables of samples, matched: only those count that both sides were asked in the very same way."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Key: TypeAlias = tuple[str, str, str, str]
"""benchmark, language, metric, filter."""
Values: TypeAlias = npt.NDArray[np.float64]

_GROUP = ["benchmark", "language", "metric", "filter"]
_USED = (*_GROUP, "task", "item", "value", "doc_hash", "prompt_hash", "tokens_hash")
_ASKED = {"doc_hash": "the item", "prompt_hash": "the prompt", "tokens_hash": "the prompt's token ids"}


def grouped(samples: pa.Table) -> dict[Key, pa.Table]:
    """The rows of each benchmark, language, metric and filter."""
    rows = samples.select(_USED).combine_chunks()
    numbered = rows.append_column("row", pa.array(range(len(rows)), pa.int64()))
    groups = numbered.group_by(_GROUP, use_threads=False).aggregate([("row", "list")]).to_pylist()
    keys = [(g["benchmark"], g["language"], g["metric"], g["filter"]) for g in groups]
    return {key: rows.take(group["row_list"]) for key, group in zip(keys, groups, strict=True)}


def paired(left: pa.Table, right: pa.Table) -> tuple[Values, Values] | str:
    """Values of the same items [n], NaN where not scored; or why the two cannot be compared. Both are tables of one key, as
    `grouped` gives them. Items are the same where task and number are, and must have been asked in the same words and tokens."""
    codes, other_codes = _item_codes(left, right)
    for side in (codes, other_codes):
        if repeated := len(side) - len(np.unique(side)):
            return f"{repeated} items occur more than once"
    common, at, other_at = np.intersect1d(codes, other_codes, assume_unique=True, return_indices=True)
    if unpaired := len(codes) + len(other_codes) - 2 * len(common):
        only, only_base = len(codes) - len(common), len(other_codes) - len(common)
        return f"{unpaired} items are in one of the two only ({only} here, {only_base} in the baseline)"
    left, right = left.take(at), right.take(other_at)
    different = {
        words: n
        for column, words in _ASKED.items()
        if (n := pc.sum(pc.not_equal(left[column], right[column])).as_py())
    }
    if different:
        listed = ", ".join(f"{words} ({n} of {len(left)})" for words, n in different.items())
        return f"not the same question was asked; what differs: {listed}"
    return _values(left), _values(right)


def _item_codes(left: pa.Table, right: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """A number for each row, equal where (task, item) are equal."""
    tasks = pa.chunked_array([*left["task"].chunks, *right["task"].chunks], pa.string())
    items = np.concatenate([left["item"].to_numpy(), right["item"].to_numpy()]).astype(np.int64)
    task_codes = tasks.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    codes = task_codes * (int(items.max()) + 1) + items
    return codes[: len(left)], codes[len(left) :]


def _values(table: pa.Table) -> Values:
    return np.asarray(table["value"].to_numpy(), np.float64)

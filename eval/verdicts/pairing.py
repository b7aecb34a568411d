"""Items of two tables of samples, matched: only those count that both sides were asked in the very same way."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Key: TypeAlias = tuple[str, str, str, str]
"""benchmark, language, metric, filter."""
Items: TypeAlias = dict[Key, pa.Table]
"""The rows of each key."""
Values: TypeAlias = npt.NDArray[np.float64]

_GROUP = ["benchmark", "language", "metric", "filter"]
_USED = (*_GROUP, "task", "item", "value", "doc_hash", "prompt_hash", "tokens_hash")
_ASKED = {"doc_hash": "the item", "prompt_hash": "the prompt", "tokens_hash": "the prompt's token ids"}


def grouped(samples: pa.Table) -> Items:
    """The rows of each benchmark, language, metric and filter."""
    return _split(samples.select(_USED), _GROUP)


def grouped_by_variant(samples: pa.Table) -> dict[str, Items]:
    """What `grouped` gives of each variant's rows; every row is looked at once, however many variants there are."""
    by_variant: dict[str, Items] = {}
    for key, rows in _split(samples.select(["variant", *_USED]), ["variant", *_GROUP]).items():
        by_variant.setdefault(key[0], {})[key[1:]] = rows
    return by_variant


def _split(rows: pa.Table, columns: list[str]) -> dict[Any, pa.Table]:
    """The rows of each combination of values in `columns`, in their order, with the columns `_USED`."""
    rows = rows.combine_chunks()
    numbered = rows.append_column("row", pa.array(np.arange(len(rows))))
    groups = numbered.group_by(columns, use_threads=False).aggregate([("row", "list")]).combine_chunks()
    places, rows = groups["row_list"], rows.select(_USED)
    keys = zip(*(groups[name].to_pylist() for name in columns), strict=True)
    return {key: rows.take(places[number].values) for number, key in enumerate(keys)}


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

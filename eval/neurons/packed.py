"""What the report's pages of single neurons show, packed for its script: short lists of numbers, and each text once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup
from numpy.typing import NDArray

from polyneuron.neuron_core.sets.variant_name import CONTROL_KINDS

if TYPE_CHECKING:
    from polyneuron.eval.report.numbers.study import Members
    from polyneuron.eval.report.numbers.units import StudiedTables

_MOST_CONTEXTS, _MOST_LENS = 5, 8
"""Tokens of a language, and at each end of a direction, that a page shows."""
_BUDGET = 250_000
"""Numbers in all: some 2 MB. Where all neurons in sets take more, those of the worst ranks have no page."""
_STATISTICS = ("mean", "minimum", "p5", "p25", "p50", "p75", "p95", "maximum")
_ESCAPED = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def inlined(data: Any) -> Markup:
    """JSON that a script element can hold, whatever texts are in it: nothing in it is markup, or ends a line of a script."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(_ESCAPED))


def packed_pages(
    tables: StudiedTables,
    impacts: pa.Table,
    members: Members,
    groups: Sequence[str],
    languages: Sequence[str],
) -> dict[str, Any]:
    """The pages of the neurons in `members`, as `neuron.js` reads them; `impacts` is the whole table.

    `neurons` has for each of them, or null where there is no room for its page: the place of its sets in `sets`; by language
    its impact, and its rank among the `ranked` neurons of its group, both null for one that was only bounded; by language its
    strongest tokens, as places in `tokens` and values by turns; by direction the tokens that it promotes and those that it
    suppresses, as places in `words` and logits by turns; by site and language its statistics, `_STATISTICS` after the share of
    tokens on which it is positive. `tokens` are triples: a place in `texts`, and where in that text, in UTF-16, the token
    starts and ends. A part that the store lacks is empty and named in `missing`. Raises StoreError as `Store.read`.
    """
    where = _Where(members, groups)
    values, ranks, ranked = _impacts_and_ranks(tables, impacts, members, where, languages=languages)
    per_page = len(languages) * (2 + 2 * _MOST_CONTEXTS) + 4 * _MOST_LENS
    best = np.nanmin(np.where(np.isnan(ranks), np.inf, ranks), axis=0, initial=np.inf)
    shown = np.sort(np.argsort(best, kind="stable")[: _BUDGET // per_page])
    names, sets = _sets(tables, where)
    contexts, tokens, texts = _contexts(tables, where, shown, languages)
    lens, words = _lens(tables, where, shown)
    statistics, n_tokens = _statistics(tables, where, shown, languages)
    pages: list[Any] = [None] * len(members.neurons)
    for i in shown.tolist():
        by_language = [[_short(value) for value in column] for column in (values[:, i], ranks[:, i])]
        pages[i] = [sets[i], *by_language, contexts.get(i, 0), lens.get(i, 0), statistics.get(i, 0)]
    parts = {"contexts": contexts, "lens": lens, "activations": statistics}
    return {
        "neurons": pages,
        "sets": names,
        "ranked": ranked,
        "texts": texts,
        "tokens": tokens,
        "words": words,
        "n_tokens": n_tokens,
        "missing": [name for name, found in parts.items() if not found],
    }


class _Where:
    """Which member, by its place in the lists, a row of a table is about."""

    def __init__(self, members: Members, groups: Sequence[str]) -> None:
        self._groups, self.n = list(groups), len(members.neurons)
        self._width = int(members.neurons.max(initial=0)) + 1
        self._n_layers = int(members.layers.max(initial=0)) + 1
        self._own = (members.groups * self._n_layers + members.layers) * self._width + members.neurons
        self._order = np.argsort(self._own)

    def __call__(self, rows: pa.Table, group: str | None = None) -> NDArray[np.int64]:
        """For each row the member's place, -1 for a row about no member. `group`: that of all rows."""
        layers, neurons = (np.asarray(rows[name], np.int64) for name in ("layer", "neuron"))
        if group is not None:
            groups = np.full(rows.num_rows, self._groups.index(group) if group in self._groups else -1)
        else:
            found = pc.index_in(rows["group"], pa.array(self._groups, pa.string()))
            groups = np.asarray(pc.fill_null(found, -1), np.int64)
        wanted = (groups * self._n_layers + layers) * self._width + neurons
        wanted[(groups < 0) | (layers >= self._n_layers) | (neurons >= self._width)] = -1
        if not self.n:
            return np.full(rows.num_rows, -1)
        at = self._order[np.searchsorted(self._own, wanted, sorter=self._order).clip(max=self.n - 1)]
        return np.where(self._own[at] == wanted, at, -1)

    def of_shown(self, rows: pa.Table, shown: NDArray[np.int64], group: str | None = None) -> pa.Table:
        """The rows about the members `shown`, with a column `member`."""
        member = self(rows, group)
        return rows.append_column("member", pa.array(member)).filter(pa.array(np.isin(member, shown)))


def _impacts_and_ranks(
    tables: StudiedTables, impacts: pa.Table, members: Members, where: _Where, *, languages: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, int]]:
    """[L, N] each, NaN where there is none; and how many neurons of each group are ranked."""
    column = tables.impact_column()
    values = np.full((len(languages), len(members.neurons)), np.nan)
    ranks, ranked = values.copy(), dict[str, int]()
    for group in pc.unique(impacts["group"]).to_pylist():
        of_group = impacts.filter(pc.equal(impacts["group"], group))
        for i, language in enumerate(languages):
            rows = of_group.filter(pc.equal(of_group["language"], language))
            member, impact = where(rows, group), np.asarray(rows[column], np.float64)
            kept = (member >= 0) & ~np.asarray(rows["bounded"], np.bool_)
            values[i, member[kept]] = impact[kept]
            ranks[i, member[kept]] = 1 + len(impact) - np.searchsorted(np.sort(impact), impact[kept], "right")
            ranked[group] = max(ranked.get(group, 0), len(impact))
    return values, ranks, ranked


def _sets(tables: StudiedTables, where: _Where) -> tuple[list[list[str]], list[int]]:
    """The names of sets that neurons are in together, and for each member the place of its own."""
    rows = tables.read("neuron_sets")
    rows = rows.filter(pc.invert(pc.is_in(rows["kind"], pa.array(CONTROL_KINDS))))
    own: list[set[str]] = [set() for _ in range(where.n)]
    for member, name in zip(where(rows).tolist(), rows["variant"].to_pylist(), strict=True):
        if member >= 0:
            own[member].add(name)
    places: dict[tuple[str, ...], int] = {}
    of_member = [places.setdefault(tuple(sorted(names)), len(places)) for names in own]
    return [list(names) for names in places], of_member


def _contexts(
    tables: StudiedTables, where: _Where, shown: NDArray[np.int64], languages: Sequence[str]
) -> tuple[dict[int, list[list[Any]]], list[int], list[str]]:
    """Of each member that has any; the tokens, as flat triples; and the texts."""
    rows = tables.read("contexts", only=[("place", "<=", _MOST_CONTEXTS)])
    rows = where.of_shown(rows, shown).sort_by([("member", "ascending"), ("place", "ascending")])
    texts, tokens = dict[str, int](), dict[tuple[str, int, int], int]()
    found: dict[int, list[list[Any]]] = {}
    code = {language: i for i, language in enumerate(languages)}
    columns = [rows[name].to_pylist() for name in ("member", "language", "value", "text", "start", "end")]
    for member, language, value, *token in zip(*columns, strict=True):
        if language in code:
            of_member = found.setdefault(member, [[] for _ in languages])
            of_member[code[language]] += [tokens.setdefault(tuple(token), len(tokens)), _short(value)]
    flat = [
        part
        for text, start, end in tokens
        for part in (texts.setdefault(text, len(texts)), _utf16(text, start), _utf16(text, end))
    ]
    return found, flat, list(texts)


def _lens(
    tables: StudiedTables, where: _Where, shown: NDArray[np.int64]
) -> tuple[dict[int, list[list[list[Any]]]], list[str]]:
    """Of each member that has any: by direction, promoted and suppressed; and what the tokens are."""
    rows = where.of_shown(tables.read("lens", only=[("place", "<=", _MOST_LENS)]), shown)
    rows = rows.sort_by([(name, "ascending") for name in ("member", "direction", "place")])
    words, found = dict[str, int](), dict[int, list[list[list[Any]]]]()
    columns = [rows[name].to_pylist() for name in ("member", "direction", "promoted", "text", "logit")]
    for member, direction, promoted, text, logit in zip(*columns, strict=True):
        directions = found.setdefault(member, [])
        directions += [[[], []] for _ in range(direction + 1 - len(directions))]
        directions[direction][not promoted] += [words.setdefault(text, len(words)), _short(logit, 3)]
    return found, list(words)


def _statistics(
    tables: StudiedTables, where: _Where, shown: NDArray[np.int64], languages: Sequence[str]
) -> tuple[dict[int, dict[str, list[Any]]], dict[str, dict[str, int]]]:
    """Of each ffn member: by site, for each language its numbers or null; and the tokens counted, by site and language."""
    rows = where.of_shown(tables.read("activations"), shown, "ffn")
    found, counted = dict[int, dict[str, list[Any]]](), dict[str, dict[str, int]]()
    code = {language: i for i, language in enumerate(languages)}
    for row in rows.to_pylist():
        if row["language"] in code:
            counted.setdefault(row["site"], {})[row["language"]] = row["n_tokens"]
            of_site = found.setdefault(row["member"], {}).setdefault(row["site"], [None] * len(languages))
            numbers = (row["n_positive"] / row["n_tokens"], *(row[name] for name in _STATISTICS))
            of_site[code[row["language"]]] = _shortened(numbers)
    return found, counted


def _shortened(values: Iterable[float]) -> list[float | None]:
    return [_short(value, 3) for value in values]


def _short(value: float, digits: int = 4) -> float | None:
    """With few digits, a whole number whole; None for what is no number."""
    if not math.isfinite(value):
        return None
    if value == int(value):
        return int(value)
    return float(f"{value:.{digits}g}")


def _utf16(text: str, characters: int) -> int:
    """How many UTF-16 units the first characters take: a script counts in them."""
    return len(text[:characters].encode("utf-16-le")) // 2

"""The neurons of a stored set, with their impacts in every language, their rank and the sets they are in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from polyneuron.eval.report.numbers.units import StudiedTables, studies_of
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import SetError, StoreError
from polyneuron.neuron_core.sets.neuron_name import NeuronName
from polyneuron.neuron_core.sets.variant_name import CONTROL_KINDS, SHARED, VariantKind, VariantName

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_PLACE = ["layer", "group", "neuron"]


def studied(store: Store, model: str | None = None) -> StudiedTables:
    """The newest study of a model in a store; `model` may be left out where there is one only.

    Raises:
        StoreError: no store, no study in it that reached a selection, or a model that it does not hold or that is not named.
    """
    store.require_marker()
    runs = sorted(store.read("runs").to_pylist(), key=lambda row: (str(row["started_at"]), row["run_id"]))
    studies = {tables.model: tables for tables in studies_of(store, runs, None)}
    chosen = next(iter(studies)) if model is None and len(studies) == 1 else model
    if chosen not in studies:
        wanted = "it holds several models" if model is None else f"it holds no study of {model!r}"
        raise StoreError(f"Which model of {store.root}? {wanted}; there are {', '.join(studies)}")
    return studies[chosen]


class StoredNeurons:
    """What the study of one model says of its neurons. Sets are read once; impacts are scanned, and never held whole."""

    def __init__(self, tables: StudiedTables) -> None:
        """Raises StoreError as `Store.read`."""
        self._tables = tables
        columns = ["variant", "kind", "language", *_PLACE]
        self._members = tables.read("neuron_sets").select(columns)
        detections = tables.read("detections")
        self._units = pc.unique(detections["unit"])
        self.model = tables.model
        """The model's name in the store."""
        self.languages: tuple[str, ...] = tuple(sorted(set(detections["language"].to_pylist())))
        """The languages of the study, by code."""

    def sizes(self, controls: bool = False) -> dict[str, int]:
        """How many neurons each set has, by its name; those of the study, or the `controls` drawn beside them."""
        drawn = pc.is_in(self._members["kind"], value_set=pa.array(CONTROL_KINDS))
        rows = self._members.filter(drawn if controls else pc.invert(drawn))
        counts = rows.group_by("variant", use_threads=False).aggregate([([], "count_all")])
        found = dict(zip(counts["variant"].to_pylist(), counts["count_all"].to_pylist(), strict=True))
        if controls:
            return found
        kinds: tuple[VariantKind, ...] = ("exclusive", "strict_exclusive", "related")
        selected = [VariantName(kind=kind, language=code) for kind in kinds for code in self.languages]
        return dict.fromkeys(map(str, (SHARED, *selected)), 0) | found

    def listed(self, name: str, top: int | None = None) -> pa.Table:
        """The neurons of a set, largest impact first, at most `top`.

        A row has the neuron's name and its parts; `rank`, its place among all neurons of its group by impact in the set's
        language, of a set without a language the worst of its places (null where pruned detection did not measure it);
        `impact_CODE` by language, as the selection compares it: per token, the least over the sentences, null where pruned
        detection only showed that it is too small; and `sets`, the names of the sets that hold it.

        Raises:
            SetError: there is no such set; the message names those that there are.
        """
        of_set = self._members.filter(pc.equal(self._members["variant"], name))
        if not of_set.num_rows and name not in (names := self.sizes()):
            drawn = list(self.sizes(controls=True))
            controls = f", and {len(drawn)} controls such as {drawn[0]}" if drawn else ""
            raise SetError(
                f"There is no set {name!r} in the study of {self.model}; there are {', '.join(names)}{controls}"
            )
        languages = set(of_set["language"].to_pylist())
        ranked_in = [code for code in self.languages if code in languages] or self.languages
        return self._rows(of_set.select(_PLACE), ranked_in, top)

    def described(self, neurons: Sequence[NeuronName]) -> pa.Table:
        """The same rows of any neurons, ranked by their worst place in all languages; fewer where a neuron was not measured."""
        columns = list(zip(*neurons, strict=True)) or [(), (), ()]
        kinds = (pa.int32(), pa.string(), pa.int32())
        wanted = [pa.array(values, kind) for values, kind in zip(columns, kinds, strict=True)]
        return self._rows(pa.table(wanted, names=_PLACE), self.languages, None)

    def by_language(self, neuron: NeuronName) -> pa.Table:
        """One row per language: `language`; `impact` as in `listed`; `rank`, the neuron's place among the `n_ranked` neurons of
        its group in that language, 1 for the largest impact. Impact and rank are null where pruned detection only showed that
        the impact is too small. One scan of the group's impacts.

        Raises:
            SetError: the neuron was not measured; the message says which were.
        """
        impacts = self._tables.store.dataset(
            "impacts", [("model", "=", self.model), ("unit", "in", self._units)]
        )
        with _connected(impacts=impacts, units=pa.table({"unit": self._units})) as connection:
            rows = connection.sql(
                f"""
                with of_group as (
                    select language, layer, neuron, bounded, {self._tables.impact_column()} as impact
                    from impacts where unit in (select unit from units) and "group" = {_text(neuron.group)}
                ), own as (select * from of_group where layer = {neuron.layer} and neuron = {neuron.neuron})
                select language, any_value(case when not own.bounded then own.impact end) as impact,
                    case when not any_value(own.bounded) then 1 + count(*) filter (of_group.impact > own.impact) end as rank,
                    count(*) as n_ranked
                from own join of_group using (language) group by language order by language
                """
            ).to_arrow_table()
            if not rows.num_rows:
                measured = connection.sql(
                    """select "group", max(layer), max(neuron) from impacts group by all order by all"""
                ).fetchall()
                there = ", ".join(
                    f"L0.{group}.0 to {NeuronName(layer, group, last)}" for group, layer, last in measured
                )
                raise SetError(f"The study of {self.model} did not measure {neuron}; it measured {there}")
        return rows

    def sets_of(self) -> Mapping[NeuronName, tuple[str, ...]]:
        """The sets that hold each neuron, by name; controls are left out."""
        sets = self._sets()
        columns = (sets[name].to_pylist() for name in (*_PLACE, "sets"))
        return {NeuronName(*place): tuple(names) for *place, names in zip(*columns, strict=True)}

    def _sets(self) -> pa.Table:
        drawn = pc.is_in(self._members["kind"], value_set=pa.array(CONTROL_KINDS))
        with _connected(members=self._members.filter(pc.invert(drawn))) as connection:
            rows = connection.sql(
                """select layer, "group", neuron, list(distinct variant order by variant) as sets
                from members group by all order by all"""
            )
            return rows.to_arrow_table()

    def _rows(self, wanted: pa.Table, ranked_in: Sequence[str], top: int | None) -> pa.Table:
        filters = [("model", "=", self.model), ("unit", "in", self._units)]
        impacts = self._tables.store.dataset("impacts", filters)
        by_language = ", ".join(
            f"max(impact) filter (language = {_text(code)} and not bounded) as {_name(f'impact_{code}')}"
            for code in self.languages
        )
        with _connected(
            impacts=impacts, wanted=wanted, units=pa.table({"unit": self._units}), sets=self._sets()
        ) as connection:
            rows = connection.sql(
                f"""
                with measured as (
                    select language, layer, "group", neuron, bounded, {self._tables.impact_column()} as impact,
                        rank() over (partition by language, "group" order by {self._tables.impact_column()} desc) as place
                    from impacts where unit in (select unit from units)
                )
                select layer, "group", neuron,
                    case when bool_or(bounded and language in ({", ".join(map(_text, ranked_in))})) then null
                        else max(place) filter (language in ({", ".join(map(_text, ranked_in))})) end as rank,
                    {by_language}, any_value(coalesce(sets, [])) as sets
                from measured semi join wanted using (layer, "group", neuron)
                    left join sets using (layer, "group", neuron)
                group by all
                order by rank nulls last, layer, "group", neuron
                """
            ).to_arrow_table()
        rows = rows.slice(0, top)
        names = [
            str(NeuronName(*place))
            for place in zip(*(rows[part].to_pylist() for part in _PLACE), strict=True)
        ]
        return rows.add_column(0, "name", pa.array(names, pa.string()))


def _connected(**tables: Any) -> DuckDBPyConnection:
    """DuckDB over nothing but these tables."""
    import duckdb

    connection = duckdb.connect(":memory:")
    for name, table in tables.items():
        connection.register(name, table)
    return connection


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'

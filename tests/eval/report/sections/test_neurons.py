"""The map of neurons and what the script lists: the neurons of the stored sets, each with the languages that need it."""

from __future__ import annotations

import pytest

from polyneuron.eval.report.charts.map import shade_of
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.sections.neurons import map_part
from tests.eval.report.synthetic import Plan, store_with, studied, tables_of

PLAN = Plan(languages=("en", "sw", "de"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> ShownStudy:
    return studied(store_with(tmp_path_factory.mktemp("store"), PLAN)).studies[0]


def stored(kind: str, language: str | None) -> set[tuple[int, str, int]]:
    rows = tables_of(PLAN)["neuron_sets"].to_pylist()
    return {
        (r["layer"], r["group"], r["neuron"]) for r in rows if (r["kind"], r["language"]) == (kind, language)
    }


def test_the_script_gets_every_neuron_of_the_sets(study: ShownStudy) -> None:
    payload = map_part(study)["payload"]
    listed = {(layer, payload["groups"][g], index): needed for g, layer, index, needed in payload["neurons"]}
    assert payload["languages"] == list(study.languages) and payload["layers"] == study.anatomy.n_layers
    for i, code in enumerate(study.languages):
        assert {place for place, needed in listed.items() if i in needed} == stored("related", code)
        own = {place for place, needed in listed.items() if i in needed and len(needed) < 3}
        assert own == stored("exclusive", code)
        assert {place for place, needed in listed.items() if needed == [i]} == stored(
            "strict_exclusive", code
        )
    assert {place for place, needed in listed.items() if len(needed) == 3} == stored("shared", None)


def test_a_panel_for_the_shared_set_and_for_each_language(study: ShownStudy) -> None:
    part = map_part(study)
    sizes = [study.sets.total("shared"), *(study.sets.total("exclusive", code) for code in study.languages)]
    assert [panel["size"] for panel in part["panels"]] == [str(size) for size in sizes]
    shared = study.members.needed.all(axis=0)
    table = study.members.per_place(shared, len(study.anatomy.groups), study.anatomy.n_layers)
    assert table.tolist() == study.sets.counts["shared", ""].tolist()
    assert part["most_shared"] == table.max()


def test_the_shade_follows_the_root_of_the_count() -> None:
    assert [shade_of(n, 36) for n in (0, 1, 4, 9, 36)] == [0, 1, 2, 3, 6]

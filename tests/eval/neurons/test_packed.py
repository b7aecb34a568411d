"""What is packed for the report's pages is what the store says of each neuron, holds within its budget, and is no markup."""

from __future__ import annotations

import html.parser
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyneuron.eval.neurons import packed
from polyneuron.eval.neurons.facts import OpenedModel, facts_of
from polyneuron.eval.neurons.listing import StoredNeurons, studied
from polyneuron.eval.neurons.packed import inlined
from polyneuron.eval.report.numbers.study import ShownStudy, read_report
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import ModelError
from polyneuron.neuron_core.sets.neuron_name import NeuronName
from tests.eval.report.neuron_rows import put_pages
from tests.eval.report.synthetic import Plan, list_units, store_with

PLAN = Plan(languages=("en", "th", "sw"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    filled = store_with(tmp_path_factory.mktemp("store"), PLAN)
    put_pages(filled, PLAN, n_places=7)
    return list_units(filled)


def names_of(study: ShownStudy) -> list[NeuronName]:
    members = study.members
    columns = zip(members.layers.tolist(), members.groups.tolist(), members.neurons.tolist(), strict=True)
    return [NeuronName(layer, study.anatomy.groups[group], neuron) for layer, group, neuron in columns]


def no_model() -> OpenedModel:
    raise ModelError("not here")


def utf16(text: str, start: int, end: int) -> str:
    return text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le")


def test_every_page_is_what_the_store_says(store: Store) -> None:
    (study,) = read_report(store).studies
    pages: Any = json.loads(inlined(study.pages))
    tables = studied(store)
    sets_of = StoredNeurons(tables).sets_of()
    names = names_of(study)
    assert len(names) == len(pages["neurons"]) > 10 and pages["missing"] == []
    for name, page in zip(names[::3], pages["neurons"][::3], strict=True):
        facts = facts_of(tables, name, no_model, 5)
        of_sets, impacts, ranks, contexts, lens, statistics = page
        assert pages["sets"][of_sets] == list(sets_of[name]) == sorted(facts.sets)
        by_language = {row["language"]: row for row in facts.impacts}
        for code, impact, rank in zip(study.languages, impacts, ranks, strict=True):
            row = by_language[code]
            assert rank == row["rank"]
            assert impact == (None if row["impact"] is None else pytest.approx(row["impact"], rel=1e-3))
            assert row["n_ranked"] == pages["ranked"][name.group]
        for code, found in zip(study.languages, contexts, strict=True):
            wanted = [each for each in facts.contexts if each.language == code]
            assert found[1::2] == [each.value for each in wanted] and len(wanted) == 5
            for token, each in zip(found[::2], wanted, strict=True):
                text, start, end = pages["tokens"][3 * token : 3 * token + 3]
                assert utf16(pages["texts"][text], start, end) == each.text.token
                assert pages["texts"][text] == each.text.before + each.text.token + each.text.after
        moved = [
            (direction, not end, pages["words"][word], pytest.approx(logit, rel=1e-2))
            for direction, ends in enumerate(lens or [])
            for end, tokens in enumerate(ends)
            for word, logit in zip(tokens[::2], tokens[1::2], strict=True)
        ]
        wanted_tokens = [each for each in facts.lens if each.place <= 8]
        stored = facts_of(tables, name, no_model, 8).lens
        assert moved == [(t.direction, t.promoted, t.text, t.logit) for t in stored]
        assert len(stored) >= len(wanted_tokens)
        assert bool(statistics) is (name.group == "ffn")
        for row in facts.activations:
            numbers = statistics[row["site"]][study.languages.index(row["language"])]
            assert numbers[0] == row["n_positive"] / row["n_tokens"]
            columns = ("mean", "minimum", "p5", "p25", "p50", "p75", "p95", "maximum")
            assert numbers[1:] == [pytest.approx(row[column], rel=1e-2) for column in columns]


def test_where_there_is_no_room_the_best_ranks_have_pages(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = read_report(store).studies
    best = sorted(min(r for r in page[2] if r is not None) for page in whole.pages["neurons"])
    monkeypatch.setattr(packed, "_BUDGET", 4 * (3 * 12 + 32))
    (study,) = read_report(store).studies
    kept = [page for page in study.pages["neurons"] if page is not None]
    assert len(study.pages["neurons"]) == len(whole.pages["neurons"]) and len(kept) == 4
    assert sorted(min(r for r in page[2] if r is not None) for page in kept) == best[:4]
    assert len(study.pages["tokens"]) < len(whole.pages["tokens"])


def test_a_study_without_these_tables_says_which_parts_are_missing(tmp_path: Path) -> None:
    (study,) = read_report(list_units(store_with(tmp_path, PLAN))).studies
    assert study.pages["missing"] == ["contexts", "lens", "activations"]
    assert all(page[3:] == [0, 0, 0] for page in study.pages["neurons"])


class Scripts(html.parser.HTMLParser):
    """What stands in script elements, and how many elements there are."""

    def __init__(self) -> None:
        super().__init__()
        self.texts, self.n_elements = list[str](), 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.n_elements += 1

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@given(st.lists(st.text() | st.sampled_from(["</script>", "<!--<script>", "\u2028", "]]>", "&lt;", "\r\n"])))
def test_whatever_a_text_is_it_stays_one(texts: list[str]) -> None:
    found = Scripts()
    found.feed(f"<script>{inlined(texts)}</script>")
    found.close()
    assert found.n_elements == 1
    assert json.loads("".join(found.texts)) == texts
    assert not set("<>&\u2028\u2029") & set(inlined(texts))

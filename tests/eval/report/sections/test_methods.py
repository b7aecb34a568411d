"""The section on other methods as it stands on the page, and its small multiples."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyneuron.eval.report.charts.methods import agreement_chart, count_chart, profile_chart
from polyneuron.eval.report.numbers.methods import MethodSets
from polyneuron.eval.report.numbers.study import read_report
from polyneuron.eval.report.page import render
from polyneuron.eval.store.store import Store
from tests.eval.report.method_rows import put_changes, put_detector, put_overlaps, usual_methods
from tests.eval.report.synthetic import Plan, store_with
from tests.eval.report.test_page import parsed
from tests.eval.report.training_rows import put_mixture

PLAN = Plan(languages=("en", "sw"), n_layers=2, n_draws=0, n_sentences=4)
LAPE = {"en": [(0, 1), (1, 2)], "sw": [(0, 1), (0, 2), (0, 3)]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path / "store", PLAN)


def page(store: Store) -> str:
    return render(read_report(store), "t")


def words(store: Store) -> str:
    found = re.search(r'<h2 id="m0-methods">(.*?)<h2 id="m0-omissions">', page(store), re.S)
    assert found is not None
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", found[1])))


def sets(**members: list[tuple[int, int]]) -> MethodSets:
    addresses = {
        code: np.array([(at << 32) + n for at, n in found], np.int64) for code, found in members.items()
    }
    return MethodSets("lape", addresses, 2)


def test_all_parts_are_there_and_the_page_is_sound(store: Store) -> None:
    usual_methods(store, PLAN)
    found = words(store)
    for title in (
        "Neurons per language",
        "Do the methods find the same",
        "Layer by layer",
        "Between languages",
    ):
        assert title in found
    assert "is 10% of the tokens for every neuron" in found
    assert "Act-Prob-90p (as published) is nearly degenerate by construction" in found
    assert "The last neuron chosen is above it in 10.0% of the tokens." in found
    assert "English 10 (7.8%)" in found  # LAPE's 10 of 128
    structure = parsed(page(store))
    assert len(structure.ids) == len(set(structure.ids)) and set(structure.references) <= set(structure.ids)
    assert all(b - a <= 1 for a, b in zip(structure.levels, structure.levels[1:], strict=False))


def test_one_detector_alone_is_shown_with_what_is_missing(store: Store) -> None:
    put_detector(store, PLAN, "lape", LAPE)
    found = words(store)
    assert "LAPE reads activations" in found and "No overlaps of the sets shown are stored." in found
    assert "No perplexities without these sets are stored" in found and "degenerate" not in found
    assert "layer English Swahili 0 1 3 1 1 0" in found  # LAPE's neurons per layer


def test_the_diagonal_is_framed(store: Store) -> None:
    put_detector(store, PLAN, "lape", LAPE)
    changes = {"en": {"en": 1.5, "sw": 1.0}, "sw": {"en": 1.0, "sw": 1.2}}
    put_changes(store, PLAN, "lape", changes, dict.fromkeys(changes, 1.0))
    framed = re.findall(r'<td class="h\d [a-z]+ own-cell">(.*?)<', page(store))
    assert framed == ["×1.500", "×1.200"]
    assert "English 2 neurons ×1.500 ▲ above random ×1.500 to ×1.500" in words(store)


def test_what_is_left_out_is_owned_up_to(store: Store) -> None:
    put_detector(store, PLAN, "lape", LAPE)
    put_mixture(store, "embedded")
    put_detector(store, PLAN, "lape", LAPE, mark="bbbb", run_id="run-0002")
    put_overlaps(store, PLAN, {"lape": {"sw": [(0, 1)]}})
    found = words(store)
    assert "Not shown, because their counts are not those of the sets shown: 2 overlaps." in found
    assert "Older measurements of these methods are left out: 1 unit of table detectors." in found


def test_names_from_outside_are_escaped(store: Store) -> None:
    evil = "<img src=x onerror=alert(1)>"
    members = {evil: [(0, 1)], "sw": [(0, 1)]}
    put_detector(store, PLAN, evil, members, site=evil)
    put_overlaps(store, PLAN, {evil: members})
    put_changes(store, PLAN, evil, {"sw": {"sw": 1.5}}, {"sw": 1.0})
    text = page(store)
    assert "<img" not in text and text.count("&lt;img") > 10


def test_the_longest_bar_is_the_most_neurons() -> None:
    chart = count_chart(sets(en=[(0, 1)], sw=[(0, 1), (1, 4)], th=[]), ["en", "sw", "th", "de"], 128)
    assert re.findall(r'<rect [^>]*width="([\d.]+)%"', chart) == ["50.00", "100.00"]
    assert "1 (0.78%)" in chart and "2 (1.6%)" in chart and "0 (0%)" in chart and "not asked for" in chart


def test_profiles_name_the_fullest_layer() -> None:
    chart = profile_chart(sets(en=[(0, 1), (1, 1), (1, 2)], sw=[]), ["en", "sw"])
    assert "most in layer 1: 2" in chart and "no neurons" in chart
    assert 'd="M0.1 100V50.0H0.9V100zM1.1 100V0.0H1.9V100z" class="shared"' in chart


def test_bars_beyond_chance_look_different() -> None:
    def row(layer: int | None, n_common: int, **other: Any) -> dict[str, Any]:
        usual = {"n_a": 9, "n_b": 9, "chance_common": 4.0, "chance_low": 2, "chance_high": 6}
        return usual | {"layer": layer, "n_common": n_common} | other

    rows = [row(None, 17), row(0, 8), row(1, 4), row(2, 1), row(3, 0, n_a=0, chance_common=0.0)]
    chart = agreement_chart({"en": rows}, 4, "a and b")
    assert "▲ 1, ▼ 1 of 3 layers" in chart
    assert 'd="M0.1 100V0.0H0.9V100z" class="shared"' in chart  # 8, the most
    assert 'd="M1.1 100V50.0H1.9V100z" class="pale"' in chart
    assert 'd="M2.1 100V87.5H2.9V100z" class="exclusive"' in chart
    assert 'd="M0 25.0h1M1 25.0h1M2 25.0h1" class="cap"' in chart  # 6 of 8

"""Small multiples of methods: bars to scale, and bars beyond chance that look different."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from polyneuron.eval.report.charts.methods import agreement_chart, count_chart, profile_chart
from polyneuron.eval.report.numbers.methods import MethodSets


def sets(**members: list[tuple[int, int]]) -> MethodSets:
    addresses = {
        code: np.array([(at << 32) + n for at, n in found], np.int64) for code, found in members.items()
    }
    return MethodSets("lape", addresses, 2)


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

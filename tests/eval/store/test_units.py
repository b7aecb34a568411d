"""Unit keys depend on content alone."""

import subprocess
import sys
from typing import Any

import pytest

from polyneuron.eval.store.units import unit_key
from polyneuron.neuron_core.common.errors import StoreError


def test_order_does_not_matter_but_every_value_does() -> None:
    key = unit_key(model="m", stage="detect", rule={"sigma": 0.1, "groups": ["q", "k"]})
    assert key == unit_key(rule={"groups": ("q", "k"), "sigma": 0.1}, stage="detect", model="m")
    assert len(key) == 32 and int(key, 16) >= 0
    others = [
        unit_key(model="m", stage="detect", rule={"sigma": 0.2, "groups": ["q", "k"]}),
        unit_key(model="m", stage="detect", rule={"sigma": 0.1, "groups": ["k", "q"]}),
        unit_key(model="m", stage="detect"),
        unit_key(model=None, stage="detect"),
        unit_key(model=1, stage="detect"),
        unit_key(model="1", stage="detect"),
    ]
    assert len({key, *others}) == 7


def test_equal_in_another_process() -> None:
    code = "from polyneuron.eval.store.units import unit_key; print(unit_key(text='ไทย', n=3, x=[1.5, None, True]))"
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert there == unit_key(x=[1.5, None, True], n=3, text="ไทย")


@pytest.mark.parametrize(
    "value", [{"q", "k"}, object(), float("nan"), float("inf"), b"x", {1: "x"}, [{"a": {1}}]]
)
def test_values_without_a_stable_text_are_refused(value: Any) -> None:
    with pytest.raises(StoreError, match="part odd"):
        unit_key(odd=value)

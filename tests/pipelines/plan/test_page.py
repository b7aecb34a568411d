"""What the page of the planner says of large models on stated machines is what the planner says."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from polyneuron.pipelines import cli

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "planning.md").read_text("utf-8")
SHAPES = {"Llama-3.1-70B": "llama-3.1-70b", "Qwen2.5-72B": "qwen2.5-72b"}
ROWS = re.findall(r"^\| ([\w.-]*) ?\| (\d+x\d+GB) \| `(.+)` \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)


def printed(shape: str, devices: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command of the page prints for a model and machines."""
    (command,) = re.findall(r"^polyneuron (plan .*tests/shapes.*)$", PAGE, re.MULTILINE)
    words = command.replace("tests/shapes/llama-3.1-70b", str(ROOT / "tests" / "shapes" / shape)).split()
    with pytest.raises(SystemExit) as left:
        cli.main([*words[:-1], devices])
    assert left.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("row", range(6))
def test_suggestions_and_times_are_the_planners(
    row: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    model = next(name for name, *_ in reversed(ROWS[: row + 1]) if name)
    _, devices, changes, what, time = ROWS[row]
    lines = printed(SHAPES[model], devices, capsys).splitlines()
    words = {"everything": "Everything fits", "all but evaluation": "All but evaluation fit"}[what]
    assert (f"{words} with: {changes}", f"  and takes at most {time}:") in set(pairwise(lines))
    if row == 0:
        (table,) = re.findall(r"^┏.*?^└.*?$", PAGE, re.MULTILINE | re.DOTALL)
        assert table in "\n".join(lines)

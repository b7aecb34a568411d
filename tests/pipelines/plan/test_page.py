"""What the page of the planner says of large models on stated machines is what the planner says."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from polyneuron.pipelines import cli
from polyneuron.pipelines.plan.planning import plan
from tests.pipelines.in_process import tiny_config
from tests.pipelines.plan.cases import SHAPES

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "planning.md").read_text("utf-8")
FOLDERS = {"Llama-3.1-70B": "llama-3.1-70b", "Qwen2.5-72B": "qwen2.5-72b"}
ROWS = re.findall(r"^\| ([\w.-]*) ?\| (\d+x\d+GB) \| `(.+)` \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)


def printed(shape: str, devices: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command of the page prints for a model and machines."""
    (command,) = re.findall(r"^polyneuron (plan .*tests/shapes.*)$", PAGE, re.MULTILINE)
    words = command.replace("tests/shapes/llama-3.1-70b", str(SHAPES / shape)).split()
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
    lines = printed(FOLDERS[model], devices, capsys).splitlines()
    words = {"everything": "Everything fits", "all but evaluation": "All but evaluation fit"}[what]
    assert (f"{words} with: {changes}", f"  and takes at most {time}:") in set(pairwise(lines))
    if row == 0:
        (table,) = re.findall(r"^┏.*?^└.*?$", PAGE, re.MULTILINE | re.DOTALL)
        assert table in "\n".join(lines)


def test_the_page_says_what_does_not_fit_and_the_json_is_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(SHAPES / "qwen2.5-72b")
    arguments = ["plan", "--config", "llama3_70b", "--devices", "1x141GB", f"models.0.path={path}"]
    with pytest.raises(SystemExit) as left:
        cli.main([*arguments, f"store={tmp_path / 'store'}"])
    page = capsys.readouterr().out
    assert left.value.code == 0
    assert "72.71 billion parameters" in page
    assert "detection does not fit: 8 GPUs are asked for, and there are 1." in page
    assert "It fits with: cluster.world_size=1" in page
    with pytest.raises(SystemExit):
        cli.main([*arguments, "--json", f"store={tmp_path / 'store'}"])
    (row,) = json.loads(capsys.readouterr().out)["models"]
    assert row["parameters"] == 72_706_203_648 and not row["fits"]
    embedding = row["stages"]["detection"]["phases"][0]["device"]["embedding, whole"]
    assert embedding == 2 * 152_064 * 8192


def test_models_are_planned_one_at_a_time_and_the_page_says_so(model: Path, tmp_path: Path) -> None:
    def said(models_at_once: int) -> bool:
        config = tiny_config(model, tmp_path / "store", cluster={"models_at_once": models_at_once})
        return any("one model at a time" in one for one in plan(config).assumptions)

    assert said(2) and not said(1)


def test_host_memory_belongs_to_stated_devices(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["plan", "--config", "llama3_70b", "--host-gib", "2000"])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--host-gib" in line and "--devices" in line

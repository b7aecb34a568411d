"""What works with the core alone, and what a command says whose extra is missing: both with the other modules made unfindable."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from polyneuron.neuron_core.common.extras import EXTRA_OF, MissingExtra, missing_extra, require_module
from tests.tiny_models import save_tiny_model

ROOT = Path(__file__).parents[3]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
WITHOUT = f"""
import sys

class Without:
    def __init__(self, finder):
        self._finder = finder

    def __getattr__(self, name):
        return getattr(self._finder, name)

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in {sorted(EXTRA_OF)}
        return None if hidden else self._finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
"""
NOTEBOOK = """
import polyneuron as pn
model, tokenizer = pn.load_model(sys.argv[1])
texts = {"en": ["the cat sat on the mat"] * 6, "sw": ["paka alikaa juu ya mkeka"] * 6}
windows = pn.equal_windows(tokenizer, texts, 8)
table = pn.measure_impacts(model, tokenizer, windows, mode="full")
sets = pn.select(table.to_arrow(), table.summaries)
with pn.WeightEdit.zero(sets.related["sw"]).applied(model):
    print("perplexity", pn.perplexity(model, tokenizer, texts["sw"]))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", WITHOUT + script, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=200)


def test_a_notebook_needs_the_core_alone(model: Path) -> None:
    done = run(NOTEBOOK, model)
    assert done.returncode == 0 and "perplexity " in done.stdout, done.stderr


def test_a_command_whose_extra_is_missing_says_which(model: Path, tmp_path: Path) -> None:
    study = ["detect", "--model", model, "--languages", "en,sw", "--out", tmp_path / "store"]
    done = run("from polyneuron.pipelines import cli\ncli.main(sys.argv[1:])", *study)
    assert done.returncode == 2 and "pip install 'polyneuron[cluster]'" in done.stderr
    assert "Traceback" not in done.stderr and "fault of Polyneuron" not in done.stderr


def test_a_tracker_whose_extra_is_missing_is_refused_before_anything_runs(
    model: Path, tmp_path: Path
) -> None:
    study = ["study", "--model", model, "--languages", "en,sw", "--out", tmp_path / "store"]
    done = run(
        "from polyneuron.pipelines import cli\ncli.main(sys.argv[1:])", *study, "tracking.tracker=wandb"
    )
    assert done.returncode == 2 and "pip install 'polyneuron[wandb]'" in done.stderr
    assert not (tmp_path / "store").exists()


def test_a_folder_is_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_a_folder").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(EXTRA_OF, "only_a_folder", "wandb")  # type: ignore[arg-type]
    with pytest.raises(MissingExtra):
        require_module("only_a_folder")


def test_a_python_door_says_which() -> None:
    script = (
        "from polyneuron.neuron_core.training.loop.tensorboard import TensorBoard\n"
        "try:\n    TensorBoard(sys.argv[1])\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = run(script, "nowhere")
    assert done.stdout.startswith("MissingExtra") and "polyneuron[train]" in done.stdout


def test_each_module_is_in_the_extra_that_is_named() -> None:
    distributions = packages_distributions()
    for module, extra in EXTRA_OF.items():
        asked = {re.split(r"[=<>\[]", name)[0].replace("-", "_") for name in EXTRAS[extra]}
        brought = {name.removesuffix("-cpu").replace("-", "_").lower() for name in distributions[module]}
        assert asked & brought, (module, extra)


def test_another_missing_module_stays_what_it_is() -> None:
    assert missing_extra(ModuleNotFoundError("No module named 'x'", name="x")) is None
    assert missing_extra(ImportError("no")) is None and missing_extra(ValueError("ray")) is None

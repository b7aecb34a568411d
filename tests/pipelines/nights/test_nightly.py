"""Nightly runs on a tiny model: exit codes that tell the truth, and SIGKILL leaves the same scores and samples."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from polyneuron.eval.store.same_tables import first_difference
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.opening import load_config
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from tests.pipelines.killing import ROOT, kill_actor, kill_driver, started_until
from tests.tiny_models import save_tiny_model

pytestmark = pytest.mark.ray

CONFIG = """
kind: nightly
models: [{{path: {model}, name: tiny}}]
languages: [en, sw]
evaluation:
  data: sample
  benchmarks:
    - {{name: xnli, max_items: 33}}
    - {{name: mgsm_direct, n_shots: 1, max_gen_toks: 4, max_items: 8}}
    - {{name: xquad, max_gen_toks: 4, max_items: 8}}
  min_effect: 0.01
  engine: {{backend: {backend}, max_model_len: 4096, max_num_seqs: 16}}
store: {store}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    # Heads of 32, as vLLM's attention on a CPU needs; long enough for a paragraph in bytes.
    return save_tiny_model(
        folder, "llama-gqa-tied", hidden_size=128, max_position_embeddings=8192, spread=0.1
    )


def command(folder: Path, model: Path, night: str, *more: str, backend: str = "hf") -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nightly.yaml"
    config.write_text(CONFIG.format(model=model, store=folder / "store", backend=backend))
    start = [sys.executable, "-m", "polyneuron.pipelines.cli", "nightly", "--config", str(config)]
    return [*start, *more, f"night={night}"]


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, timeout=280)


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    folder = tmp_path_factory.mktemp("nights")
    done = run(command(folder, model, "n1", "--baseline", "none"))
    assert done.returncode == 0, done.stderr
    return folder


def test_the_first_night_is_stored_and_accepted(first_night: Path) -> None:
    store = Store(first_night / "store")
    scores = store.read("scores").to_pylist()
    assert {row["night"] for row in scores} == {"n1"} and {row["data"] for row in scores} == {
        "sample",
        "none",
    }
    lacking = [row for row in scores if row["value"] is None]
    assert [(row["benchmark"], row["language"]) for row in lacking] == [("xquad", "sw")]
    assert "XQuAD has no sw" in lacking[0]["null_reason"]
    assert sum(row["primary"] and row["value"] is not None for row in scores) == 5
    assert {row["n_unscored"] for row in scores} == {0}
    assert [row["status"] for row in store.read("runs").to_pylist()] == ["ok"]
    assert "Nothing to compare with" in (first_night / "store" / "nightly-n1.html").read_text(
        encoding="utf-8"
    )
    suite = ElementTree.parse(first_night / "store" / "nightly-n1.xml").getroot()[0]
    assert suite.attrib["errors"] == "0" and suite.attrib["tests"] == "5"


@pytest.mark.long
def test_an_unchanged_night_is_ok(first_night: Path, model: Path) -> None:
    done = run(command(first_night, model, "n2"))
    assert done.returncode == 0, done.stderr
    assert "against night n1" in done.stderr
    for suffix in ("md", "html", "xml"):
        assert (first_night / "store" / f"nightly-n2.{suffix}").stat().st_size > 200
    suite = ElementTree.parse(first_night / "store" / "nightly-n2.xml").getroot()[0]
    assert suite.attrib["failures"] == suite.attrib["errors"] == "0" and suite.attrib["tests"] == "5"


def broken(model: Path, path: Path) -> Path:
    """An edit that ruins the model: half of all ffn neurons, scaled up a hundredfold."""
    anatomy = anatomy_of(load_config(model))
    from polyneuron.neuron_core.model.load import load_model

    which = NeuronSet.from_indices(
        "tiny",
        anatomy.widths,
        anatomy.n_layers,
        {(layer, "ffn"): np.arange(0, 40, 2).tolist() for layer in range(anatomy.n_layers)},
    )
    captured = WeightEdit.capture(which, load_model(model)[0])
    assert captured.values is not None
    return WeightEdit.from_values(which, {k: 100 * v for k, v in captured.values.items()}, "tuned").save(path)


@pytest.mark.slow
def test_a_night_without_a_good_one_before_could_not_be_judged(model: Path, tmp_path: Path) -> None:
    arguments = command(tmp_path, model, "n1", "evaluation.benchmarks=[{name: xnli, max_items: 2}]")
    done = run(arguments)
    assert done.returncode == 2 and "--baseline none" in done.stderr
    assert run([*arguments, "--baseline", "none"]).returncode == 0  # accepted, without judging again


@pytest.mark.slow
def test_a_changed_variant_is_compared_with_its_own_past(model: Path, tmp_path: Path) -> None:
    """The variant's file is replaced between two nights; the base model is the same."""
    anatomy = anatomy_of(load_config(model))
    nothing = NeuronSet.from_indices("tiny", anatomy.widths, anatomy.n_layers, {(0, "ffn"): [0]})
    file = tmp_path / "tuned.safetensors"
    variants = f"variants=[{{name: tuned, file: {file}, model: tiny}}]"
    WeightEdit.zero(nothing).save(file)
    assert run(command(tmp_path, model, "n1", "--baseline", "none", variants)).returncode == 0
    broken(model, file)
    run(command(tmp_path, model, "n2", variants))
    rows = Store(tmp_path / "store").read("verdicts").to_pylist()
    base = [row for row in rows if row["variant"] == "base"]
    assert base and all(row["verdict"] == "no evidence" and row["delta"] == 0 for row in base)
    assert any(row["delta"] != 0 for row in rows if row["variant"] == "tuned")


@pytest.mark.slow
def test_a_planted_regression_of_a_real_model_is_caught(tmp_path: Path) -> None:
    """SmolLM2 loses a fifth of its feed-forward neurons overnight."""
    from polyneuron.neuron_core.model.load import resolve_model
    from tests.real_models import smollm2_gguf

    folder = Path(resolve_model(smollm2_gguf()))
    anatomy = anatomy_of(load_config(folder))
    rng = np.random.default_rng(0)
    file = tmp_path / "tuned.safetensors"
    more = (
        f"variants=[{{name: tuned, file: {file}, model: tiny}}]",
        "languages=[en]",
        "evaluation.benchmarks=[{name: xquad, max_gen_toks: 16}]",
        "evaluation.engine.threads=2",
    )
    for night, share, code in (("n1", 0.0, 0), ("n2", 0.0, 0), ("n3", 0.2, 1)):
        n = max(1, int(share * anatomy.ffn_width))
        lost = {
            (layer, "ffn"): sorted(rng.choice(anatomy.ffn_width, n, replace=False).tolist())
            for layer in range(anatomy.n_layers if share else 1)
        }
        WeightEdit.zero(NeuronSet.from_indices("tiny", anatomy.widths, anatomy.n_layers, lost)).save(file)
        baseline = ("--baseline", "none") if night == "n1" else ()
        done = run(command(tmp_path, folder, night, *baseline, *more))
        assert done.returncode == code, done.stderr


def _kill(arguments: list[str], store: Path, n_files: int, actor: bool) -> None:
    process = started_until(arguments, store, "scores/model=*/**/*.parquet", n_files)
    assert process.poll() is None, "the night ended too soon for this test to mean anything"
    if actor:
        kill_actor(process, "ray::_Shell")
    else:
        kill_driver(process)


@pytest.mark.slow
@pytest.mark.parametrize(
    "actor",
    [pytest.param(False, id="driver"), pytest.param(True, id="engine", marks=pytest.mark.slow)],
)
def test_sigkill_then_rerun_gives_identical_scores_and_samples(
    first_night: Path, model: Path, tmp_path: Path, actor: bool
) -> None:
    arguments = command(tmp_path, model, "n1", "--baseline", "none")
    _kill(arguments, tmp_path / "store", 2 + actor, actor)
    done = run(arguments)
    assert done.returncode == 0, done.stderr
    for table in ("scores", "samples"):
        ours, theirs = (
            Store(folder / "store").read(table, [("night", "=", "n1")]).drop_columns("run_id")
            for folder in (tmp_path, first_night)
        )
        assert ours.equals(theirs), table


@pytest.mark.slow
def test_sigkill_with_vllm(model: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(command(whole, model, "n1", "--baseline", "none", backend="vllm")).returncode == 0
    arguments = command(killed, model, "n1", "--baseline", "none", backend="vllm")
    _kill(arguments, killed / "store", 2, actor=True)
    assert run(arguments).returncode == 0
    difference = first_difference(Store(whole / "store"), Store(killed / "store"))
    assert difference is None, str(difference)

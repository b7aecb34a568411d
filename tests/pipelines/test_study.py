"""A whole study on a tiny model: resume, bad input, and SIGKILL at any moment leave the same tables."""

import html
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polyneuron.eval.store.query import query
from polyneuron.eval.store.same_tables import first_difference
from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError
from tests.pipelines.killing import ROOT, kill_actor, kill_driver, started_until
from tests.tiny_models import save_tiny_model

pytestmark = pytest.mark.ray

CONFIG = """
kind: study
models: [{{path: {model}, name: tiny}}]
languages: [en, sw, de]
corpus: {{n_detection: 10, n_heldout: 5, max_tokens: 16}}
detection: {{floor_fraction: 1}}
selection: {{target_shared: 0.02}}
activations: {{detectors: [lape, act_prob_pooled], sites: [matched, pre_activation]}}
contexts: {{top_tokens: 3}}
ablation: {{shared_control_seeds: 2, exclusive_control_seeds: 1, n_bootstrap: 50, variants_per_pass: 2}}
cluster: {{world_size: {world_size}, threads_per_worker: 1}}
store: {store}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def command(
    folder: Path, model: Path, *overrides: str, world_size: int = 1, stage: str = "study"
) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "study.yaml"
    config.write_text(CONFIG.format(model=model, store=folder / "store", world_size=world_size))
    return [sys.executable, "-m", "polyneuron.pipelines.cli", stage, "--config", str(config), *overrides]


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, timeout=250)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    done = run(command(folder, model))
    assert done.returncode == 0, done.stderr
    return folder


def test_a_study_ends_with_tables_and_a_report(finished: Path) -> None:
    store = Store(finished / "store")
    variants = {"base", "shared", "control-shared-0", "exclusive-sw", "control-exclusive-sw-0"}
    variants |= {"impact-control-shared-1", "language-control-exclusive-sw-0", "strict_exclusive-sw"}
    assert variants <= set(store.read("perplexities").column("variant").to_pylist())
    drawn = store.read("controls")["variant"].to_pylist()
    assert set(drawn) <= set(store.read("neuron_sets")["variant"].to_pylist()) and len(drawn) == len(
        set(drawn)
    )
    assert store.read("impacts").num_rows == 3 * 3 * (32 + 16 + 16 + 40)
    assert store.read("activations").num_rows == 2 * 3 * 3 * 40
    assert set(store.read("detectors")["detector"].to_pylist()) == {"lape", "act_prob_pooled"}
    assert set(store.read("set_overlaps")["language"].to_pylist()) == {"en", "sw", "de"}
    assert "lape-sw" in store.read("perplexities")["variant"].to_pylist()
    floor = store.read("noise_floor").to_pylist()
    assert {(row["kind"], row["language"]) for row in floor} == {("shared", None)} | {
        (kind, code) for kind in ("exclusive", "strict_exclusive") for code in (None, "en", "sw", "de")
    }
    assert all(row["chance_size"] is not None for row in floor)
    assert "shared_ratio" in store.read("metrics").column("metric").to_pylist()
    assert (finished / "store" / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    runs = store.read("runs").to_pylist()
    assert [row["status"] for row in runs] == ["finished"]
    assert set(json.loads(runs[0]["timings_json"])) == {
        f"{name}_s"
        for name in (
            "corpora",
            "detection",
            "noise_floor",
            "activations",
            "contexts",
            "ablation",
            "metrics",
            "report",
        )
    }
    assert json.loads(runs[0]["versions_json"])["deepspeed"] == "0.19.8"
    assert query(store, "select count(distinct language) from impacts")[1] == [(3,)]


def test_the_report_of_a_finished_run_says_so(finished: Path) -> None:
    page = (finished / "store" / "report.html").read_text(encoding="utf-8")
    assert ", finished.<" in page and "running" not in page.split("Reproduce")[1].split("Cite")[0]


def test_a_run_lists_every_unit_that_its_store_holds(finished: Path) -> None:
    store = Store(finished / "store")
    listed = {row["unit"] for row in store.read("studies").to_pylist()}
    assert listed == {
        unit
        for table, spec in TABLES.items()
        if not spec.about_runs
        for unit in store.read(table)["unit"].to_pylist()
    }


def test_every_row_can_be_traced_to_its_run(finished: Path) -> None:
    store = Store(finished / "store")
    run_ids = set(store.read("runs").column("run_id").to_pylist())
    for table in (
        "corpora",
        "impacts",
        "detections",
        "activations",
        "contexts",
        "lens",
        "neuron_sets",
        "selections",
        "noise_floor",
        "detectors",
        "set_overlaps",
        "perplexities",
        "metrics",
    ):
        assert set(store.read(table).column("run_id").to_pylist()) <= run_ids


def test_a_finished_study_does_no_model_work_again(finished: Path, model: Path) -> None:
    again = run(command(finished, model))
    assert again.returncode == 0, again.stderr
    assert "starting" not in again.stderr and "all languages are in the store" in again.stderr


@pytest.mark.long
def test_a_noise_floor_that_is_switched_off_is_said_to_be_missing(
    finished: Path, model: Path, tmp_path: Path
) -> None:
    """Although it is in the store, from a run that measured it."""
    shutil.copytree(finished / "store", tmp_path / "store")
    pages = []
    for wanted in ("off", "on"):
        done = run(command(tmp_path, model, f"detection.noise_floor={wanted}"))
        assert done.returncode == 0, done.stderr
        pages.append((tmp_path / "store" / "report.html").read_text(encoding="utf-8"))
    assert ["two halves" in page for page in pages] == [False, True]
    assert "by chance is not known" in pages[0] and "by chance is not known" not in pages[1]


@pytest.mark.slow
def test_two_workers_give_the_same_tables(finished: Path, model: Path, tmp_path: Path) -> None:
    done = run(command(tmp_path, model, world_size=2))
    assert done.returncode == 0, done.stderr
    difference = first_difference(
        Store(finished / "store"), Store(tmp_path / "store"), ignore=("run_id", "impact_mean")
    )
    assert difference is None, str(difference)


@pytest.mark.long
def test_contexts_of_two_workers_that_were_killed_are_those_of_one(
    finished: Path, model: Path, tmp_path: Path
) -> None:
    """The command is killed when one language has its tokens, and started again."""
    arguments = command(tmp_path, model, world_size=2, stage="detect")
    process = started_until(arguments, tmp_path / "store", "contexts/model=*/**/*.parquet", 1)
    assert process.poll() is None
    kill_driver(process)
    n_kept = len(Store(tmp_path / "store").read("contexts")["unit"].unique())
    done = run(arguments)
    assert done.returncode == 0, done.stderr
    assert 1 <= n_kept < 3 and "starting 2 workers" in done.stderr
    for table in ("contexts", "lens"):
        alone, pair = (Store(folder / "store").read(table) for folder in (finished, tmp_path))
        columns = [name for name in alone.column_names if name != "run_id"]
        order = [(name, "ascending") for name in TABLES[table].key]
        assert alone.select(columns).sort_by(order).equals(pair.select(columns).sort_by(order))
        assert alone.num_rows > 20


@pytest.mark.slow
def test_weights_and_hidden_states_from_files_give_the_same_tables(
    finished: Path, model: Path, tmp_path: Path
) -> None:
    done = run(command(tmp_path, model, "cluster.weights=stream", "cluster.hidden_states_gib=0"))
    assert done.returncode == 0, done.stderr
    difference = first_difference(Store(finished / "store"), Store(tmp_path / "store"))
    assert difference is None, str(difference)


@pytest.mark.long
@pytest.mark.parametrize("actor", [False, True], ids=["driver", "actor"])
@pytest.mark.parametrize(
    "moment", [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(2, marks=pytest.mark.slow)]
)
def test_sigkill_then_rerun_gives_identical_tables(
    finished: Path, model: Path, tmp_path: Path, moment: int, actor: bool
) -> None:
    dice = random.Random(10 * moment + actor)
    arguments = command(tmp_path, model)
    first = ([4, 6, 13] if actor else [1, 5, 14])[moment]  # from 4 on a worker is up
    n_files = first + dice.randrange(3)
    process = started_until(arguments, tmp_path / "store", "*/model=*/**/*.parquet", n_files)
    time.sleep(dice.random() * 0.3)
    if actor:
        kill_actor(process, "ray::Worker")
    elif process.poll() is None:
        kill_driver(process)
    done = run(arguments)
    assert done.returncode == 0, done.stderr
    difference = first_difference(Store(finished / "store"), Store(tmp_path / "store"))
    assert difference is None, str(difference)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("models.0.path=/nowhere/at/all", "No model at /nowhere/at/all"),
        ("corpus.n_detection=5000", "en"),
        ("languages=[en, xx]", "xx"),
        ("corpus.source=/nowhere/texts", "/nowhere/texts"),
    ],
)
def test_bad_input_is_one_message(model: Path, tmp_path: Path, override: str, message: str) -> None:
    done = run(command(tmp_path, model, override))
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("polyneuron: ") and message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_an_impossible_selection_reports_nulls(model: Path, tmp_path: Path) -> None:
    """A sigma nobody reaches: empty sets are reported, their metrics are null with a reason."""
    done = run(command(tmp_path, model, "selection.rule=sigma", "selection.sigma=1e9"))
    assert done.returncode == 0, done.stderr
    assert "shared is empty" in done.stderr
    for row in Store(tmp_path / "store").read("metrics").to_pylist():
        assert row["value"] is None and row["null_reason"]


def test_two_studies_on_one_store_at_once(finished: Path, model: Path) -> None:
    with Store(finished / "store").lock():
        done = run(command(finished, model))
    assert done.returncode == 2 and f"{os.getpid()}" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("at_once", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_loses_nothing(model: Path, tmp_path: Path, at_once: int) -> None:
    twins = f"models=[{{path: {model}, name: tiny}}, {{path: {model}, name: twin}}]"
    arguments = command(tmp_path, model, twins, f"cluster.models_at_once={at_once}")
    process = subprocess.Popen(
        arguments,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # a test run in the background of a script inherits SIGINT ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not list((tmp_path / "store").glob("detections/model=*/**/*.parquet")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "run the same command again" in errors
    store = Store(tmp_path / "store")
    assert {row["status"] for row in store.read("runs").to_pylist()} == {"interrupted"}
    listed = {row["table"] for row in store.read("studies").to_pylist()}
    assert "corpora" in listed and "metrics" not in listed


@pytest.mark.long
def test_a_damaged_shard_is_made_anew(finished: Path, model: Path, tmp_path: Path) -> None:
    """One flipped bit in the impacts of Swahili: their unit is computed again, the rest is left alone."""
    arguments = command(tmp_path, model)
    shutil.copytree(finished / "store", tmp_path / "store")
    (shard,) = (tmp_path / "store" / "impacts").rglob("language=sw/*.parquet")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(StoreError, match="language=sw.* is damaged"):
        Store(tmp_path / "store").read("impacts")
    done = run(arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("moved to damaged/") == 2  # impacts and detections of that language
    assert "detected sw" in done.stderr and "detected en" not in done.stderr
    aside = [path.read_bytes() for path in (tmp_path / "store" / "damaged").rglob("*.parquet")]
    assert len(aside) == 2 and bytes(data) in aside
    difference = first_difference(Store(finished / "store"), Store(tmp_path / "store"))
    assert difference is None, str(difference)


@pytest.mark.slow
def test_a_full_disk_stops_a_study_that_goes_on_when_there_is_room(
    finished: Path, model: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk]).returncode:
        pytest.skip("this container may not mount a small disk")
    try:
        arguments = command(disk, model)
        full = run(arguments)
        assert full.returncode == 2 and "Traceback" not in full.stderr
        assert "The disk or a quota is full: free some space and start again" in full.stderr
        stored = set(disk.glob("store/*/model=*/**/*.parquet"))
        assert stored
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        done = run(arguments)
        assert done.returncode == 0, done.stderr
        assert stored <= set(disk.glob("store/*/model=*/**/*.parquet"))
        difference = first_difference(Store(finished / "store"), Store(disk / "store"))
        assert difference is None, str(difference)
    finally:
        subprocess.run(["umount", disk], check=True)


def models_of(folder: Path, n: int, broken: int) -> list[dict[str, str]]:
    """`n` tiny models, one of them with a weight file that was cut off."""
    models = []
    for index in range(n):
        path = save_tiny_model(folder / f"tiny-{index}", seed=index)
        models.append({"path": str(path), "name": f"tiny-{index}"})
    weights = folder / f"tiny-{broken}" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return models


def study_of(folder: Path, models: list[dict[str, str]], at_once: int) -> tuple[Store, str, str]:
    """Runs a study that must end with 1: its store, its report and what it said."""
    arguments = command(folder, Path("replaced"), f"models={json.dumps(models)}")
    done = subprocess.run(
        [*arguments, f"cluster.models_at_once={at_once}"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 1, done.stderr
    return Store(folder / "store"), (folder / "store" / "report.html").read_text("utf-8"), done.stderr


def assert_one_failed(store: Store, page: str, said: str, models: list[dict[str, str]], broken: str) -> None:
    names = {model["name"] for model in models}
    assert set(store.read("metrics")["model"].to_pylist()) == names - {broken}
    assert page.count("<article") == len(names) - 1
    assert f"failed: {broken}; the other models are done" in said
    (row,) = store.read("runs").to_pylist()
    (failure,) = json.loads(row["failures_json"])
    assert row["status"] == "partly failed"
    assert (failure["model"], failure["stage"]) == (broken, "opening the model")
    assert "model.safetensors" in failure["reason"] or "cannot be read" in failure["reason"]
    assert 'id="failed"' in page and html.escape(failure["reason"], quote=True).split("&")[0] in page


@pytest.mark.long
def test_a_broken_model_fails_alone(finished: Path, model: Path, tmp_path: Path) -> None:
    """Beside it, a model gives the tables that it gives by itself."""
    models = [*models_of(tmp_path, 1, broken=0), {"path": str(model), "name": "tiny"}]
    store, *told = study_of(tmp_path / "study", models, at_once=2)
    assert_one_failed(store, *told, models, "tiny-0")
    assert "tiny: detected sw" in told[1]  # every line says whose it is
    difference = first_difference(Store(finished / "store"), store)
    assert difference is None, str(difference)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_side_by_side_is_the_same_as_one_after_the_other(tmp_path: Path) -> None:
    models = models_of(tmp_path, 3, broken=0)
    in_turn, *told_in_turn = study_of(tmp_path / "in turn", models, at_once=1)
    at_once, *told_at_once = study_of(tmp_path / "at once", models, at_once=3)
    assert_one_failed(in_turn, *told_in_turn, models, "tiny-0")
    assert_one_failed(at_once, *told_at_once, models, "tiny-0")
    difference = first_difference(in_turn, at_once)
    assert difference is None, str(difference)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_models_with_one_broken(tmp_path: Path) -> None:
    models = models_of(tmp_path, 20, broken=7)
    store, page, said = study_of(tmp_path / "study", models, at_once=4)
    assert_one_failed(store, page, said, models, "tiny-7")

"""Transfer studies: stages without Ray on a tiny model, what is printed, and one whole run in its own process."""

import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.compute as pc
import pytest
import yaml

from polyneuron.eval.store.same_tables import first_difference
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.variant_name import BASE
from polyneuron.neuron_core.training.loop.checkpoints import Checkpoints
from polyneuron.neuron_core.training.loop.stepper import PlainStepper
from polyneuron.neuron_core.training.loop.trainer import train
from polyneuron.neuron_core.training.trainable.low_rank import LowRank
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.config.transfer import TransferConfig
from polyneuron.pipelines.run.slot import Workers
from polyneuron.pipelines.transfer.evaluation import TransferCell, cells_of
from polyneuron.pipelines.transfer.paper_b import paper_model, paper_numbers, paper_value
from polyneuron.pipelines.transfer.run import run_transfer
from polyneuron.pipelines.transfer.table import transfer_grids
from polyneuron.pipelines.transfer.training import recipe_of, tunings_of
from tests.pipelines.in_process import InProcess, judge_locally
from tests.tiny_models import save_tiny_model

WIDTH = 400
TRAINING = {"data": "sample", "max_steps": 2, "rank": 2, "learning_rate": 0.01, "n_items": 8, "batch": 4}


def values(model: Path, store: Path) -> dict[str, Any]:
    return {
        "models": [{"path": str(model), "name": "tiny"}],
        "languages": ["en", "zh", "de"],
        "detectors": ["lape", "act_prob_pooled"],
        "interventions": {"statistics": ["mean", "zero"], "modes": ["matched", "as_published"]},
        "corpus": {"n_detection": 6, "n_heldout": 1, "max_tokens": 12},
        "tasks": [
            {
                "name": "xnli",
                "targets": ["zh", "de"],
                "tuned": ["attention", "source", "target", "random"],
                "intervened": ["attention", "target"],
                "detectors": ["act_prob_pooled"],
                "training": TRAINING | {"max_tokens": 256},
                "max_items": 14,  # so few suffice for a verdict in a family of this size
            },
            {
                "name": "xquad",
                "targets": ["zh"],
                "tuned": ["attention"],
                "intervened": ["attention"],
                "training": TRAINING | {"max_tokens": 1024},
                "max_items": 2,
                "max_gen_toks": 2,
            },
        ],
        "evaluation_data": "sample",
        "engine": {"backend": "hf", "max_model_len": 8192},
        "store": str(store),
    }


class PlainGroup:
    """`cluster.training.train_rank` on one process with torch's own AdamW; counts the trainings."""

    n_trainings = 0

    def __init__(self, model: Path) -> None:
        self.model = load_model(model)[0]

    def run(
        self, function: Any, batches: Any, progress: Any, job: Any, blocks_of_step: Any, make_batch: Any
    ) -> list[Any]:
        type(self).n_trainings += 1
        low_rank = LowRank(self.model, job.neuron_set, job.lora, job.seed)
        with low_rank.attached():
            stepper = PlainStepper(self.model, low_rank.trained, job.settings)
            trained = train(
                stepper,
                blocks_of_step,
                make_batch,
                job.settings,
                checkpoints=Checkpoints(job.folder, job.key),
                progress=progress,
            )
            found = stepper.values()
        size = sum(value.numel() for value in found.values())
        edit = low_rank.to_edit(job.name, found)
        return [SimpleNamespace(log=trained.log, validations=[], edit=edit, n_trainable=size, kept_step=2)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    return save_tiny_model(folder, intermediate_size=WIDTH, max_position_embeddings=8192)


class Turning:
    """Passes or trainings in this process, as it is told, in place of `polyneuron.cluster.actors.group.ModelGroup`."""

    def __init__(self, model: Path, kind: str) -> None:
        self.model = model
        self.turn_to(None, kind)

    def turn_to(self, spec: Any, kind: str) -> None:
        self.group = InProcess(self.model) if kind == "passes" else PlainGroup(self.model)

    def run(self, *arguments: Any, **named: Any) -> list[Any]:
        return self.group.run(*arguments, **named)


class Ran:
    """A study run in this process; `judges` are the engines that were started, `calls` what they were asked."""

    def __init__(self, model: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        @contextmanager
        def group(workers: Workers, kind: str, nf4: bool = False) -> Iterator[Any]:
            assert not nf4
            yield Turning(model, kind)

        self.judges = judge_locally(monkeypatch)
        monkeypatch.setattr(Workers, "_group", group)
        PlainGroup.n_trainings = 0
        self.config = TransferConfig.model_validate(values(model, store))
        self.code = run_transfer(self.config)
        self.n_trainings, self.store = PlainGroup.n_trainings, Store(store)
        self.page = (store / "transfer.md").read_text(encoding="utf-8")
        self.html = (store / "transfer.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def ran(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield Ran(model, tmp_path_factory.mktemp("transfer") / "store", monkeypatch)


def test_every_model_is_trained_once_and_judged_from_one_engine_start(ran: Ran) -> None:
    assert ran.code == 0 and len(ran.judges) == 1
    found = ran.store.read("training").to_pylist()
    tuned = {row["variant"]: row["strategy"] for row in found}
    assert tuned == {
        "xnli-attention": "transfer-attention",
        "xquad-attention": "transfer-attention",
        "xnli-source-act_prob_pooled": "transfer-source",
        **{
            f"xnli-{kind}-act_prob_pooled-{to}": f"transfer-{kind}"
            for kind in ("target", "random")
            for to in ("zh", "de")
        },
    }
    assert ran.n_trainings == 7 and {row["language"] for row in found} == {"en"}
    edits = [WeightEdit.load(file) for file in (Path(ran.config.store) / "edits").glob("*.safetensors")]
    by_name = {edit.name: edit.neuron_set.counts_by_layer() for edit in edits}
    assert all(
        "ffn" not in {g for _, g in edit.neuron_set.places()} for edit in edits if "attention" in edit.name
    )
    assert by_name.keys() == tuned.keys()


def test_interventions_are_judged_in_their_own_language(ran: Ran) -> None:
    scores = ran.store.read("scores", pc.field("primary")).to_pylist()
    where = {(row["variant"], row["benchmark"], row["language"]) for row in scores}
    kinds = ("mean", "mean-as-published", "zero")
    attention = {
        (f"xnli-attention+{detector}-{to}-{kind}", "xnli", to)
        for detector in ("lape", "act_prob_pooled")
        for to in ("zh", "de")
        for kind in kinds
    }
    empty = {name for name in attention if name not in where}
    assert all("lape" in name for name, _, _ in empty)  # a tiny model may have no LAPE neurons of a language
    target = {
        (f"xnli-target-act_prob_pooled-{to}+act_prob_pooled-{to}-{kind}", "xnli", to)
        for to in ("zh", "de")
        for kind in kinds
    }
    assert target <= where
    assert {(name, language) for name, _, language in where if name == "xnli-attention"} == {
        ("xnli-attention", "zh"),
        ("xnli-attention", "de"),
    }
    assert {("base", "xnli", "zh"), ("base", "xnli", "de"), ("base", "xquad", "zh")} <= where
    assert ("base", "xquad", "de") not in where and len(where) == len(scores)
    samples = ran.store.read("samples").to_pylist()
    responses: dict[tuple[str, str, str], list[str]] = {}
    for row in samples:
        responses.setdefault((row["variant"], row["benchmark"], row["language"]), []).append(row["response"])
    plain = responses["xnli-target-act_prob_pooled-zh", "xnli", "zh"]
    held = responses["xnli-target-act_prob_pooled-zh+act_prob_pooled-zh-zero", "xnli", "zh"]
    assert plain != held != responses["xnli-attention+act_prob_pooled-zh-zero", "xnli", "zh"]
    assert plain != responses["base", "xnli", "zh"]


def test_verdicts_are_against_the_papers_references(ran: Ran) -> None:
    verdicts = ran.store.read("verdicts").to_pylist()
    pairs = {(v["variant"], v["baseline"], v["language"]) for v in verdicts}
    target = "xnli-target-act_prob_pooled-zh"
    assert {
        (target, "xnli-attention", "zh"),
        (target, "xnli-random-act_prob_pooled-zh", "zh"),
        ("xnli-random-act_prob_pooled-zh", "xnli-attention", "zh"),
        (f"{target}+act_prob_pooled-zh-mean", target, "zh"),
        ("xnli-attention+act_prob_pooled-zh-mean", "xnli-attention", "zh"),
        ("xnli-source-act_prob_pooled", "xnli-attention", "de"),
    } <= pairs
    few = {v["benchmark"] for v in verdicts if v["verdict"] == "not judged"}
    assert few == {"xquad"} and all(v["reason"] for v in verdicts if v["verdict"] == "not judged")
    assert len({v["n_family"] for v in verdicts if v["benchmark"] == "xnli"}) == 1
    assert {v["metric"] for v in verdicts if v["benchmark"] == "xquad"} == {"exact_match", "f1"}
    assert not any(a in ("base", "xnli-attention") for a, _, _ in pairs)


def test_the_page_has_a_cell_for_everything_asked(ran: Ran) -> None:
    assert "## tiny: XNLI, accuracy (%), act_prob_pooled" in ran.page
    assert "## tiny: XQuAD, exact match (%), lape" in ran.page and "## tiny: XQuAD, F1 (%), lape" in ran.page
    line = next(line for line in ran.page.splitlines() if line.startswith("| target | zh |"))
    assert "no evidence against attention; no evidence against random" in line and line.count("[") == 4
    assert "not judged" not in ran.page.partition("XQuAD")[0] and "paper" not in ran.page.lower().replace(
        "papers", ""
    )
    assert "Judged on samples" in ran.page


def test_a_second_run_does_no_model_work_and_an_interrupted_one_goes_on(
    ran: Ran, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(ran.config.store)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet") if "runs" not in path.parts}
    again = Ran(model, folder, monkeypatch)
    assert again.n_trainings == 0 and not again.judges and again.page == ran.page
    # One edit and some scores lost, as if the run had been killed there.
    edit = next(file for file in (folder / "edits").glob("*.safetensors"))
    content = edit.read_bytes()
    edit.unlink()
    lost = [path for path in before if "scores" in path.parts][:5]
    for path in lost:
        path.unlink()
    third = Ran(model, folder, monkeypatch)
    assert third.n_trainings == 1 and [judge.n_calls for judge in third.judges] == [5]
    assert edit.read_bytes() == content and third.page == ran.page


def ffn(indices: list[int]) -> NeuronSet:
    return NeuronSet.from_indices("tiny", {"ffn": WIDTH}, 3, {(0, "ffn"): indices})


def test_a_language_without_neurons_is_a_null_with_its_reason(ran: Ran, model: Path) -> None:
    from polyneuron.neuron_core.model.anatomy import anatomy_of
    from polyneuron.neuron_core.model.opening import load_config

    full = {"en": ffn([1]), "zh": ffn([2]), "de": ffn([])}
    sets = {"lape": full, "act_prob_pooled": full}
    anatomy = anatomy_of(load_config(str(model)))
    tunings = tunings_of(ran.config, ran.config.models[0], sets, anatomy)
    without = {str(tuning.name) for tuning in tunings if tuning.neurons is None}
    assert without == {"xnli-target-act_prob_pooled-de", "xnli-random-act_prob_pooled-de"}
    cells = cells_of(ran.config, tunings, sets)
    nulls = [cell for cell in cells if cell.null_reason]
    assert {cell.language for cell in nulls} == {"de"}
    assert any(cell.tuned == "attention" and cell.mode == "matched" for cell in nulls)
    grids = transfer_grids(ran.config, ran.config.models[0], cells, [], [])
    row = next(line.cells for line in grids[1].rows if [c.text for c in line.cells[:2]] == ["target", "de"])
    assert row[2].text == "null" and row[2].details[0].startswith("The set of de is empty")


def test_recipes_by_model_and_what_differs_from_them(ran: Ran) -> None:
    task = ran.config.tasks[0]
    recipe = recipe_of(task, ran.config.models[0])
    assert (recipe.lora.rank, recipe.lora.alpha, recipe.learning_rate) == (2, 4, 0.01)
    assert recipe.attention == ("q", "k", "v", "o") and recipe.settings(1).betas == (0.95, 0.999)
    asked = task.training.model_copy(update={"recipes": {"tiny": "xnli-nemo"}, "rank": None})
    assert recipe_of(task.model_copy(update={"training": asked}), ran.config.models[0]).lora.rank == 64


def test_the_papers_numbers_stand_beside_its_own_models_only() -> None:
    """Read off Tables 1, 2, 3, 7 and 8 by hand."""
    llama = paper_model(ModelConfig(path="meta-llama/Llama-3.1-8B"))
    nemo = paper_model(ModelConfig(path="/models/Mistral-Nemo-Base-2407"))
    assert paper_model(ModelConfig(path="Qwen/Qwen2.5-0.5B")) is None
    cell = TransferCell(
        task="xnli",
        detector="lape",
        tuned="attention",
        language="ur",
        seed=0,
        statistic="mean",
        mode="as_published",
        variant=BASE,
    )
    assert paper_value(llama, cell, "acc") == 70.4 and paper_value(None, cell, "acc") is None
    assert (
        paper_value(nemo, replace(cell, statistic="p10", detector="act_prob", language="vi"), "acc") == 40.7
    )
    quad = replace(cell, task="xquad", language="zh", statistic="p90")
    assert (paper_value(nemo, quad, "exact_match"), paper_value(nemo, quad, "f1")) == (0, 61.6)
    both = replace(cell, tuned="source+target", language="hi", statistic="p10")
    assert paper_value(llama, both, "acc") == 74.7 and paper_value(nemo, both, "acc") is None
    pooled = replace(both, detector="act_prob", tuned="source", language="vi", statistic="none", mode=None)
    assert paper_value(llama, pooled, "acc") == 80.3
    assert paper_value(llama, replace(pooled, tuned="random"), "acc") == 80.1
    assert len(paper_numbers()) == 275 and all(math.isfinite(value) for value in paper_numbers().values())


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_whole_study_and_its_rerun(model: Path, tmp_path: Path) -> None:
    """Ray, DeepSpeed and the Hugging Face engine; a second store gives the same tables."""
    pages = []
    for name in ("one", "two"):
        asked = values(model, tmp_path / name)
        asked["tasks"] = asked["tasks"][:1]
        asked["tasks"][0] |= {"targets": ["zh"], "tuned": ["attention", "target"]}
        asked["detectors"] = ["act_prob_pooled"]
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump({"kind": "transfer"} | asked))
        done = subprocess.run(
            [sys.executable, "-m", "polyneuron.pipelines.cli", "transfer", "--config", str(file)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=280,
        )
        assert done.returncode == 0, done.stderr
        assert "tables: " in done.stderr and done.stderr.count("starting hf") == 1
        pages.append((tmp_path / name / "transfer.md").read_text(encoding="utf-8"))
    assert pages[0] == pages[1]
    difference = first_difference(Store(tmp_path / "one"), Store(tmp_path / "two"))
    assert difference is None, str(difference)

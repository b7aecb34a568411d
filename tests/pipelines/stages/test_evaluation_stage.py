"""The evaluation stage without Ray: what it stores, what it leaves alone, and perplexity through the engine."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.engines.settings import EngineSettings
from polyneuron.eval.store.same_tables import first_difference
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import BenchmarkError
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.stages.evaluation import benchmark_tasks, evaluate
from polyneuron.pipelines.stages.variants import variants_named
from tests.pipelines.in_process import LocalJudge, TinyStudy, tiny_config
from tests.tiny_models import save_tiny_model

EVALUATION: dict[str, Any] = {
    "data": "sample",
    "variants": ["shared", "control-shared-0"],
    "benchmarks": [{"name": "xnli", "max_items": 4}, {"name": "xquad", "max_items": 2, "max_gen_toks": 2}],
    "engine": {"backend": "hf", "max_model_len": 8192},
}


def selected(model: Path, store: Path, **sections: Any) -> TinyStudy:
    """A tiny model with detection and selection done in this process."""
    rule, full = {"target_shared": 0.05}, {"mode": "full"}
    study = TinyStudy(tiny_config(model, store, selection=rule, detection=full, **sections), model)
    return study.do("corpora", "detection")


def judged(study: TinyStudy, store: Store, *patterns: str, night: str | None = None) -> list[str]:
    """The units of the scores of the base model and of what the patterns name, kept in `store`."""
    ledger = Ledger(store, "tiny", "run")
    tasks = benchmark_tasks(study.config.evaluation, study.config.languages)
    variants = variants_named(study.selected.variants, patterns)
    return evaluate(ledger, study.engine, variants, tasks, night)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny", max_position_embeddings=8192)


@pytest.fixture(scope="module")
def study(model: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyStudy:
    return selected(model, tmp_path_factory.mktemp("study") / "store", evaluation=EVALUATION)


def test_scores_samples_and_verdicts_are_stored_once(study: TinyStudy) -> None:
    judge = study.with_judge()
    study.do("evaluation")
    assert judge.n_calls == 3 * 3  # three variants; XNLI in two languages, XQuAD in one
    scores = study.store.read("scores").to_pylist()
    lacking = [row for row in scores if row["value"] is None]
    assert {(row["benchmark"], row["language"], row["n"], row["n_unscored"]) for row in lacking} == {
        ("xquad", "sw", 0, 0)
    }
    assert len(lacking) == 3 and all("XQuAD has no sw" in row["null_reason"] for row in lacking)
    scored = [row for row in scores if row["n"]]
    assert len(scored) == 3 * 4 and sum(row["primary"] for row in scored) == 3 * 3
    assert all(row["data"] == "sample" and row["bos"] is False for row in scored)
    shared = next(row for row in scores if row["variant"] == "shared")
    assert {row["variant"] for row in scores} == {"base", "shared", "control-shared-0"}
    assert shared["n_neurons"] == len(study.selected.selection.shared) and shared["kind"] == "shared"
    assert len(study.store.read("samples")) == 3 * (2 * 4 + 2 * 2)  # XQuAD: exact match and F1
    verdicts = study.store.read("verdicts").to_pylist()
    assert {(row["variant"], row["baseline"]) for row in verdicts} == {
        ("shared", "base"),
        ("control-shared-0", "base"),
        ("shared", "control-shared-0"),
    }
    assert len(verdicts) == 3 * 3
    listed = study.listed()
    assert {unit for table, unit in listed if table == "scores"} == {row["unit"] for row in scores}
    assert {unit for table, unit in listed if table == "verdicts"} == {verdicts[0]["unit"]}
    study.do("evaluation")
    assert judge.n_calls == 9 and study.store.read("verdicts").to_pylist() == verdicts


def test_scores_of_another_device_are_others(
    study: TinyStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, on_cpu = Store(tmp_path / "store"), study.engine.settings
    study.judge_by(LocalJudge(on_cpu))  # in both cases: only the settings say what it computes on
    (before,) = set(judged(study, store)[:1])
    monkeypatch.setattr(study.engine, "settings", replace(on_cpu, gpus=1))
    after = judged(study, store)
    assert before not in after
    devices = {json.loads(row["settings_json"])["device"] for row in store.read("scores").to_pylist()}
    assert devices == {"cpu", "cuda"}


class Stop(Exception):
    """In place of a SIGKILL."""


class Stopping(LocalJudge):
    """Stops at the call after `n_left` of them."""

    def __init__(self, settings: EngineSettings, n_left: int) -> None:
        super().__init__(settings)
        self.n_left = n_left

    def call(self, method: str, *arguments: Any) -> Any:
        if self.n_calls == self.n_left:
            raise Stop
        return super().call(method, *arguments)


def test_an_interrupted_evaluation_goes_on_at_the_first_missing(study: TinyStudy, tmp_path: Path) -> None:
    whole, cut, patterns = Store(tmp_path / "whole"), Store(tmp_path / "cut"), EVALUATION["variants"]
    study.with_judge()
    evaluated = judged(study, whole, *patterns)
    study.judge_by(Stopping(study.engine.settings, 4))
    with pytest.raises(Stop):
        judged(study, cut, *patterns)
    # Four were judged; the fifth is XQuAD in sw, which does not exist.
    assert len(cut.missing("scores", evaluated)) == len(evaluated) - 5
    rest = study.with_judge()
    assert judged(study, cut, *patterns) == evaluated
    assert rest.n_calls == 9 - 4
    difference = first_difference(whole, cut)
    assert difference is None, str(difference)


def test_a_unit_cut_between_samples_and_scores_is_done_again(
    study: TinyStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores mark a unit as done, so its samples must be there before them."""
    store, judge, written = Store(tmp_path / "store"), study.with_judge(), []
    real = store.write

    def until_scores(table: str, *arguments: Any, **named: Any) -> str:
        written.append(table)
        if table == "scores":
            raise Stop
        return real(table, *arguments, **named)

    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr(store, "write", until_scores)
        judged(study, store)
    assert written == ["samples", "scores"] and len(store.read("samples")) == 4
    judged(study, store)
    assert judge.n_calls == 1 + 3 and len(store.read("samples")) == 2 * 4 + 2 * 2


def test_bad_data_are_refused_before_the_engine_starts(model: Path, tmp_path: Path) -> None:
    evaluation = EVALUATION | {"data": str(tmp_path / "nowhere")}
    study = selected(model, tmp_path / "store", evaluation=evaluation)
    with pytest.raises(BenchmarkError, match="hf download"):
        study.do("evaluation")
    assert not study.engine.runs


def test_perplexity_through_the_engine_is_that_of_the_workers(
    study: TinyStudy, model: Path, tmp_path: Path
) -> None:
    by_workers = study.do("ablation").perplexities
    ablation = {"shared_control_seeds": 1, "exclusive_control_seeds": 1, "through": "engine"}
    through = selected(model, tmp_path / "store", evaluation=EVALUATION, ablation=ablation)
    through.with_judge()
    by_engine = through.do("ablation").perplexities
    assert by_workers.keys() == by_engine.keys() and set(by_workers.values()).isdisjoint(by_engine.values())
    key = ["variant", "language", "sentence"]
    tables = [
        s.store.read("perplexities").sort_by([(name, "ascending") for name in key]) for s in (study, through)
    ]
    assert tables[0].select([*key, "n_tokens"]).equals(tables[1].select([*key, "n_tokens"]))
    for ours, theirs in zip(*(table["nll_nats"].to_pylist() for table in tables), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)

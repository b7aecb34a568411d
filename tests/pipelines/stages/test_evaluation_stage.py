"""The evaluation stage without Ray: what it stores, what it leaves alone, and perplexity through the engine."""

from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import BenchmarkError
from polyneuron.pipelines.run.subject import Subject
from polyneuron.pipelines.stages.ablation import ablate
from polyneuron.pipelines.stages.corpora import prepare_corpora
from polyneuron.pipelines.stages.evaluation import evaluate, judged_variants
from polyneuron.pipelines.stages.selection import Selected, detect_and_select
from polyneuron.pipelines.stages.verdicts import comparisons, store_verdicts
from tests.pipelines.in_process import InProcess, LocalJudge, tiny_config
from tests.same_tables import first_difference
from tests.tiny_models import save_tiny_model

EVALUATION: dict[str, Any] = {
    "data": "sample",
    "variants": ["shared", "control-shared-0"],
    "benchmarks": [{"name": "xnli", "max_items": 4}, {"name": "xquad", "max_items": 2, "max_gen_toks": 2}],
    "engine": {"backend": "hf", "max_model_len": 8192},
}


class Study:
    """A tiny model with detection and selection done in this process."""

    def __init__(self, model: Path, store: Path, **sections: Any) -> None:
        config = tiny_config(
            model, store, selection={"target_shared": 0.05}, detection={"mode": "full"}, **sections
        )
        self.store, self.subject = Store(config.store), Subject.open(config, config.models[0])
        self.subject._group = InProcess(model)
        prepare_corpora(self.subject, self.store, "run")
        self.selected: Selected = detect_and_select(self.subject, self.store, "run")

    def with_judge(self) -> LocalJudge:
        self.subject._judge = LocalJudge(self.subject)
        judge: LocalJudge = self.subject._judge
        return judge


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny", max_position_embeddings=8192)


@pytest.fixture(scope="module")
def study(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(model, tmp_path_factory.mktemp("study") / "store", evaluation=EVALUATION)


def test_scores_samples_and_verdicts_are_stored_once(study: Study) -> None:
    judge = study.with_judge()
    judged = judged_variants(study.selected, EVALUATION["variants"])
    assert [str(variant.name) for variant in judged] == ["base", "shared", "control-shared-0"]
    evaluated = evaluate(study.subject, study.store, "run", judged)
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
    assert shared["n_neurons"] == len(study.selected.selection.shared) and shared["kind"] == "shared"
    assert len(study.store.read("samples")) == 3 * (2 * 4 + 2 * 2)  # XQuAD: exact match and F1
    unit = store_verdicts(study.subject, study.store, "run", judged, evaluated)
    verdicts = study.store.read("verdicts").to_pylist()
    assert {(row["variant"], row["baseline"]) for row in verdicts} == {
        (str(variant), str(baseline)) for variant, baseline in comparisons(judged)
    }
    assert len(verdicts) == 3 * 3
    again = evaluate(study.subject, study.store, "run", judged)
    assert judge.n_calls == 9 and again == evaluated
    assert store_verdicts(study.subject, study.store, "run", judged, evaluated) == unit


class Stop(Exception):
    """In place of a SIGKILL."""


class Stopping(LocalJudge):
    """Stops at the call after `n_left` of them."""

    def __init__(self, subject: Subject, n_left: int) -> None:
        super().__init__(subject)
        self.n_left = n_left

    def call(self, method: str, *arguments: Any) -> Any:
        if self.n_calls == self.n_left:
            raise Stop
        return super().call(method, *arguments)


def test_an_interrupted_evaluation_goes_on_at_the_first_missing(study: Study, tmp_path: Path) -> None:
    judged = judged_variants(study.selected, EVALUATION["variants"])
    whole, cut = Store(tmp_path / "whole"), Store(tmp_path / "cut")
    study.with_judge()
    evaluated = evaluate(study.subject, whole, "run", judged)
    study.subject._judge = Stopping(study.subject, 4)
    with pytest.raises(Stop):
        evaluate(study.subject, cut, "run", judged)
    # Four were judged; the fifth is XQuAD in sw, which does not exist.
    assert len(cut.missing("scores", evaluated)) == len(evaluated) - 5
    rest = study.with_judge()
    assert evaluate(study.subject, cut, "run", judged) == evaluated
    assert rest.n_calls == 9 - 4
    difference = first_difference(whole, cut)
    assert difference is None, str(difference)


def test_a_unit_cut_between_samples_and_scores_is_done_again(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        evaluate(study.subject, store, "run", judged_variants(study.selected, []))
    assert written == ["samples", "scores"] and len(store.read("samples")) == 4
    evaluate(study.subject, store, "run", judged_variants(study.selected, []))
    assert judge.n_calls == 1 + 3 and len(store.read("samples")) == 2 * 4 + 2 * 2


def test_bad_data_are_refused_before_the_engine_starts(model: Path, tmp_path: Path) -> None:
    evaluation = EVALUATION | {"data": str(tmp_path / "nowhere")}
    study = Study(model, tmp_path / "store", evaluation=evaluation)
    with pytest.raises(BenchmarkError, match="hf download"):
        evaluate(study.subject, study.store, "run", judged_variants(study.selected, []))
    assert study.subject._judge is None


def test_perplexity_through_the_engine_is_that_of_the_workers(
    study: Study, model: Path, tmp_path: Path
) -> None:
    study.subject._group = InProcess(model)
    by_workers = ablate(study.subject, study.store, "run", study.selected)
    through = Study(model, tmp_path / "store", evaluation=EVALUATION, ablation={"through": "engine"})
    through.with_judge()
    by_engine = ablate(through.subject, through.store, "run", through.selected)
    assert by_workers.keys() == by_engine.keys() and set(by_workers.values()).isdisjoint(by_engine.values())
    key = ["variant", "language", "sentence"]
    tables = [
        s.store.read("perplexities").sort_by([(name, "ascending") for name in key]) for s in (study, through)
    ]
    assert tables[0].select([*key, "n_tokens"]).equals(tables[1].select([*key, "n_tokens"]))
    for ours, theirs in zip(*(table["nll_nats"].to_pylist() for table in tables), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)

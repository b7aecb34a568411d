"""What W&B itself, offline, has written of a study and of nights; and that its failures cost a run one warning."""

import functools
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.pipelines.config.study import NightlyConfig, StudyConfig
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.progress import console
from polyneuron.pipelines.run.record import Run
from polyneuron.pipelines.tracking import weights_and_biases
from polyneuron.pipelines.tracking.numbers import NIGHT
from polyneuron.pipelines.tracking.tracker import tracker_of
from polyneuron.pipelines.tracking.tracking import Tracking, tracked
from tests.pipelines.tracking.offline_files import offline_runs

SECRET = "hunter2Secret"
EMPTY = {"string": "x", "int64": 0, "int32": 0, "double": 0.0, "bool": True}


wandb = pytest.importorskip("wandb")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("WANDB_API_KEY", "WANDB_PROJECT", "WANDB_DIR", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path))  # without a key that `wandb login` keeps
    yield
    with suppress(ConnectionError):  # to its process, where a test has killed it
        wandb.teardown()  # which has read the environment once


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines = list[str]()
    monkeypatch.setattr(console, "print", lambda text, **_: lines.append(text))
    return lines


def study_config(store: Path, **more: Any) -> StudyConfig:
    tracking = {"tracker": "wandb", "project": "languages"}
    return StudyConfig.model_validate(
        {"kind": "study", "models": [{"path": "m", "name": "tiny"}], "languages": ["en", "sw"]}
        | {"tracking": tracking, "store": str(store)}
        | more
    )


class Study:
    """A run on a store whose stages only write rows."""

    def __init__(self, config: StudyConfig) -> None:
        self.config, self.store = config, Store(config.store)
        self.run = Run(self.store, config)
        self.ledger = Ledger(self.store, "tiny", self.run.id)

    def put(self, table: str, unit: str, *rows: dict[str, Any]) -> None:
        if not self.ledger.done(table, unit):
            spec = TABLES[table]
            empty = {
                field.name: None if field.name in spec.optional else EMPTY[str(field.type)]
                for field in spec.schema
                if field.name not in ("run_id", "unit", "model")
            }
            where = {"variant": rows[0]["variant"]} if "variant" in rows[0] and table in ("scores",) else {}
            self.ledger.put(table, unit, [empty | row for row in rows], **where)

    def tracked(self) -> Any:
        begin = tracker_of(self.config.tracking)
        return tracked(begin, self.config, "study", store=self.store, model="tiny", run=self.run)

    def go(self, *trainings: str, fails: bool = False) -> None:
        self.run.record("running")
        with self.tracked() as tracking:
            self.ledger.hear(functools.partial(tracking.unit, self.ledger))
            with tracking.stage("ablation"):
                self.put("selections", "s", {"selection": "rule"})
                for variant, nats in (("base", 20.0), ("shared", 30.0)):
                    kind = {"selection": "rule", "variant": variant, "kind": variant, "n_tokens": 10}
                    rows = [
                        kind | {"language": code, "sentence": i, "nll_nats": nats}
                        for code in ("en", "sw")
                        for i in range(4)
                    ]
                    self.put("perplexities", f"p-{variant}", *rows)
            with tracking.stage("training"):
                for name in trainings:
                    self._train(name)
                if fails:
                    raise RuntimeError("the third is too much")
            with tracking.stage("evaluation"):
                score = {"benchmark": "mgsm", "language": "sw", "variant": "base", "metric": "acc"}
                score |= {"value": 0.5, "low": 0.25, "high": 0.75, "data": "hub", "primary": True}
                self.put("scores", "e", score, score | {"filter": "other", "primary": False, "value": 0.9})
            self.ledger.close_stage()
            tracking.study({"report": "stores/x/report.html"})

    def _train(self, name: str) -> None:
        steps = [{"variant": name, "step": i, "loss_nats": 3.0 - i} for i in range(3)]
        checks = [
            {"variant": name, "step": i, "language": "sw", "nll_nats": 8.0 - i, "n_tokens": 4} for i in (0, 3)
        ]
        self.put("validations", f"t-{name}", *checks)
        self.put("training", f"t-{name}", *steps)


def losses(sessions: list[Any], name: str) -> list[float]:
    key = f"training/{name}/loss_nats"
    return [row[key] for session in sessions for row in session.history if key in row]


def test_a_study_is_in_the_tracker(tmp_path: Path, said: list[str]) -> None:
    corpus = {"source": f"https://me:{SECRET}@example.org/{{language}}.txt?token={SECRET}"}
    Study(study_config(tmp_path / "store", corpus=corpus)).go("tuned-a", "tuned-b")
    (session,) = offline_runs(tmp_path / "store")
    assert session.exit_code == 0 and session.host == ""
    assert session.config["model"] == "tiny" and session.config["configuration"]["seed"] == 0
    assert (
        session.config["versions"]["torch"] and "***" in session.config["configuration"]["corpus"]["source"]
    )
    assert losses([session], "tuned-a") == losses([session], "tuned-b") == [3.0, 2.0, 1.0]
    assert session.axes["training/tuned-a/loss_nats"] == "training/step"
    curve = [row for row in session.history if any("tuned-a" in name for name in row)]
    assert [row["training/step"] for row in curve] == [0, 1, 2, 3]
    assert [row.get("validation/tuned-a/sw/nats_per_token") for row in curve] == [2.0, None, None, 1.25]
    summary = session.summary
    ends = [summary[f"scores/mgsm/sw/base{end}"] for end in ("", "/low", "/high")]
    assert ends == [0.5, 0.25, 0.75]
    assert summary["perplexity/sw"] == pytest.approx(2.718281828**2, rel=1e-6)
    factors = [summary[f"perplexity_factor/shared/en{end}"] for end in ("", "/low", "/high")]
    assert factors == pytest.approx([2.718281828] * 3, rel=1e-6)
    assert summary["links/report"] == "stores/x/report.html" and summary["stage_seconds/training"] >= 0
    files = [file.read_bytes() for file in (tmp_path / "store").rglob("*") if file.is_file()]
    assert files and not any(SECRET.encode() in content for content in files)
    assert not any("Warning" in line for line in said)


def test_a_resumed_study_goes_on_with_its_run_and_tells_nothing_twice(tmp_path: Path) -> None:
    config = study_config(tmp_path / "store")
    with pytest.raises(RuntimeError):
        Study(config).go("tuned-a", "tuned-b", fails=True)
    Study(config).go("tuned-a", "tuned-b", "tuned-c")
    Study(config).go("tuned-a", "tuned-b", "tuned-c")
    sessions = offline_runs(tmp_path / "store")
    assert [session.exit_code for session in sessions] == [1, 0, 0]
    assert len({session.id for session in sessions}) == 1
    for name in ("tuned-a", "tuned-b", "tuned-c"):
        assert losses(sessions, name) == [3.0, 2.0, 1.0]
    timed = [{name for name in session.summary if name.startswith("stage_seconds")} for session in sessions]
    assert timed == [
        {"stage_seconds/ablation"},
        {"stage_seconds/training", "stage_seconds/evaluation"},
        set(),
    ]
    other = study_config(tmp_path / "store", tracking={"tracker": "wandb", "project": "other"})
    Study(other).go("tuned-a")
    last = offline_runs(tmp_path / "store")[-1]
    assert losses([last], "tuned-a") == [3.0, 2.0, 1.0] and last.id != sessions[0].id


def test_nights_are_points_of_one_run(tmp_path: Path) -> None:
    sessions = []
    for label, value in (("mon", 0.5), ("mon", 0.5), ("tue", 0.75)):
        config = NightlyConfig.model_validate(
            {"models": [{"path": "m", "name": "tiny"}], "languages": ["en"], "night": label}
            | {"evaluation": {"benchmarks": ["xnli"], "data": "sample"}, "tracking": {"tracker": "wandb"}}
            | {"store": str(tmp_path / "store")}
        )
        study = Study(config)  # type: ignore[arg-type]
        study.run.record("ok")
        score = {"night": label, "benchmark": "xnli", "language": "en", "variant": "base", "metric": "acc"}
        study.put("scores", label, score | {"value": value, "data": "sample"})
        with study.tracked() as tracking:
            tracking.night(label, "ok", {"summary": "nightly.html"})
    sessions = offline_runs(tmp_path / "store")
    rows = [row for session in sessions for row in session.history]
    assert [(row[NIGHT], row["night/label"], row["sample_scores/xnli/en/base"]) for row in rows] == [
        (1, "mon", 0.5),
        (2, "tue", 0.75),
    ]
    assert len({session.id for session in sessions}) == 1 and sessions[-1].summary["links/summary"]


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Accepts connections, and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_does_not_answer_costs_a_warning_and_can_be_told_later(
    tmp_path: Path, silent_server: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", silent_server)
    monkeypatch.setenv("WANDB_API_KEY", f"{SECRET}{'0' * 30}")
    monkeypatch.setattr(weights_and_biases, "_BEGINNING_S", 1.0)
    Study(study_config(tmp_path / "store")).go("tuned-a")
    warnings = [line for line in said if "Warning" in line]
    assert len(warnings) == 1 and SECRET not in "".join(said)
    wandb.teardown()
    monkeypatch.setenv("WANDB_MODE", "offline")
    Study(study_config(tmp_path / "store")).go("tuned-a")
    assert losses(offline_runs(tmp_path / "store"), "tuned-a") == [3.0, 2.0, 1.0]
    files = [file.read_bytes() for file in (tmp_path / "store").rglob("*") if file.is_file()]
    assert not any(SECRET.encode() in content for content in files)


def test_a_tracker_that_dies_costs_a_warning(tmp_path: Path, said: list[str]) -> None:
    import psutil

    study = Study(study_config(tmp_path / "store"))
    with study.tracked() as tracking:
        (process,) = [
            child for child in psutil.Process().children(recursive=True) if "wandb" in child.name().lower()
        ]
        process.kill()
        process.wait(timeout=10)
        for number in range(3):
            tracking.curve(f"curve {number}", NIGHT, lambda: [{NIGHT: 1.0}])
    assert len([line for line in said if "Warning" in line]) == 1


def test_nothing_is_told_unless_asked_for(tmp_path: Path) -> None:
    study = Study(study_config(tmp_path / "store", tracking={}))
    assert tracker_of(study.config.tracking) is None
    study.go("tuned-a")
    assert not (tmp_path / "store" / "wandb").exists() and not study.store.read("tracked").num_rows


def test_without_a_tracker_a_failure_is_none_of_its_business(tmp_path: Path) -> None:
    config = study_config(tmp_path / "store", tracking={})
    study = Study(config)
    tracking = Tracking(study.store, "tiny", study.run, config.tracking)
    tracking.night("mon", "ok", {})
    tracking.close(failed=True)

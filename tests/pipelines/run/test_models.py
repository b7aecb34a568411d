"""Models of a run: several at work at once, what each says, and what becomes of those that fail. No cluster, no weights."""

import io
import threading
from pathlib import Path

import pytest
from rich.console import Console

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import ConfigError, ModelError
from polyneuron.pipelines.config.evaluation import EngineConfig
from polyneuron.pipelines.config.study import ClusterConfig, ModelConfig, StudyConfig
from polyneuron.pipelines.run import progress
from polyneuron.pipelines.run.models import _local_cores, each_model, exit_code
from polyneuron.pipelines.run.record import Run

MODELS = tuple(ModelConfig(path=f"org/{name}", name=name) for name in "abc")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(Store(tmp_path), StudyConfig(models=MODELS))


@pytest.fixture(params=[True, False], ids=["terminal", "file"])
def said(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    text = io.StringIO()
    console = Console(file=text, force_terminal=request.param, highlight=False, width=200)
    monkeypatch.setattr(progress, "console", console)
    return text


def test_a_model_that_fails_is_kept_with_its_stage_and_reason(run: Run, said: io.StringIO) -> None:
    def work(model: ModelConfig) -> str:
        if model.label == "a":
            raise ModelError("No model at org/a")
        with run.timed("corpora"):
            pass
        with run.timed("detection"):
            if model.label == "b":
                raise ZeroDivisionError("by zero")
        return model.label

    assert each_model(MODELS, ClusterConfig(), None, run, work) == ["c"]
    assert [(failure["model"], failure["stage"]) for failure in run.failures] == [
        ("a", "opening the model"),
        ("b", "detection"),
    ]
    assert run.failures[0]["reason"] == "No model at org/a"
    assert "unexpected ZeroDivisionError: by zero" in run.failures[1]["reason"]
    assert exit_code(run) == 1 and run.outcome == "partly failed" and run.reached_all
    assert "failed: a, b; the other models are done" in said.getvalue()


def test_where_every_model_fails_none_is_done(run: Run, said: io.StringIO) -> None:
    def work(model: ModelConfig) -> None:
        raise ModelError(f"No model at {model.path}")

    assert each_model(MODELS, ClusterConfig(), None, run, work) == []
    assert exit_code(run) == 2 and run.outcome == "failed"
    assert "failed: a, b, c" in said.getvalue() and "done" not in said.getvalue()


def test_the_only_models_error_is_the_runs(run: Run) -> None:
    def work(model: ModelConfig) -> None:
        raise ConfigError("no")

    with pytest.raises(ConfigError):
        each_model(MODELS[:1], ClusterConfig(), None, run, work)
    assert [failure["model"] for failure in run.failures] == ["a"] and run.reached_all


def test_an_interrupted_run_does_not_speak_for_models_it_did_not_reach(run: Run) -> None:
    def work(model: ModelConfig) -> None:
        raise ModelError("No model at org/a") if model.label == "a" else KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        each_model(MODELS, ClusterConfig(), None, run, work)
    assert [failure["model"] for failure in run.failures] == ["a"] and not run.reached_all


def test_bars_and_lines_of_threads_carry_their_models_name(said: io.StringIO) -> None:
    """Both bars are open at the same time, which one live display of rich after the other could not be."""
    both = threading.Barrier(2)

    def work(name: str) -> None:
        with progress.speaking_of(name), progress.bar("detecting en") as report:
            both.wait(timeout=100)
            report(1, 2)
            progress.say("  half done")
            both.wait(timeout=100)

    with progress.side_by_side():
        threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=100)
    progress.say("  the end")
    text = said.getvalue()
    assert "a: half done" in text and "b: half done" in text and "  the end" in text
    if progress.console.is_terminal:
        assert "a: detecting en" in text and "b: detecting en" in text


@pytest.mark.parametrize(
    ("world_size", "engine_threads", "at_once", "machine", "cores"),
    [
        (1, None, 3, 8, 3),
        (2, None, 4, 2, 2),  # queued: the machine has cores for one model
        (4, None, 2, 2, 4),  # one model must fit, as it would alone
        (1, 3, 2, 16, 6),
    ],
)
def test_a_ray_of_our_own_offers_the_cores_there_are(
    monkeypatch: pytest.MonkeyPatch,
    world_size: int,
    engine_threads: int | None,
    at_once: int,
    machine: int,
    cores: int,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: machine)
    engine = None if engine_threads is None else EngineConfig(threads=engine_threads)
    assert _local_cores(ClusterConfig(world_size=world_size), engine, at_once) == cores

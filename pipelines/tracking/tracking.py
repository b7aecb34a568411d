"""What a run tells a tracker: each curve once, however often the run is resumed. What goes wrong there costs the run nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from polyneuron.eval.store.store import Store
from polyneuron.eval.store.units import unit_key
from polyneuron.neuron_core.common.redact import redacted, redacted_within
from polyneuron.pipelines.config.study import NightlyConfig, StudyConfig
from polyneuron.pipelines.config.tracking import TrackingConfig
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.progress import say, show
from polyneuron.pipelines.run.record import Run, hardware, reason_of, versions
from polyneuron.pipelines.tracking.numbers import (
    NIGHT,
    Values,
    night_row,
    perplexities_of,
    scores_of,
    training_curve,
)
from polyneuron.pipelines.tracking.tracker import TrackedRun, Tracker

Begin = Callable[[TrackedRun], Tracker]
_BEGUN = "begun"


class Tracking:
    """One model of one run, as a tracker is shown it. Without a tracker, and after its first failure, nothing happens here."""

    def __init__(self, store: Store, model: str, run: Run, config: TrackingConfig) -> None:
        """Tells nothing before `begin`."""
        self._store, self._model, self._run = store, model, run
        self._names = {"tracker": config.tracker, "project": _project_of(config)}
        self._tracker: Tracker | None = None
        self._tracked_run = f"{run.id}-{unit_key(model=model)[:6]}"
        self._told: frozenset[str] = frozenset()
        self._n_files, self._is_new = 0, False

    def begin(self, begin: Begin, kind: str, configuration: Mapping[str, Any]) -> None:
        """Begins the tracker's run, or goes on with the one that an earlier run on this store began. `kind`: the command."""
        with self._spared("did not begin"):
            own = {"model": self._model, **self._names}
            before = self._store.read("tracked", [(name, "=", value) for name, value in own.items()])
            self._told = frozenset(before["told"].to_pylist())
            if before.num_rows:
                self._tracked_run = str(before["tracked_run"][0])
            place = redacted(self._store.root)
            wants_folder = "://" not in self._store.root and "WANDB_DIR" not in os.environ
            self._tracker = begin(
                TrackedRun(
                    id=self._tracked_run,
                    name=f"{self._model} ({place})",
                    group=place,
                    kind=kind,
                    project=self._names["project"],
                    config={
                        "model": self._model,
                        "configuration": redacted_within(configuration),
                        "versions": versions(),
                        "hardware": hardware(),
                    },
                    folder=self._store.root if wants_folder else None,
                )
            )
            self._remember(_BEGUN)
            say(f"  tracked: {self._tracker.where}")

    def curve(self, name: str, axis: str, rows: Callable[[], Sequence[Mapping[str, float | str]]]) -> None:
        """Tells points over `axis`, unless an earlier run has told the tracker those of this name."""
        if self._tracker is None or name in self._told:
            return
        with self._spared(f"was not told {name}"):
            self._tracker.curve(axis, rows())
            self._remember(name)

    def values(self, values: Callable[[], Mapping[str, float | str]]) -> None:
        """Tells values of the run as a whole."""
        if self._tracker is not None:
            with self._spared("was not told the results"):
                self._tracker.values(values())

    def unit(self, ledger: Ledger, table: str, unit: str, is_new: bool) -> None:
        """Tells what a unit of the study holds: the curve of a training, or scores."""
        self._is_new |= is_new
        if table == "training":
            self.curve(f"training {unit}", "training/step", lambda: training_curve(ledger, unit))
        if table == "scores":
            self.values(lambda: scores_of(ledger.read("scores", [unit]).to_pylist()))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Inside, a stage runs; its seconds are told if it made anything, since they say nothing of what is in the store."""
        began, self._is_new = time.monotonic(), False
        yield
        if self._is_new:
            seconds = round(time.monotonic() - began, 3)
            self.values(lambda: {f"stage_seconds/{name}": seconds})

    def study(self, links: Mapping[str, str]) -> None:
        """Tells what the study of the model came to: perplexities, and links."""
        self.values(lambda: perplexities_of(self._store, self._run.id, self._model) | _linked(links))

    def night(self, label: str, outcome: str, links: Mapping[str, str]) -> None:
        """Tells one night: its scores and how it ended as a point of curves over all nights, unless it was told so already; and
        links."""
        row: Values = {}
        if self._tracker is not None:
            with self._spared("was not told the night"):
                row = night_row(self._store, self._model, label, outcome)
        self.curve(f"night {unit_key(**row)}", NIGHT, lambda: [row])
        self.values(lambda: _linked(links))

    def close(self, failed: bool) -> None:
        """Ends the tracker's run for now."""
        if self._tracker is not None:
            with self._spared("was not closed"):
                self._tracker.close(failed)
        self._tracker = None

    def _remember(self, told: str) -> None:
        if told in self._told:
            return
        self._told |= {told}
        self._n_files += 1
        row = {**self._names, "tracked_run": self._tracked_run, "told": told}
        file = f"{self._run.id}-{self._n_files:03}"
        self._store.write("tracked", [row], file, {"model": self._model}, run_id=self._run.id)

    @contextmanager
    def _spared(self, what_failed: str) -> Iterator[None]:
        """Turns an exception inside into the one warning of this run, after which the tracker is left alone."""
        try:
            yield
        except Exception as error:
            self._tracker = None
            why = redacted(reason_of(error, what_failed)).rstrip(".")
            show(
                f"Warning: the tracker {what_failed}: {why}. Nothing else is affected; the same command, run again, tells it "
                f"what it missed of {self._model}"
            )


@contextmanager
def tracked(
    begin: Begin | None, config: StudyConfig | NightlyConfig, kind: str, *, store: Store, model: str, run: Run
) -> Iterator[Tracking]:
    """One model of a run, in the tracker that `begin` begins; None: in none. `kind`: the command."""
    tracking = Tracking(store, model, run, config.tracking)
    if begin is not None:
        tracking.begin(begin, kind, config.model_dump(mode="json"))
    has_failed = True
    try:
        yield tracking
        has_failed = False
    finally:
        tracking.close(has_failed)


def _linked(links: Mapping[str, str]) -> Values:
    return {f"links/{name}": redacted(link) for name, link in links.items()}


def _project_of(config: TrackingConfig) -> str:
    return config.project or os.environ.get("WANDB_PROJECT") or "polyneuron"

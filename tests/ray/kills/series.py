"""SIGKILLs of every process of a local Ray at random moments of whole studies, with training and benchmarks: the tables must be
those of an undisturbed study, and nothing may be left.

    python -m tests.ray.kills.series --kills 60 --seed 0

A study ends when its command ends well; kills that are then still to be made hit the next study.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from polyneuron.eval.store.same_tables import first_difference
from polyneuron.eval.store.store import Store
from tests.ray.kills.traces import DRIVER, KINDS, Traces, by_kind
from tests.tiny_models import save_tiny_model

ROOT = Path(__file__).parents[3]
GRACE_S = 10.0
"""How long what Ray started may take to notice that the command is gone."""
_LONGEST_S, _POLL_S, _MOST_LINES = 600.0, 0.2, 10
_MOST_STARTS = 60
CONFIG = """
kind: study
models: [{{path: {model}, name: tiny}}]
languages: [en, sw]
corpus: {{n_detection: 6, n_heldout: 4, max_tokens: 16}}
detection: {{floor_fraction: 0.5}}
selection: {{target_shared: 0.05}}
ablation: {{shared_control_seeds: 1, exclusive_control_seeds: 0, n_bootstrap: 50}}
training: {{languages: [sw], strategies: [shared], mixture: embedded, n_documents: all, max_tokens: 64, global_batch: 4,
  max_steps: 4, learning_rate: 0.001, validate_every: 2, n_validation: 4, checkpoint_every: 1}}
evaluation: {{data: sample, benchmarks: [{{name: xnli, max_items: 4}}], variants: [shared, tuned-*],
  engine: {{max_model_len: 4096, max_num_seqs: 4, tensor_parallel: {ranks}}}}}
cluster: {{world_size: {ranks}, threads_per_worker: 1}}
store: {store}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class KillOfKind:
    """One kill, and what came of it."""

    study: int
    """Which study, from 0."""
    kind: str
    """What was killed."""
    at_s: float
    """Seconds since its command was started."""
    code: int
    """How the command ended."""
    after_s: float
    """Seconds from the kill until then."""
    said: str
    """The last line of the command."""


@dataclass
class Found:
    """What a series found; `faults` is empty when all is well."""

    kills: list[KillOfKind] = field(default_factory=list)
    n_studies: int = 0
    n_starts: int = 0
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """Keeps a fault, and prints it."""
        self.faults.append(text)
        print(f"FAULT: {text}", flush=True)


class KilledStudy:
    """One study in folders of its own, started again until it ends well."""

    def __init__(self, folder: Path, model: Path, ranks: int, overrides: tuple[str, ...]) -> None:
        folder.mkdir()
        self.traces, self._overrides = Traces(folder), overrides
        self._config = folder / "study.yaml"
        self._config.write_text(
            CONFIG.format(model=model, store=self.traces.store, ranks=ranks), encoding="utf-8"
        )
        self._said = folder / "said"

    def start(self) -> psutil.Popen:
        """The command, in a session of its own."""
        line = [sys.executable, "-m", "polyneuron.pipelines.cli", "study", "--config", str(self._config)]
        line += self._overrides
        with self._said.open("wb") as said:
            return psutil.Popen(
                line,
                cwd=ROOT,
                env=self.traces.environment,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def said(self) -> str:
        """What the command has said since its last start."""
        return self._said.read_text("utf-8", errors="replace")

    def faults_of_end(self, code: int, allowed: set[int]) -> list[str]:
        """What is wrong with how the command has ended."""
        said = self.said()
        found = [] if code in allowed else [f"ended with {code}"]
        if "Traceback" in said or "*** SIG" in said:
            found.append("said a traceback")
        _, mark, message = said.rpartition("polyneuron: ")
        if code > 0 and (not mark or len(message.strip().splitlines()) > _MOST_LINES):
            found.append("no clear message")
        if orphans := self.traces.orphans(GRACE_S):
            found.append(f"left running: {orphans}")
        return [f"{text}\n{said[-3000:]}" if index == 0 else text for index, text in enumerate(found)]


def undisturbed(study: KilledStudy, found: Found) -> dict[str, float]:
    """The study, left alone; for how many seconds there was a process of each kind."""
    process, seconds = study.start(), dict.fromkeys(KINDS, 0.0)
    began = last = time.monotonic()
    while process.poll() is None and last - began < _LONGEST_S:
        present = [kind for kind, alive in by_kind(process).items() if alive]
        now = time.monotonic()
        for kind in present:
            seconds[kind] += now - last
        last = now
        time.sleep(_POLL_S)
    if process.poll() is None:
        process.kill()
        raise TimeoutError(f"the undisturbed study ran for more than {_LONGEST_S:g} s")
    for fault in study.faults_of_end(process.returncode, {0}):
        found.fault(f"undisturbed: {fault}")
    if left := study.traces.files():
        found.fault(f"undisturbed: left {left}")
    return seconds


class Clocks:
    """One for each kind, which runs while there is a process of it, and strikes at random moments so many times."""

    def __init__(self, kinds: tuple[str, ...], n_kills: int, seconds: dict[str, float], dice: random.Random):
        self._left = Counter(kinds[index % len(kinds)] for index in range(n_kills))
        self._seconds, self._dice = seconds, dice
        self._due_s = {kind: self._drawn(kind) for kind in kinds}

    @property
    def n_left(self) -> int:
        """Kills that are still to be made."""
        return self._left.total()

    def struck(self, present: list[str], passed_s: float) -> str | None:
        """The kind to kill now, if any; `present`: kinds of which there has been a process for `passed_s`."""
        for kind in present:
            self._due_s[kind] = self._due_s.get(kind, 0.0) - passed_s
        due = [kind for kind in present if self._left[kind] and self._due_s[kind] <= 0]
        return min(due, key=self._due_s.__getitem__, default=None)

    def killed(self, kind: str) -> None:
        """Counts a kill."""
        self._left[kind] -= 1
        self._due_s[kind] = self._drawn(kind)

    def _drawn(self, kind: str) -> float:
        return self._dice.random() * self._seconds[kind]


def disturbed(study: KilledStudy, clocks: Clocks, dice: random.Random, found: Found) -> None:
    """One study to its end, with the kills that fall into it."""
    for _ in range(_MOST_STARTS):
        process, began, killed = study.start(), time.monotonic(), list[tuple[str, float]]()
        found.n_starts += 1
        last = began
        while process.poll() is None and time.monotonic() - began < _LONGEST_S:
            time.sleep(_POLL_S)
            now, alive = time.monotonic(), by_kind(process)
            kind = clocks.struck([kind for kind, those in alive.items() if those], now - last)
            last = now
            if kind is None:
                continue
            try:
                dice.choice(alive[kind]).kill()
            except psutil.NoSuchProcess:
                continue
            killed.append((kind, now))
            clocks.killed(kind)
        _ended(study, process, began, killed, found)
        if process.returncode == 0 or not killed:
            return
    found.fault(f"study {found.n_studies} did not end in {_MOST_STARTS} starts")


def _ended(
    study: KilledStudy,
    process: psutil.Popen,
    began: float,
    killed: list[tuple[str, float]],
    found: Found,
) -> None:
    """Looks at how one start ended, and keeps its kills."""
    where = f"study {found.n_studies}, start {found.n_starts}, killed {[kind for kind, _ in killed]}"
    if process.poll() is None:
        found.fault(f"{where}: did not end; {study.said()[-1000:]}")
        process.kill()
        process.wait()
    ended, code = time.monotonic(), process.returncode
    allowed = {-9} if killed and killed[-1][0] == DRIVER else {0, 2} if killed else {0}
    for fault in study.faults_of_end(code, allowed):
        found.fault(f"{where}: {fault}")
    last = (study.said().strip().splitlines() or [""])[-1].strip()
    for kind, at in killed:
        kill = KillOfKind(
            study=found.n_studies, kind=kind, at_s=at - began, code=code, after_s=ended - at, said=last
        )
        found.kills.append(kill)
        outcome = f"ended with {code} {kill.after_s:.1f} s later: {last[:140]}"
        print(
            f"kill {len(found.kills)}: study {kill.study}, {kind} at {kill.at_s:.1f} s, {outcome}", flush=True
        )


def series(
    folder: Path,
    *,
    n_kills: int,
    seed: int,
    ranks: int = 1,
    kinds: tuple[str, ...] = KINDS,
    overrides: tuple[str, ...] = (),
) -> Found:
    """An undisturbed study, and as many disturbed ones as `n_kills` kills take, as many of each of `kinds`. overrides: of the
    configuration."""
    dice, found = random.Random(seed), Found()
    model = save_tiny_model(folder / "tiny", hidden_size=128, max_position_embeddings=4096)
    whole = KilledStudy(folder / "u", model, ranks, overrides)
    seconds = undisturbed(whole, found)
    print("undisturbed, seconds with a process of each kind:", seconds, flush=True)
    clocks = Clocks(kinds, n_kills, seconds, dice)
    while clocks.n_left and found.n_studies < n_kills:
        study = KilledStudy(folder / f"{found.n_studies}", model, ranks, overrides)
        disturbed(study, clocks, dice, found)
        if difference := first_difference(Store(str(whole.traces.store)), Store(str(study.traces.store))):
            found.fault(f"study {found.n_studies}: {difference}")
        if left := study.traces.files():
            found.fault(f"study {found.n_studies}: left {left}")
        found.n_studies += 1
    return found


def main() -> int:
    """0 when all kills were made and nothing was wrong, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(KINDS))
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="k", dir="/tmp") as folder:
        found = series(
            Path(folder),
            n_kills=asked.kills,
            seed=asked.seed,
            ranks=asked.ranks,
            kinds=tuple(asked.kinds.split(",")),
        )
    by_kind = ", ".join(f"{n} x {kind}" for kind, n in Counter(kill.kind for kill in found.kills).items())
    codes = Counter((kill.kind, kill.code) for kill in found.kills)
    print(
        f"{len(found.kills)} kills ({by_kind}), {found.n_studies} studies, {found.n_starts} starts, "
        f"{time.monotonic() - began:.0f} s, ends {dict(codes)}, {len(found.faults)} faults"
    )
    return int(bool(found.faults) or len(found.kills) < asked.kills)


if __name__ == "__main__":
    sys.exit(main())

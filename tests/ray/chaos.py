"""Random kills of workers, nodes and the driver while a study runs: its tables must be those of an undisturbed one.

    python -m tests.ray.chaos --kills 20 --seed 0

Starts a Ray cluster of a head and two nodes on this machine, and kills only what belongs to it. A killed driver is started
again by the same command, a lost node is replaced by a fresh one; whether a kill hits workers that start, work or end is
left to the dice.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from polyneuron.eval.store.same_tables import Difference, first_difference
from polyneuron.eval.store.store import Store
from tests.ray.nodes import Nodes, environment, nodes_up
from tests.tiny_models import save_tiny_model

ROOT = Path(__file__).parents[2]
KINDS = ("worker", "node", "driver")
_LONGEST_S = 3600.0
CONFIG = """
kind: study
models: [{{path: {model}, name: tiny}}]
languages: [en, zh, th, sw, fr, de]
corpus: {{n_detection: 20, n_heldout: 10, max_tokens: 16}}
detection: {{floor_fraction: 0.5}}
selection: {{target_shared: 0.02}}
activations: {{detectors: [lape], sites: [matched]}}
ablation: {{shared_control_seeds: 20, exclusive_control_seeds: 6, n_bootstrap: 50, variants_per_pass: 1}}
cluster: {{world_size: 2, threads_per_worker: 1, max_restarts: 1000}}
store: {store}
"""


@dataclass(frozen=True)
class Kill:
    """One kill: what, its process, seconds since the start, and how many of all files were stored."""

    kind: str
    pid: int
    at_s: float
    files: int


@dataclass(frozen=True)
class Outcome:
    """The kills, how often the command was started, the first difference to the undisturbed tables (None: none)."""

    kills: list[Kill]
    starts: int
    seconds: float
    difference: Difference | None


def command(folder: Path, model: Path) -> list[str]:
    """The study whose store lies in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "study.yaml"
    config.write_text(CONFIG.format(model=model, store=folder / "store"))
    return [sys.executable, "-m", "polyneuron.pipelines.cli", "study", "--config", str(config)]


def files_in(folder: Path) -> int:
    """Finished files of the tables in a study's store, those of runs left out."""
    return len(list((folder / "store").glob("*/model=*/**/*.parquet")))


def started(arguments: list[str], nodes: Nodes, folder: Path) -> subprocess.Popen[bytes]:
    """The command, running on the cluster; what it says is added to `said` in the folder."""
    with (folder / "said").open("ab") as said:
        return subprocess.Popen(arguments, cwd=ROOT, env=environment(nodes), stdout=said, stderr=said)


def undisturbed(nodes: Nodes, folder: Path, model: Path) -> None:
    """The study, left alone. Raises RuntimeError with what it said when it fails."""
    process = started(command(folder, model), nodes, folder)
    if process.wait(_LONGEST_S):
        raise RuntimeError((folder / "said").read_text("utf-8"))


def disturbed(
    nodes: Nodes, folder: Path, model: Path, kinds: list[str], dice: random.Random, n_files: int
) -> tuple[list[Kill], int]:
    """The study with one kill of each of `kinds`, in that order; the kills and how often it was started.

    Kills spread over the files that the study makes: each waits for a number of its own to be stored.
    """
    arguments, began, kills = command(folder, model), time.monotonic(), list[Kill]()
    due = sorted(dice.sample(range(int(0.9 * n_files)), len(kinds)))
    process, starts = started(arguments, nodes, folder), 1
    while time.monotonic() - began < _LONGEST_S:
        if process.poll() is not None:
            if process.returncode == 0:
                return kills, starts
            if process.returncode > 0:
                print(f"the command gave up: {_last_line(folder / 'said')}", flush=True)
            process, starts = started(arguments, nodes, folder), starts + 1
        wanted = len(kills) < len(kinds) and files_in(folder) >= due[len(kills)]
        if not wanted or not nodes.all_workers():
            time.sleep(0.02)
            continue
        time.sleep(dice.random() * 0.5)
        kind = kinds[len(kills)]
        pid = _kill(kind, nodes, process, dice)
        if pid is not None:
            kills.append(Kill(kind, pid, time.monotonic() - began, files_in(folder)))
            at = f"{kills[-1].at_s:.0f} s, {kills[-1].files} of {n_files} files"
            print(f"kill {len(kills)}: {kind} {pid}, {at}", flush=True)
    process.kill()
    raise TimeoutError(f"The study had not ended after {_LONGEST_S:g} s and {len(kills)} kills")


def _last_line(said: Path) -> str:
    return said.read_text("utf-8").strip().splitlines()[-1]


def _kill(kind: str, nodes: Nodes, process: subprocess.Popen[bytes], dice: random.Random) -> int | None:
    """Kills one of a kind; its process, or None when there was none any more."""
    workers = nodes.all_workers()
    if process.poll() is not None or (kind != "driver" and not workers):
        return None
    if kind == "driver":
        process.kill()
        process.wait()
        return process.pid
    if kind == "node":
        node = nodes.busiest()
        pid: int = nodes.raylet(node).pid
        nodes.cut_power(node)
        nodes.add()
        return pid
    victim = dice.choice(workers)
    try:
        victim.kill()
    except psutil.NoSuchProcess:
        return None
    return victim.pid


def chaos(folder: Path, n_kills: int, seed: int) -> Outcome:
    """An undisturbed study and one with `n_kills` kills, on one cluster, and whether their tables are the same."""
    dice = random.Random(seed)
    kinds = [KINDS[index % len(KINDS)] for index in range(n_kills)]
    dice.shuffle(kinds)
    model = save_tiny_model(folder / "tiny")
    with nodes_up(count=2, cpus=2) as nodes:
        undisturbed(nodes, folder / "undisturbed", model)
        n_files = files_in(folder / "undisturbed")
        began = time.monotonic()
        kills, starts = disturbed(nodes, folder / "disturbed", model, kinds, dice, n_files)
        seconds = time.monotonic() - began
    difference = first_difference(
        Store(folder / "undisturbed" / "store"), Store(folder / "disturbed" / "store")
    )
    return Outcome(kills, starts, seconds, difference)


def main() -> int:
    """0 when all kills were made and the tables are identical, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = chaos(Path(folder), asked.kills, asked.seed)
    by_kind = ", ".join(f"{sum(kill.kind == kind for kill in found.kills)} x {kind}" for kind in KINDS)
    print(f"{len(found.kills)} kills ({by_kind}), {found.starts} starts, {found.seconds:.0f} s")
    print("tables identical to the undisturbed study" if found.difference is None else f"{found.difference}")
    return int(found.difference is not None or len(found.kills) < asked.kills)


if __name__ == "__main__":
    sys.exit(main())

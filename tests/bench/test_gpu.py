"""`python -m bench.gpu`: what it needs, what it prints and when it stops; on a CPU."""

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement

from bench.gpu.__main__ import SHARES, answer, as_json, main
from bench.gpu.scale import Scale

ROOT = Path(__file__).parents[2]
NEEDED = ("torch", "transformers", "triton")
WITHOUT = """
import importlib.machinery, runpy, sys
absent, finder = set(sys.argv.pop(1).split(",")), importlib.machinery.PathFinder
found = finder.find_spec
def find_spec(cls, name, path=None, target=None):
    return None if name.partition(".")[0] in absent else found(name, path, target)
finder.find_spec = classmethod(find_spec)
runpy.run_module("bench.gpu", run_name="__main__", alter_sys=True)
"""
CPU = Scale(torch.device("cpu"))


def not_needed() -> set[str]:
    """Importable names of everything installed that neither `NEEDED` nor what they require brings."""
    needed: set[str] = set()
    waiting = list(NEEDED)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in needed:
            continue
        needed.add(name)
        try:
            wanted = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:
            continue
        waiting += [w.name for w in wanted if w.marker is None or w.marker.evaluate({"extra": ""})]
    return {"pydantic"} | {  # which typer, which transformers requires for its own commands, brings along
        package
        for package, homes in packages_distributions().items()
        if not {home.lower().replace("_", "-") for home in homes} & {*needed, "polyneuron"}
    }


@pytest.mark.long
def test_every_question_is_answered_with_torch_and_transformers_alone() -> None:
    absent = not_needed()
    assert {"ray", "deepspeed", "vllm", "lm_eval", "duckdb", "pyarrow", "xxhash", "scipy"} <= absent
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT, ",".join(sorted(absent)), "--smoke"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [line["question"] for line in lines] == [ask.__name__ for ask in SHARES]
    assert {(line["status"], line["card"], line["torch"]) for line in lines} == {
        ("answered", "CPU", torch.__version__)
    }
    cases: dict[str, list[dict[str, Any]]] = {line["question"]: line["cases"] for line in lines}
    assert all(cases.values())
    exact = [case for case in cases["parity"] if case["dtype"] == "torch.float32"]
    assert max(max(case["largest"].values()) for case in exact) < 1e-4
    assert max(case["largest_difference"] for case in cases["equality"]) < 1e-5
    assert all(case["equal_bits"] for case in cases["determinism"] if case["against"] == "again")
    assert all(case["predicted_bytes"] > 0 and case["seconds"] > 0 for case in cases["detection"])
    full = [case["operators"] for case in cases["launches"] if case["run"] == "full"]
    assert full[0] > full[-1]  # smaller chunks, more operators


def slow(scale: Scale) -> Iterator[dict[str, Any]]:
    yield {"first": 1.0}
    time.sleep(60)
    yield {"second": 2.0}


def broken(scale: Scale) -> Iterator[dict[str, Any]]:
    yield {"first": float("nan")}
    raise ValueError("of no use")


def test_a_question_is_cut_inside_and_keeps_what_it_measured() -> None:
    line = answer(slow, CPU, 0.5)
    assert (line["status"], line["cases"]) == ("cut", [{"first": 1.0}])


def test_a_failed_question_gives_its_error_and_a_late_one_is_not_reached() -> None:
    line = json.loads(as_json(answer(broken, CPU, 60)))
    assert (line["status"], line["cases"], line["error"]) == (
        "failed",
        [{"first": None}],
        "ValueError: of no use",
    )
    assert answer(broken, CPU, -1)["status"] == "not reached"


def without_gradients(scale: Scale) -> Iterator[dict[str, Any]]:
    torch.set_grad_enabled(False)  # as an alarm leaves it that comes while no_grad ends
    yield {"first": 1.0}
    time.sleep(60)


def test_a_question_that_is_cut_leaves_gradients_to_the_next() -> None:
    assert answer(without_gradients, CPU, 0.5)["status"] == "cut"
    assert torch.is_grad_enabled()


def test_a_tiny_limit_holds_for_the_whole() -> None:
    # a process of its own: an alarm may leave half-built models behind
    command = [sys.executable, "-m", "bench.gpu", "--smoke", "--seconds", "0.01"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(lines) == len(SHARES) and {line["status"] for line in lines} <= {"cut", "not reached"}


def test_without_a_gpu_it_asks_for_smoke(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        main([])


class OnCard(Scale):
    """A CPU that passes for a card."""

    on_gpu = property(lambda self: True)  # type: ignore[assignment]


def test_a_card_is_asked_for_its_memory_and_its_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    for name, answered in {
        "synchronize": None,
        "reset_peak_memory_stats": None,
        "memory_allocated": 100,
        "max_memory_allocated": 350,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda answered=answered: answered)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def run() -> None:
        if modes:
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)

    card = OnCard(torch.device("cpu"))
    assert card.measured(run) | {"seconds": 0} == {"seconds": 0, "peak_bytes": 350, "extra_bytes": 250}
    launched = card.launched(run)
    assert list(launched["syncs"].values()) == [1] and next(iter(launched["syncs"])).startswith("test_gpu.py")
    assert modes == ["warn", "default"]

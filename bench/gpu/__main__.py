"""Asks every question of a GPU within a time limit, and prints one JSON line for each.

    python -m bench.gpu [--seconds 540] [--only QUESTION ...] [--smoke]

A line holds the question, its status ("answered", "cut" at the time limit, "failed" or "not reached"), its seconds, its
cases (see the question's docstring), the error of one that failed, the card's name and torch's version. The exit status is 1
when a question failed. `--smoke` asks the same at tiny widths on a CPU.
"""

import argparse
import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import torch

from bench.gpu.correctness import determinism, parity
from bench.gpu.detection import detection, launches
from bench.gpu.scale import Case, Scale
from bench.gpu.training import copies, equality, heads, training

Question = Callable[[Scale], Iterator[Case]]
SHARES: dict[Question, float] = {
    parity: 0.25,
    detection: 0.4,
    launches: 0.15,
    equality: 0.05,
    training: 0.2,
    copies: 0.05,
    heads: 0.1,
    determinism: 0.15,
}
"""The questions in order, and the largest share of the time that each may take."""


class OutOfTime(BaseException):
    """Raised wherever the program is when a time limit is reached; no `except Exception` holds it up."""


def answer(ask: Question, scale: Scale, seconds: float) -> dict[str, Any]:
    """Status, seconds, cases and error of a question that may take `seconds`; what it measured until then is kept."""
    line: dict[str, Any] = {"question": ask.__name__, "status": "not reached", "seconds": 0.0, "cases": []}
    if seconds <= 0:
        return line
    began, with_gradients = time.monotonic(), torch.is_grad_enabled()
    signal.signal(signal.SIGALRM, _stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, 10.0)  # and again, should a callback swallow the first
        try:
            for case in ask(scale):
                line["cases"].append(case)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        line["status"] = "answered"
    except OutOfTime:
        line["status"] = "cut"
    except Exception as error:
        traceback.print_exc()
        line |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    torch.set_grad_enabled(with_gradients)  # an alarm that comes while no_grad ends leaves it on
    return line | {"seconds": time.monotonic() - began}


def _stop(*_: object) -> None:
    raise OutOfTime


def as_json(line: dict[str, Any]) -> str:
    """One line of JSON: four digits a number, null for one that is not finite."""
    four_digits = json.loads(
        json.dumps(line), parse_float=lambda text: float(f"{float(text):.4g}"), parse_constant=lambda _: None
    )
    return json.dumps(four_digits)


def main(arguments: list[str] | None = None) -> int:
    """Prints a line for each question; returns the exit status."""
    names = [ask.__name__ for ask in SHARES]
    parser = argparse.ArgumentParser(prog="bench.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=540, help="time limit of the whole (default 540)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="QUESTION")
    parser.add_argument("--smoke", action="store_true", help="tiny widths, on a CPU")
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + options.seconds
    if not options.smoke and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; --smoke runs on a CPU")
    scale, failed = Scale(torch.device("cpu" if options.smoke else "cuda")), False
    about = {"card": torch.cuda.get_device_name() if scale.on_gpu else "CPU", "torch": torch.__version__}
    for ask, share in SHARES.items():
        if ask.__name__ in options.only:
            line = answer(ask, scale, min(deadline - time.monotonic(), share * options.seconds))
            failed |= line["status"] == "failed"
            print(as_json(line | about), flush=True)
            torch.cuda.empty_cache()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

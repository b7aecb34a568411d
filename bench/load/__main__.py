"""What large inputs cost: seconds and resident memory at three sizes, and the exponent by which both grow.

    python -m bench.load [NAME…] [--share 1] [--steps STEP…]

Measures each case at 1/16, 1/4 and 1 of `--share` of its full size, each step in a process of its own, on data that it writes to
TMPDIR and removes. An exponent of 1 is linear growth; of memory, it is that of what came on top of the process as it was.
"""

import argparse
import math
import shutil
import tempfile
from pathlib import Path

from bench.load import answers, context, corpora, results
from bench.load.case import measured
from bench.measuring import print_row, rows_of_process
from polyneuron.pipelines.run.progress import console

CASES = {**corpora.CASES, **results.CASES, **context.CASES, **answers.CASES}
PARTS = (1 / 16, 1 / 4, 1.0)


def main() -> None:
    """Measures the cases that are named, or all, and prints a table of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--share", type=float, default=1.0, help="of the full size")
    parser.add_argument("--steps", nargs="*", help="only these steps")
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        return _run(*options.run)
    if unknown := [name for name in options.names if name not in CASES]:
        parser.error(f"there is no case {unknown[0]}; there are {', '.join(CASES)}")
    for name in options.names or CASES:
        measure(name, options.share, options.steps)


def measure(name: str, share: float, steps: list[str] | None = None) -> None:
    """Prints the table of one case."""
    case, before = CASES[name], {}
    print(f"\n{name}: {case.full:,} {case.unit} at share 1")
    print(
        f"{'step':24} {case.unit:>12} {'seconds':>9} {'exponent':>9} {'peak MiB':>9} {'on top':>9} {'exponent':>9}"
    )
    for size in dict.fromkeys(max(case.smallest, round(share * part * case.full)) for part in PARTS):
        folder = Path(tempfile.mkdtemp(prefix="polyneuron-load-"))
        try:
            _in_process(name, "prepare", size, folder)
            for step in case.steps:
                if steps is None or step in steps:
                    seconds, peak, on_top = _in_process(name, step, size, folder)
                    earlier = before.get(step)
                    growth = [""] * 2
                    if earlier:
                        ratios = seconds / earlier[1], max(on_top, 1) / max(earlier[2], 1)
                        growth = [f"{math.log(ratio) / math.log(size / earlier[0]):.2f}" for ratio in ratios]
                    before[step] = size, seconds, on_top
                    row = f"{step:24} {size:12,} {seconds:9.2f} {growth[0]:>9} {peak:9,.0f} {on_top:9,.0f} {growth[1]:>9}"
                    print(row, flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _in_process(name: str, step: str, size: int, folder: Path) -> tuple[float, float, float]:
    (row,) = rows_of_process("bench.load", name, step, str(size), str(folder))
    return row["seconds"], row["peak"], row["on_top"]


def _run(name: str, step: str, size: str, folder: str) -> None:
    console.quiet = True
    case = CASES[name]
    wanted = case.prepare if step == "prepare" else case.steps[step]
    seconds, peak, on_top = measured(wanted, Path(folder), int(size))
    print_row({"seconds": seconds, "peak": peak, "on_top": on_top})


if __name__ == "__main__":
    main()

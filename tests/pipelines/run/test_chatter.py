"""What libraries print goes to the log, by whatever road; our own lines stay on the console."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SCRIPT = """
import logging, os, sys, warnings
from pathlib import Path
from polyneuron.pipelines.run.chatter import libraries_quiet
from polyneuron.pipelines.run.progress import say
with libraries_quiet(Path(sys.argv[1])):
    print("python stdout")
    print("python stderr", file=sys.stderr)
    os.write(1, b"native stdout\\n")
    os.write(2, b"native stderr\\n")
    logging.getLogger("library").warning("a record")
    warnings.warn("a warning")
    say("our line")
print("after")
say("our last line")
"""


def test_only_our_lines_reach_the_console(tmp_path: Path) -> None:
    log = tmp_path / "store" / "polyneuron.log"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(log)], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "after\n"
    clock = r"\d\d:\d\d:\d\d  "
    assert re.fullmatch(f"{clock}our line\n{clock}our last line\n", done.stderr)
    logged = log.read_text(encoding="utf-8")
    for line in ("python stdout", "python stderr", "native stdout", "native stderr", "a record", "a warning"):
        assert line in logged
    assert re.findall(r"^\d{4}-.* polyneuron\.progress INFO (.*)$", logged, re.M) == ["our line"]


def test_who_wants_to_see_what_libraries_print_sees_our_lines_once(tmp_path: Path) -> None:
    script = SCRIPT.replace(
        "with libraries_quiet", "from polyneuron.pipelines.run.progress import bar, set_loudness\n"
        "set_loudness(verbose=True)\nwith libraries_quiet"
    ).replace('say("our line")', 'say("our line")\n    with bar("a pass") as report: report(1, 2)')  # fmt: skip
    log = tmp_path / "polyneuron.log"
    done = subprocess.run(
        [sys.executable, "-c", script, str(log)], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stderr.count("our line") == 1 and "native stderr" in done.stderr
    assert "a pass" not in log.read_text(encoding="utf-8")


def test_a_log_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "file" / "x.log")],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert "StoreError: The log" in done.stderr and "Name another store" in done.stderr

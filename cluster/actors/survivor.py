"""A process that outlives this one where it is killed, or ended by Ray's own code without a word: it says so, ends what Ray has
left running and removes the session's folders. It is run as a file, with the standard library alone.

Arguments: the environment entry that all processes of the session have, the message, and the folders. Standard input: closed by
the end of the other process; what was written before says that it closed its session itself.
"""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_ROUNDS, _PAUSE_S = 50, 0.2


def _running(entry: bytes) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if entry in (place / "environ").read_bytes().split(b"\0") and int(place.name) != os.getpid():
                found.append(int(place.name))
    return found


def main() -> None:
    """Waits; then cleans up, unless there is nothing to clean up."""
    entry, message, *folders = sys.argv[1:]
    if sys.stdin.buffer.read():
        return
    with suppress(OSError):  # nobody may be there to read it
        print(f"\npolyneuron: {message}", file=sys.stderr, flush=True)
    for _ in range(_ROUNDS):
        if not (running := _running(os.fsencode(entry))):
            break
        for process in running:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(_PAUSE_S)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

"""Judges models against an earlier night; the same as `polyneuron nightly`. Exit code 0: ok, 1: regression, 2: not judged.

Run it as
    python pipelines/nightly.py --config nightly_smollm2 [--baseline last-good] [key.sub=value ...]
    ray job submit --working-dir . -- python pipelines/nightly.py --config nightly_smollm2 store=/shared/dir
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # a script sees only its own folder

    from polyneuron.pipelines.cli import main

    main(["nightly", *sys.argv[1:]])

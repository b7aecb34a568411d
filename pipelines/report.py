"""Writes the report of a store; the same as `polyneuron report`.

Run it as
    python pipelines/report.py --config study_smollm2 [key.sub=value ...]
    ray job submit --working-dir . -- python pipelines/report.py --config study_smollm2 store=/shared/dir
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # a script sees only its own folder

    from pipelines.cli import main

    main(["report", *sys.argv[1:]])

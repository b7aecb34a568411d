"""Rebuilds the tables of paper B on models you name; the same as `polyneuron transfer`.

Run it as
    python pipelines/transfer_study.py --config transfer_smollm2 [key.sub=value ...]
    ray job submit --working-dir . -- python pipelines/transfer_study.py --config transfer_smollm2 store=/shared/dir
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # a script sees only its own folder

    from pipelines.cli import main

    main(["transfer", *sys.argv[1:]])

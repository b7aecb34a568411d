"""Trains chosen neurons on documents; the same as `polyneuron train`.

Run it as
    python pipelines/train.py --config study_smollm2 [key.sub=value ...]
    ray job submit --working-dir . -- python pipelines/train.py --config study_smollm2 store=/shared/dir
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # a script sees only its own folder

    from pipelines.cli import main

    main(["train", *sys.argv[1:]])

"""Judges the base model and its variants on benchmarks; the same as `polyneuron evaluate`.

Run it as
    python pipelines/evaluate.py --config study_smollm2 [key.sub=value ...]
    ray job submit --working-dir . -- python pipelines/evaluate.py --config study_smollm2 store=/shared/dir
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # a script sees only its own folder

    from pipelines.cli import main

    main(["evaluate", *sys.argv[1:]])

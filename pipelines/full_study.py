"""Runs the whole study; the same as `polyneuron study`.

Run it as
    python pipelines/full_study.py --config study_smollm2 [key.sub=value ...]
    ray job submit --working-dir . -- python pipelines/full_study.py --config study_smollm2 store=/shared/dir
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # a script sees only its own folder

    from polyneuron.pipelines.cli import main

    main(["study", *sys.argv[1:]])

"""Prints what a study would do; the same as `polyneuron plan`.

Run it as
    python pipelines/plan.py --config study_smollm2 [key.sub=value ...]
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # a script sees only its own folder

    from pipelines.cli import main

    main(["plan", *sys.argv[1:]])

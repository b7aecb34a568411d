"""Measures perplexity without each set; the same as `polyneuron ablate`.

Run it as
    python pipelines/ablate.py --config study_smollm2 [key.sub=value ...]
    ray job submit --working-dir . -- python pipelines/ablate.py --config study_smollm2 store=/shared/dir
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # a script sees only its own folder

    from pipelines.cli import main

    main(["ablate", *sys.argv[1:]])

"""Measures perplexity without each set; the same as `polyneuron ablate`.

    python pipelines/ablate.py --config pipelines/configs/study_smollm2.yaml [key.sub=value ...]
    ray job submit --working-dir . -- python pipelines/ablate.py --config pipelines/configs/study_smollm2.yaml
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # a script sees its own folder first; the packages lie one up

from pipelines.cli import main

if __name__ == "__main__":
    main(["ablate", *sys.argv[1:]])

"""The numbers that "Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer" prints (Tables 1-3, 7 and 8).

In `paper_b.csv`; detector act_prob is its Act Prob 90p, statistic mean its "Int", tuned attention its model without language
neurons. Table 8 names no detector. Its second row for Mistral Nemo in vi, plainly another language, is left out.
"""

import csv
from functools import cache
from pathlib import Path

from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.transfer.evaluation import TransferCell

_FILE = Path(__file__).with_suffix(".csv")
_KEY = ("task", "detector", "tuned", "language", "statistic", "metric")
_NAMES = {
    "Llama-3.1-8B": "Llama-3.1-8B",
    "Meta-Llama-3.1-8B": "Llama-3.1-8B",
    "Mistral-Nemo-Base-2407": "Mistral-Nemo-Base-2407",
}
"""Last part of a hub id, or a folder's name -> the paper's model."""


@cache
def paper_numbers() -> dict[tuple[str, ...], float]:
    """Percent by model, task, detector, tuned, language, statistic and metric."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        return {
            (row["model"], *(row[name] for name in _KEY)): float(row["value"]) for row in csv.DictReader(file)
        }


def paper_model(model: ModelConfig) -> str | None:
    """Which of the paper's models it is, by hub id or folder name; None for others."""
    return _NAMES.get(Path(model.path).name) if model.path else None


def paper_value(model: str | None, cell: TransferCell, metric: str) -> float | None:
    """What the paper prints for a cell, in percent; None where it prints nothing."""
    if model is None:
        return None
    detector = "" if cell.tuned == "random" else cell.detector
    key = (model, cell.task, detector, cell.tuned, cell.language, cell.statistic, metric)
    return paper_numbers().get(key)

"""A training's curves for TensorBoard, written while it runs."""

from pathlib import Path
from typing import Any

from polyneuron.neuron_core.common.extras import extras_named


class TensorBoard:
    """Writes event files into a folder. Steps count from 1, as validations do."""

    def __init__(self, folder: str | Path, n_done: int = 0) -> None:
        """`n_done`: steps that a checkpoint holds; what an interrupted run wrote after them is hidden."""
        with extras_named():
            from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=n_done + 1)  # type: ignore[no-untyped-call]

    def stepped(self, row: dict[str, Any]) -> None:
        """Draws the loss, learning rate, gradient norm and tokens per second of a step, a row of `Trained.log`."""
        step = row["step"] + 1
        self._writer.add_scalar("train/loss_nats", row["loss_nats"], step)
        self._writer.add_scalar("train/learning_rate", row["learning_rate"], step)
        self._writer.add_scalar("train/gradient_norm", row["gradient_norm"], step)
        self._writer.add_scalar("train/tokens_per_s", row["n_tokens"] / max(row["seconds"], 1e-9), step)

    def validated(self, rows: list[dict[str, Any]]) -> None:
        """Draws the nats per token of each language of a validation, rows of `Trained.validations`."""
        for row in rows:
            name = f"validation/nats_per_token_{row['language']}"
            self._writer.add_scalar(name, row["nll_nats"] / row["n_tokens"], row["step"])

    def close(self) -> None:
        """Writes what is buffered, to be called at the end."""
        self._writer.close()

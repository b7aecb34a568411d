"""Checkpoints of compact training: small, whole or absent, pruned; nothing is pickled.

A checkpoint is a folder `step-00000050` with `state.safetensors` (values and AdamW's two moments of every trained
tensor, float32; with early stopping also the best values so far) and `state.json` (step, the job it belongs to, losses
and validations so far).
"""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from polyneuron.neuron_core.common.errors import TrainingError
from polyneuron.neuron_core.common.files import whole_folder

KEPT = 2
"""So many newest checkpoints stay: the last, and one before it should the last be on a bad block."""


@dataclass(frozen=True)
class Checkpoint:
    """The state after `step` optimizer steps."""

    step: int
    tensors: dict[str, Tensor]
    log: list[dict[str, Any]]
    """One plain mapping a step, from the first."""
    validations: list[dict[str, Any]] = field(default_factory=list)
    """One plain mapping a language and validated step."""


class Checkpoints:
    """The checkpoints of one training job, in a folder of their own."""

    def __init__(self, folder: str | Path, job: str) -> None:
        """`job`: hash of everything that decides the training's result."""
        self.folder, self._job = Path(folder), job

    def save(self, checkpoint: Checkpoint) -> Path:
        """Writes a checkpoint beside its place, then renames it; earlier ones stay until it is there. Raises TrainingError
        when the disk is full or the folder cannot be written; the checkpoint before is untouched."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        final = self.folder / f"step-{checkpoint.step:08d}"
        described = {
            "job": self._job,
            "step": checkpoint.step,
            "log": checkpoint.log,
            "validations": checkpoint.validations,
        }
        try:
            with whole_folder(final) as temporary:
                save_file(
                    {key: value.contiguous() for key, value in checkpoint.tensors.items()},
                    temporary / "state.safetensors",
                )
                (temporary / "state.json").write_text(json.dumps(described), encoding="utf-8")
                shutil.rmtree(final, ignore_errors=True)
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"The checkpoint of step {checkpoint.step} cannot be written to {self.folder}: {error}. Earlier checkpoints "
                "are whole: make room and run the same command again"
            ) from error
        self._prune()
        return final

    def latest(self) -> Checkpoint | None:
        """Reads the newest whole checkpoint; None where there is none. Raises TrainingError when the folder holds a
        checkpoint of another job, or one that cannot be read."""
        finished = self._finished()
        if not finished:
            return None
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = finished[-1]
        try:
            described = json.loads((path / "state.json").read_text(encoding="utf-8"))
            job = described.pop("job")
            checkpoint = Checkpoint(tensors=load_file(path / "state.safetensors"), **described)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise TrainingError(
                f"The checkpoint {path} is damaged ({error}). Remove its folder; training goes on from the one before"
            ) from error
        if job != self._job:
            raise TrainingError(
                f"The checkpoint {path} belongs to another model, set or setting. Name another folder, or remove it"
            )
        return checkpoint

    def last_step(self) -> int:
        """The number of steps that the newest checkpoint holds; 0 without one."""
        finished = self._finished()
        return int(finished[-1].name.removeprefix("step-")) if finished else 0

    def _finished(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if (path / "state.json").exists())

    def _prune(self) -> None:
        for path in self._finished()[:-KEPT]:
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob(".step-*.tmp"):
            shutil.rmtree(path, ignore_errors=True)

"""Weights & Biases as a tracker. Its own variables say where and how: WANDB_API_KEY, WANDB_MODE, WANDB_ENTITY, WANDB_BASE_URL."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from polyneuron.pipelines.tracking.tracker import TrackedRun, TrackerError

_BEGINNING_S = 30.0
"""How long the server may take to answer at the start; the study waits."""
_CLOSING_S = 20.0
"""How long the last values may take to arrive; less than Ctrl-C waits."""
_WRITING_S = 10.0
"""How long the library's process may take to write the first of what it is given."""
_FLUSH_EVERY_S = 0.1
_FLUSHED_S = 0.5
"""After it that process has written the rest as well. It dies with this one, and writes nothing then."""


class WeightsAndBiases:
    """One run of Weights & Biases, kept in its files here as well, from which `wandb sync` uploads what did not arrive."""

    def __init__(self, run: TrackedRun) -> None:
        """Begins the run, or goes on with it. Raises TrackerError where the server cannot be used."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        settings = wandb.Settings(
            console="off",
            silent=True,
            host="",
            save_code=False,
            disable_git=True,
            disable_code=True,
            x_disable_meta=True,  # command line, user, host
            x_disable_stats=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
            x_transaction_log_flush_interval=_FLUSH_EVERY_S,
            init_timeout=_BEGINNING_S,
            finish_timeout=_CLOSING_S,
            finish_timeout_raises=True,
            reinit="create_new",  # models may be at work side by side
            stop_fn=_go_on,
        )

        try:
            self._run = wandb.init(
                id=run.id,
                resume="allow",
                name=run.name,
                group=run.group,
                job_type=run.kind,
                project=run.project,
                config=dict(run.config),
                allow_val_change=True,
                dir=run.folder,
                settings=settings,
            )
        except wandb.Error as error:
            raise TrackerError(f"W&B: {(str(error).splitlines() or ['no reason'])[0].rstrip('.')}") from error
        self.where = self._run.settings.sync_dir if self._run.offline else str(self._run.url)
        self._drawn = set[str]()

    def curve(self, axis: str, rows: Sequence[Mapping[str, float | str]]) -> None:
        """Draws points over `axis`, and waits until the library has written them."""
        for name in sorted({name for row in rows for name in row} - {axis} - self._drawn):
            self._run.define_metric(name, step_metric=axis)
            self._drawn.add(name)
        before = self._written()
        for row in rows:
            self._run.log(dict(row))
        deadline = time.monotonic() + _WRITING_S
        while rows and before is not None and self._written() == before:
            if time.monotonic() > deadline:
                raise TrackerError(
                    f"W&B writes nothing to {self._run.settings.sync_dir}; the disk may be full"
                )
            time.sleep(_FLUSH_EVERY_S)
        time.sleep(_FLUSHED_S)

    def _written(self) -> int | None:
        """Bytes of the run's file; None where W&B keeps none, as when it is disabled."""
        file = Path(self._run.settings.sync_file)
        return file.stat().st_size if file.exists() else None

    def values(self, values: Mapping[str, float | str]) -> None:
        """Sets values in the run's summary."""
        self._run.summary.update(dict(values))

    def close(self, failed: bool) -> None:
        """Ends this session. Raises TrackerError where the server takes too long; the values are in files then."""
        try:
            self._run.finish(exit_code=int(failed))
        except TimeoutError:
            raise TrackerError(
                f"not everything arrived within {_CLOSING_S:g} s; wandb sync {self._run.settings.sync_dir} uploads it"
            ) from None


def _go_on() -> None:
    """W&B would interrupt this process when somebody presses Stop on its page."""

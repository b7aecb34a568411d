"""Actors in reserved room that are started anew when they are lost: what a group of workers and a single actor share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.util.placement_group import remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from polyneuron.cluster.actors.failures import first_line
from polyneuron.cluster.actors.placement import Room, Tell, reserve
from polyneuron.cluster.actors.session import import_path
from polyneuron.neuron_core.common.errors import ClusterError


class Supervised:
    """Starts actors, ends them, and counts how often they were lost; closed when its context ends."""

    def __init__(self, who: str, room: Room, max_restarts: int, tell: Tell | None) -> None:
        """who: what messages call the actors; room: a bundle for each; tell: hears a line now and then while room is waited
        for, and at every restart."""
        self._who, self._room, self._max_restarts, self._tell = who, room, max_restarts, tell
        self._actors: list[Any] = []
        self._placement: Any = None
        self.n_restarts = 0

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all actors; no process of them is left."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []
        if self._placement is not None:
            remove_placement_group(self._placement)
            self._placement = None

    def _launch(
        self,
        owned: type,
        arguments: Sequence[tuple[Any, ...]],
        environment: Mapping[str, str],
        concurrency: int,
    ) -> None:
        """Reserves the room, and makes an `owned` of each of `arguments` in a bundle of it; concurrency: how many calls one
        answers at once."""
        room = self._room
        self._placement = reserve(room, self._tell)
        variables = {"PYTHONPATH": import_path(), "OMP_NUM_THREADS": f"{room.cpus:g}", **environment}
        if not room.gpus:
            variables["CUDA_VISIBLE_DEVICES"] = ""
        self._actors = [
            ray.remote(owned)
            .options(
                num_cpus=room.cpus,
                num_gpus=room.gpus,
                max_concurrency=concurrency,
                runtime_env={"env_vars": variables},
                scheduling_strategy=PlacementGroupSchedulingStrategy(self._placement, index),
            )
            .remote(*of_one)
            for index, of_one in enumerate(arguments)
        ]

    def _give_up_or_restart(self, failure: Exception) -> None:
        """Ends what is left, and counts a restart.

        Raises:
            ClusterError: it was lost more often than it may be.
        """
        reason = first_line(failure)
        self.close()
        if self.n_restarts >= self._max_restarts:
            raise ClusterError(
                f"Lost {self._who} {self.n_restarts + 1} times ({reason}). Finished units are in the store: mend the cause "
                "(memory? a lost node?) and run the same command again"
            ) from failure
        self.n_restarts += 1
        if self._tell is not None:
            self._tell(f"starting {self._who} anew ({reason})")

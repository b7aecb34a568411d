"""The workers that share the model under study: for passes over it, or to train it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from polyneuron.pipelines.config.study import ClusterConfig
from polyneuron.pipelines.run.progress import bar, say, tell
from polyneuron.pipelines.run.slot import Slot
from polyneuron.pipelines.run.studied_model import StudiedModel

_PASSES = "workers for passes"
_OF_EACH_MODEL = {"offload", "weights", "hidden_states_gib"}
"""Settings of the cluster that say how a model lies in memory; the rest says how many workers there are."""


class Workers:
    """Workers of one model, which start when they are needed and end when something else needs the place."""

    def __init__(self, model: StudiedModel, cluster: ClusterConfig, slot: Slot) -> None:
        self._model, self._cluster, self._slot = model, cluster, slot

    def run(self, title: str, function: Any, batches: Sequence[Any], **kwargs: Any) -> list[Any]:
        """Runs a pass over the model's layers on every worker; results by rank.

        Raises:
            ClusterError: workers that cannot be kept alive. What `function` raises.
        """
        group = self._slot.hold(_PASSES, lambda: self._group("passes"))
        with bar(title) as report:
            results: list[Any] = group.run(function, batches, progress=report, **kwargs)
        return results

    @contextmanager
    def training(self, zero_stage: Literal[2, 3], nf4: bool = False) -> Iterator[Any]:
        """A fresh group of workers that train, in place of whatever runs; `nf4`: on a base in 4 bits."""
        self._slot.clear()
        with self._group("zero2" if zero_stage == 2 else "zero3", nf4) as group:
            yield group

    @contextmanager
    def _group(self, kind: Literal["passes", "zero2", "zero3"], nf4: bool = False) -> Iterator[Any]:
        from polyneuron.cluster.actors.group import ModelGroup
        from polyneuron.cluster.actors.session import ray_session
        from polyneuron.cluster.spec import GroupSpec, ModelSpec

        model, cluster = self._model, self._cluster
        say(
            f"  starting {cluster.world_size} worker{'s' if cluster.world_size > 1 else ''} for {model.label}"
        )
        spec = ModelSpec(
            source=model.source,
            dtype=model.dtype,
            revision=model.config.revision,
            trust_remote_code=model.config.trust_remote_code,
            nf4=nf4,
            **cluster.model_dump(include=_OF_EACH_MODEL),
        )
        sizes = GroupSpec(**cluster.model_dump(exclude={*_OF_EACH_MODEL, "models_at_once"}))
        with (
            ray_session(cluster.world_size * cluster.threads_per_worker),
            ModelGroup(spec, sizes, kind, tell) as group,
        ):
            yield group

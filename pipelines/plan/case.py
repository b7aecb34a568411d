"""What a plan is made of: one model of a study, on machines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from polyneuron.cluster.capacity.calibration import LayerMeasurement
from polyneuron.cluster.capacity.devices import Machines
from polyneuron.cluster.capacity.estimate import Stage
from polyneuron.cluster.capacity.placing import Placing
from polyneuron.cluster.capacity.rates import Rates, assumed_rates
from polyneuron.cluster.capacity.shape import VALUE_BYTES, ModelShape
from polyneuron.cluster.memory import GIB
from polyneuron.pipelines.config.load import with_overrides
from polyneuron.pipelines.config.study import ModelConfig, StudyConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedCase:
    """One model of a study, on machines: all that its plan depends on."""

    config: StudyConfig
    """The whole study's."""
    index: int
    """Of the model in `config.models`."""
    shape: ModelShape
    """Of the model in its dtype."""
    machines: Machines
    """What it runs on."""
    measured: LayerMeasurement | None = None
    """What one layer took here, in place of assumptions."""

    @property
    def model(self) -> ModelConfig:
        """The model of `config` that is meant."""
        return self.config.models[self.index]

    @property
    def placing(self) -> Placing:
        """How the workers hold the model."""
        cluster, machines = self.config.cluster, self.machines
        if cluster.gpus_per_worker:
            on_node = int(max(1, machines.devices_per_node) / cluster.gpus_per_worker)
        else:
            on_node = machines.cores // cluster.threads_per_worker
        return Placing(
            shape=self.shape,
            world_size=cluster.world_size,
            ranks_per_node=max(1, min(cluster.world_size, on_node)),
            on_gpu=cluster.gpus_per_worker > 0,
            offload=cluster.offload,
            weights=cluster.weights,
            hidden_states_bytes=int(cluster.hidden_states_gib * GIB),
        )

    @property
    def devices(self) -> float:
        """GPUs, or cores without, that the workers hold."""
        cluster = self.config.cluster
        return cluster.world_size * (cluster.gpus_per_worker or cluster.threads_per_worker)

    def changed(self, overrides: Iterable[str]) -> PlannedCase:
        """Returns the case with these overrides of the configuration.

        Raises:
            ValidationError: the configuration may not be like that.
        """
        config = with_overrides(self.config, tuple(overrides))
        shape = replace(self.shape, value_bytes=VALUE_BYTES[config.models[self.index].dtype])
        return replace(self, config=config, shape=shape)

    def rates(self, stage: Stage) -> Rates:
        """Assumed, or measured where the stage runs as the measured layer did; a CPU's rate goes with its threads."""
        measured, workers_threads = self.measured, self.config.cluster.threads_per_worker
        threads = self.config.evaluation.engine.threads if stage.name == "evaluation" else workers_threads
        n_nodes = -(-stage.world_size // stage.ranks_per_node)
        rates = assumed_rates(self.machines, self.model.dtype, threads, stage.on_gpu, n_nodes)
        if measured is None or (stage.on_gpu, self.model.dtype) != (measured.on_gpu, measured.dtype):
            return rates
        said = f"measured: one layer on {measured.device}"
        share = 1.0 if stage.on_gpu else threads / workers_threads
        changes = {"flops_per_s": measured.flops_per_s * share}
        if measured.score_slowdown is not None:
            changes["score_slowdown"] = measured.score_slowdown
        return replace(rates, **changes, origin=rates.origin | dict.fromkeys(changes, said))

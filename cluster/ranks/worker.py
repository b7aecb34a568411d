"""One rank of a group, as a Ray actor: holds a shard and runs passes of `neuron_core` over its share of micro-batches."""

import gc
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from polyneuron.cluster.memory import MIB, give_back_freed, map_above
from polyneuron.cluster.spec import ModelSpec, Seat

_MAPPED, _MAPPED_IN_PASSES = MIB, 32 * MIB
"""Above which size memory is mapped; 32 MiB is where glibc's own, moving limit ends."""
_DECIDING = ("vendor_id", "cpu family", "model", "CPU implementer", "CPU part")
"""What names the maker and the model of a processor, on x86 and on Arm."""


class Worker:
    """Methods are called remotely. `run` works while `state` answers from a second thread."""

    def __init__(self, rank: int, world_size: int, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._rank, self._world_size = rank, world_size
        self._model: Any = None
        self._state: tuple[str, int, int] = ("starting", 0, 0)

    def endpoint(self) -> tuple[str, int]:
        """Address and a free port of this worker's node, for the group to meet at."""
        import ray

        address = ray.util.get_node_ip_address()
        with socket.socket() as probe:
            probe.bind((address, 0))
            port: int = probe.getsockname()[1]
        return address, port

    def device(self) -> tuple[str, str]:
        """What this worker computes on, as far as it decides how numbers are rounded; and its host."""
        import platform

        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name(), socket.gethostname()
        maker = ""
        with suppress(OSError):
            maker = maker_and_model(Path("/proc/cpuinfo").read_text(errors="replace"))
        capability = torch.backends.cpu.get_cpu_capability()
        return f"{platform.machine()} {capability}{maker}", socket.gethostname()

    def load(self, spec: ModelSpec, address: str, port: int, kind: str) -> None:
        """Joins the group that meets at address:port, and loads this rank's share, in place of what it held. kind: as of
        `ModelGroup`."""
        self._model = None
        gc.collect()
        # Passes give freed memory back after every layer; a training step is at its fullest before it could.
        map_above(_MAPPED if kind != "passes" else _MAPPED_IN_PASSES)
        give_back_freed()
        if spec.fingerprint is not None:
            from polyneuron.neuron_core.model.identity import require_fingerprint

            require_fingerprint(spec.source, spec.fingerprint, spec.revision, spec.trust_remote_code)
        seat = Seat(self._rank, self._world_size, address, port)
        # Imported here: the driver has no need of DeepSpeed.
        if kind == "passes":
            from polyneuron.cluster.ranks.pass_model import PassModel

            self._model = PassModel(spec, seat, streamed=spec.weights == "stream")
        else:
            from polyneuron.cluster.ranks.training import TrainingModel

            self._model = TrainingModel(spec, seat, zero_stage=2 if kind == "zero2" else 3)
        self._state = ("ready", 0, 0)

    def run(self, name: str, function: Callable[..., Any], batches: list[Any], kwargs: dict[str, Any]) -> Any:
        """Returns what `function(runner, micro-batches of this rank, progress=..., **kwargs)` does."""
        mine = batches[self._rank :: self._world_size]

        def report(done: int, total: int) -> None:
            self._state = (name, done, total)

        self._state = (name, 0, 0)
        try:
            return function(self._model.runner, mine, progress=report, **kwargs)
        finally:
            self._state = ("ready", 0, 0)

    def state(self) -> tuple[str, int, int]:
        """What it does: name of the pass, how much is done, how much there is in all."""
        return self._state

    def stats(self) -> dict[str, Any]:
        """Returns what the model counts, with the id of this process."""
        return {**self._model.stats(), "pid": os.getpid()}

    def reset_stats(self) -> None:
        """Makes the model count anew from here on."""
        self._model.reset_stats()


def maker_and_model(cpuinfo: str) -> str:
    """Maker and model of the processor that Linux describes, as " (GenuineIntel 6 207)", empty where it names none. MKL and
    oneDNN choose their routines by them, so processors with the same instructions may round differently."""
    first = cpuinfo.partition("\n\n")[0]
    about = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())
    }
    found = [about[key] for key in _DECIDING if about.get(key)]
    return f" ({' '.join(found)})" if found else ""

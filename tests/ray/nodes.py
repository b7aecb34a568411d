"""A Ray cluster of several nodes on one machine: each has a raylet of its own, and may lose power."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from ray.cluster_utils import Cluster

WORKER = "ray::Worker"


class Nodes:
    """A head without cores, where drivers connect, and nodes that work. `address` is for $RAY_ADDRESS."""

    def __init__(self, cluster: Cluster, cpus: int) -> None:
        self._cluster, self._cpus = cluster, cpus
        self.address: str = cluster.address
        self.at_work: list[Any] = []

    def add(self, **environment: str) -> None:
        """One more node, whose workers see these variables."""
        node = self._cluster.add_node(num_cpus=self._cpus, include_dashboard=False, env_vars=environment)
        self.at_work.append(node)

    def workers(self, node: Any) -> list[psutil.Process]:
        """The workers of model groups on a node."""
        return [process for process in _children(node) if _title(process).startswith(WORKER)]

    def all_workers(self) -> list[psutil.Process]:
        """Those of all nodes."""
        return [process for node in self.at_work for process in self.workers(node)]

    def raylet(self, node: Any) -> psutil.Process:
        """The process that stands for a node."""
        return _raylet(node)

    def busiest(self) -> Any:
        """The node with the most workers."""
        return max(self.at_work, key=lambda node: len(self.workers(node)))

    def cut_power(self, node: Any) -> None:
        """Ends all processes of a node at once; nothing says goodbye."""
        for process in [*_children(node), self.raylet(node)]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self.at_work.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)


@contextmanager
def nodes_up(count: int, cpus: int) -> Iterator[Nodes]:
    """A cluster with `count` nodes of `cpus` cores beside its head."""
    before = os.environ.get("RAY_TMPDIR")
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        # A folder of its own: in the shared one a cluster overwrites the address others connect to. Sockets want it short.
        os.environ["RAY_TMPDIR"] = folder
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            nodes = Nodes(cluster, cpus)
            for _ in range(count):
                nodes.add()
            yield nodes
        finally:
            cluster.shutdown()
            del os.environ["RAY_TMPDIR"]
            if before is not None:
                os.environ["RAY_TMPDIR"] = before


def environment(nodes: Nodes) -> dict[str, str]:
    """What a command needs to use the cluster."""
    return {**os.environ, "RAY_ADDRESS": nodes.address}


def _raylet(node: Any) -> psutil.Process:
    from ray._private.ray_constants import PROCESS_TYPE_RAYLET

    return psutil.Process(node.all_processes[PROCESS_TYPE_RAYLET][0].process.pid)


def _children(node: Any) -> list[psutil.Process]:
    found: list[psutil.Process] = _raylet(node).children(recursive=True)
    return found


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""

"""The machines at hand, as torch and Ray describe them."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from polyneuron.cluster.capacity.at_hand import machines_at_hand
from polyneuron.cluster.capacity.devices import KINDS, Machines
from polyneuron.cluster.capacity.rates import assumed_rates
from polyneuron.cluster.memory import GIB

NODE_GIB = {"memory": 60.0 * GIB, "object_store_memory": 4.0 * GIB}


@pytest.mark.parametrize(
    ("name", "gib", "like"),
    [
        ("NVIDIA A10", 22, "A10-24GB"),
        ("NVIDIA A100-SXM4-80GB", 79, "A100-80GB"),
        ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", 20, "A100-40GB"),
        ("NVIDIA H100 80GB HBM3", 79, "H100-80GB"),
        ("NVIDIA GeForce RTX 4090", 24, "A10-24GB"),
    ],
)
def test_a_device_here_is_as_fast_as_its_series(
    name: str, gib: int, like: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = SimpleNamespace(name=name, total_memory=gib * GIB)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: found)
    kind = machines_at_hand().kind
    assert kind is not None and (kind.name, kind.memory_bytes) == (name, gib * GIB)
    assert kind.memory_bytes_per_s == KINDS[like].memory_bytes_per_s


def test_a_core_here_is_timed_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    n_threads = torch.get_num_threads()
    here = machines_at_hand()
    assert here.core_flops is not None and 1e8 < here.core_flops < 1e13
    assert torch.get_num_threads() == n_threads
    timed = assumed_rates(here, "float32", 3, False, 1)
    assert timed.flops_per_s == pytest.approx(3 * 0.5 * here.core_flops)
    assert "measured" in timed.origin["flops_per_s"]
    stated = assumed_rates(replace(here, core_flops=None), "float32", 3, False, 1)
    assert "assumed" in stated.origin["flops_per_s"]


def in_ray(nodes: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch) -> Machines:
    """What is seen of a Ray cluster with these resources, a node each."""
    import ray

    monkeypatch.setenv("RAY_ADDRESS", "ray://example:10001")
    monkeypatch.setattr("polyneuron.cluster.actors.session.ray_session", nullcontext)
    alive: list[dict[str, Any]] = [{"Alive": True, "Resources": node} for node in nodes]
    monkeypatch.setattr(ray, "nodes", lambda: alive)
    return machines_at_hand()


@pytest.mark.parametrize(
    ("called", "kind"),
    [("A10G", "A10-24GB"), ("A100", "A100-40GB"), ("A100-80G", "A100-80GB"), ("H100", "H100-80GB")],
)
def test_devices_of_ray_are_of_the_series_it_names(
    called: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = NODE_GIB | {"CPU": 16.0, "GPU": 8.0, f"accelerator_type:{called}": 1.0}
    machines = in_ray([node, node], monkeypatch)
    assert (machines.n_nodes, machines.devices_per_node, machines.kind) == (2, 8, KINDS[kind])


def test_a_node_of_ray_without_cpus_and_gpus_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    head = {"memory": 2.0 * GIB, "object_store_memory": 1.0 * GIB}
    worker = NODE_GIB | {"CPU": 16.0}
    machines = in_ray([head, worker, worker], monkeypatch)
    assert (machines.n_nodes, machines.cores, machines.host_bytes) == (2, 16, 64 * GIB)


def test_where_ray_has_gpus_its_other_nodes_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus = NODE_GIB | {"CPU": 8.0, "GPU": 4.0, "accelerator_type:H100": 1.0}
    machines = in_ray([NODE_GIB | {"CPU": 64.0}, with_gpus], monkeypatch)
    assert (machines.n_nodes, machines.n_devices, machines.cores) == (1, 4, 8)

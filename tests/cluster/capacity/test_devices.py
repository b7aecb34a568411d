"""The machines people state, and what becomes of nonsense."""

import pytest

from polyneuron.cluster.capacity.devices import KINDS, parse_devices
from polyneuron.cluster.memory import GIB
from polyneuron.neuron_core.common.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "n_nodes", "on_node", "kind"),
    [
        ("8x80GB", 1, 8, "A100-80GB"),
        ("1x141GB", 1, 1, "H200-141GB"),
        ("2x8xH100", 2, 8, "H100-80GB"),
        ("4xa100-40gb", 1, 4, "A100-40GB"),
        ("4xA10", 1, 4, "A10-24GB"),
        ("4xA100", 1, 4, "A100-80GB"),
    ],
)
def test_forms(text: str, n_nodes: int, on_node: int, kind: str) -> None:
    machines = parse_devices(text)
    assert (machines.n_nodes, machines.devices_per_node, machines.kind) == (n_nodes, on_node, KINDS[kind])
    assert machines.n_devices == n_nodes * on_node


def test_a_size_nobody_makes_is_taken_at_its_word() -> None:
    machines = parse_devices("2x64GB", host_gib=256)
    assert machines.kind is not None and machines.kind.memory_bytes == 64 * 10**9
    assert machines.host_bytes == 256 * GIB
    assert any("as fast as" in said for said in machines.assumed)


@pytest.mark.parametrize("text", ["80GB", "0x80GB", "8xGTX", "8xH", "eight", "2x0xH100"])
def test_nonsense_is_one_message_with_the_form(text: str) -> None:
    with pytest.raises(ConfigError, match="--devices"):
        parse_devices(text)

"""A worker loads the files that the driver saw, or says that they are others; and it says what it computes on."""

from pathlib import Path

import pytest
import torch

from polyneuron.cluster.ranks.worker import Worker, maker_and_model
from polyneuron.cluster.spec import ModelSpec
from polyneuron.neuron_core.common.errors import ModelError
from tests.tiny_models import save_tiny_model

INTEL = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 207\nmodel name\t: Xeon\nstepping\t: 2\n"
AMD = INTEL.replace("GenuineIntel", "AuthenticAMD").replace(": 6\n", ": 25\n").replace("207", "17")
ARM = "processor\t: 0\nBogoMIPS\t: 2100.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize("kind", ["passes", "zero2", "zero3"])
@pytest.mark.parametrize("weights", ["shard", "stream"])
def test_files_that_the_driver_did_not_see_are_refused(tmp_path: Path, kind: str, weights: str) -> None:
    folder = save_tiny_model(tmp_path / "model")
    spec = ModelSpec(source=str(folder), weights=weights, fingerprint="0" * 16)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=str(folder)):  # before it waits for other ranks
        Worker(0, 2, torch.get_num_threads()).load(spec, "127.0.0.1", 1, kind)


def test_processors_of_equal_instructions_are_told_apart() -> None:
    """An EPYC and a Xeon with AVX-512 are both AVX512 to torch, and MKL runs other routines on each."""
    assert maker_and_model(f"{INTEL}\n{AMD}") == " (GenuineIntel 6 207)"
    assert maker_and_model(AMD) == " (AuthenticAMD 25 17)"
    assert maker_and_model(ARM) == " (0x41 0xd40)"
    assert maker_and_model("") == ""


@pytest.mark.skipif(torch.cuda.is_available(), reason="the worker would name its GPU")
def test_a_worker_names_instructions_and_processor() -> None:
    device, _ = Worker(0, 1, torch.get_num_threads()).device()
    assert torch.backends.cpu.get_cpu_capability() in device
    if Path("/proc/cpuinfo").exists():
        assert device.endswith(maker_and_model(Path("/proc/cpuinfo").read_text()))

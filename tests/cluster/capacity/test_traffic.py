"""What a rank receives in training: worked out by hand for a model of 70B, and counted on two ranks under DeepSpeed."""

import dataclasses
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from transformers import AutoConfig

from polyneuron.cluster.capacity.placing import Placing
from polyneuron.cluster.capacity.shape import shape_of
from polyneuron.cluster.capacity.training import PlannedTraining, gathered_in_training, moved_in_training
from tests.own_process import found_by
from tests.tiny_models import save_tiny_model

SHAPES = Path(__file__).parents[2] / "shapes"
OF_70B = PlannedTraining(
    n_trained=1_000_000,
    n_steps=782,
    global_batch=128,
    micro_batch=1,
    n_tokens=1024,
    zero_stage=3,
    recomputed_layers=0.0,
)


def of_70b(**changes: object) -> int:
    shape = shape_of(AutoConfig.from_pretrained(SHAPES / "llama-3.1-70b"), "bfloat16")
    return gathered_in_training(Placing(shape=shape, world_size=8), dataclasses.replace(OF_70B, **changes))  # type: ignore[arg-type]


def test_a_rank_of_eight_receives_seven_eighths_of_what_is_made_whole() -> None:
    """70,553,706,496 parameters were published, of two bytes; 128 blocks are 16 micro-batches on each of eight ranks."""
    model, trained = 2 * 70_553_706_496, 4 * 1_000_000
    micro_batches = 782 * 16
    assert of_70b() == (micro_batches * (2 * model + trained) + 782 * trained) * 7 // 8
    # q, k, v and o; gate, up and down; two norms
    layer = 2 * (2 * 8192 * 8192 + 2 * 8192 * 1024 + 3 * 8192 * 28_672 + 2 * 8192)
    assert of_70b(recomputed_layers=1.0) - of_70b() == micro_batches * 80 * layer * 7 // 8
    assert of_70b(recomputed_layers=0.3) - of_70b() == micro_batches * 24 * layer * 7 // 8
    assert of_70b(zero_stage=2) == (micro_batches * 2 * trained + 782 * trained) * 7 // 8
    assert of_70b(micro_batch=16) - of_70b() == (782 - micro_batches) * (2 * model + trained) * 7 // 8


def test_shards_in_host_memory_move_as_often_as_they_are_made_whole() -> None:
    shape = shape_of(AutoConfig.from_pretrained(SHAPES / "llama-3.1-70b"), "bfloat16")
    where = Placing(shape=shape, world_size=1, on_gpu=True, offload="cpu")
    once = dataclasses.replace(OF_70B, n_steps=1, global_batch=1)
    again = dataclasses.replace(once, recomputed_layers=1.0)
    assert moved_in_training(where, once) == 2 * shape.model_bytes + 8 * 1_000_000
    assert (
        moved_in_training(where, again) - moved_in_training(where, once) == shape.n_layers * shape.layer_bytes
    )


@pytest.mark.long
@pytest.mark.parametrize("recomputed_layers", [0.0, 0.5])
def test_two_ranks_receive_what_is_planned(recomputed_layers: float, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "tiny", num_hidden_layers=6)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    def rank(number: int) -> dict[str, dict[str, int]]:
        arguments = (number, port, folder, recomputed_layers)
        return found_by("tests.cluster.capacity.traffic", *arguments, threads=1, timeout_s=250)

    with ThreadPoolExecutor(2) as pool:
        found, other = pool.map(rank, range(2))
    assert found == other
    counted = sum(found["micro_batch"].values()) + sum(found["step"].values())
    planned = PlannedTraining(
        n_trained=int(found["n_trained"]),  # type: ignore[call-overload]
        n_steps=1,
        global_batch=2,
        micro_batch=1,
        n_tokens=12,
        zero_stage=3,
        recomputed_layers=recomputed_layers,
    )
    where = Placing(shape=shape_of(AutoConfig.from_pretrained(folder), "float32"), world_size=2)
    assert gathered_in_training(where, planned) == pytest.approx(counted / 2, rel=0.04)

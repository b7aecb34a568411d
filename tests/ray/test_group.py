"""Worker groups: real Ray, real DeepSpeed ZeRO-3, and a one-process twin for every result."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest
import ray
import torch

from bench.layer_major import batch_major_nlls
from polyneuron.cluster.actors.group import ModelGroup
from polyneuron.cluster.spec import GroupSpec, ModelSpec
from polyneuron.neuron_core.common.errors import ClusterError, ModelError
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.impacts.detect import (
    Accumulated,
    RunPass,
    detect_language,
    detection_pass,
    merge_passes,
)
from polyneuron.neuron_core.impacts.extend import extend_language
from polyneuron.neuron_core.impacts.table import LanguageImpacts
from polyneuron.neuron_core.measures.perplexity import sentence_nlls
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.model.load import from_pretrained
from polyneuron.neuron_core.model.opening import load_config
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from tests.tiny_models import token_ids

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SENTENCES = [
    Sentence("x", i, tuple(ids)) for i, ids in enumerate(token_ids([5, 9, 7, 8, 12, 6, 10], vocabulary=250))
]
BATCHES = micro_batches(SENTENCES, 2)


@pytest.fixture(scope="module")
def one_process(tiny_folder: Path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield LayerMajor(from_pretrained(tiny_folder, load_config(tiny_folder), "float32"))
    torch.set_num_threads(threads)


def assert_same(found: Accumulated, expected: Accumulated) -> None:
    assert found.keys() == expected.keys()
    for key, impacts in found.items():
        for field in ("minimum", "maximum", "smallest", "worst_rank"):
            assert torch.equal(getattr(impacts, field), getattr(expected[key], field)), (key, field)
        torch.testing.assert_close(impacts.total, expected[key].total, rtol=1e-14, atol=0)


@pytest.fixture(scope="module")
def pair(local_ray: None, tiny_folder: Path):
    with ModelGroup(ModelSpec(source=str(tiny_folder)), GroupSpec(world_size=2, max_restarts=1)) as group:
        yield group


def some_edit(runner: LayerMajor) -> WeightEdit:
    anatomy = runner.anatomy
    members = {(0, "ffn"): [1, 5], (1, "q"): [0, 3], (2, "k"): [2], (1, "v"): [1]}
    return WeightEdit.zero(NeuronSet.from_indices("tiny", anatomy.widths, anatomy.n_layers, members))


def test_two_actors_measure_what_one_process_measures(pair: ModelGroup, one_process: LayerMajor) -> None:
    expected = detection_pass(one_process, BATCHES, GROUPS)
    assert_same(merge_passes(pair.run(detection_pass, BATCHES, groups=GROUPS)), expected)


def test_two_actors_lower_a_floor_as_one_process_does(pair: ModelGroup, one_process: LayerMajor) -> None:
    def lowered(run: Callable[..., list[Accumulated]]) -> LanguageImpacts:
        def passes(groups: Sequence[str]) -> RunPass:
            return lambda batches, candidates: merge_passes(
                run(detection_pass, batches, groups=groups, candidates=candidates)
            )

        measured = detect_language(passes(GROUPS), SENTENCES, GROUPS, batch_size=2, floor_fraction=0.1)
        return extend_language(passes(("q", "k")), SENTENCES, measured, batch_size=2, floor_fraction=0.4)

    found = lowered(pair.run)
    expected = lowered(lambda function, *rest, **kwargs: [function(one_process, *rest, **kwargs)])
    assert found.summary.equals(expected.summary)
    assert found.impacts.drop(["impact_mean"]).equals(expected.impacts.drop(["impact_mean"]))


def test_one_actor_is_no_special_case(tiny_folder: Path, one_process: LayerMajor) -> None:
    with ModelGroup(ModelSpec(source=str(tiny_folder)), GroupSpec(world_size=1)) as group:
        found = merge_passes(group.run(detection_pass, BATCHES, groups=GROUPS))
    assert_same(found, detection_pass(one_process, BATCHES, GROUPS))


def test_edits_hold_inside_a_pass_and_vanish_after_it(pair: ModelGroup, one_process: LayerMajor) -> None:
    edits = [None, some_edit(one_process), None]
    expected = sentence_nlls(one_process, BATCHES, edits)
    by_rank = pair.run(sentence_nlls, BATCHES, edits=edits)
    for index in range(3):
        rows = sorted((row for rank in by_rank for row in rank[index]), key=lambda row: row.sentence)
        assert rows == expected[index]
    assert expected[0] == expected[2] != expected[1]


def test_a_rank_without_batches_takes_part(pair: ModelGroup, one_process: LayerMajor) -> None:
    rows = pair.run(sentence_nlls, BATCHES[:1], edits=[None])
    assert rows[1] == [[]]
    assert rows[0] == sentence_nlls(one_process, BATCHES[:1], [None])


def test_layer_major_gathers_one_model_a_pass(pair: ModelGroup) -> None:
    """By hand: layers once each, what is outside twice (embedding before, head after); batch-major both per batch."""
    pair.reset_stats()
    pair.run(sentence_nlls, BATCHES, edits=[None])
    layer_major = pair.stats()[0]
    pair.reset_stats()
    model, rounds = layer_major["model_bytes"], -(-len(BATCHES) // 2)
    by_rank = pair.run(batch_major_nlls, BATCHES, n_rounds=rounds)
    batch_major = pair.stats()[0]
    assert batch_major["bytes_received"] == rounds * layer_major["bytes_received"]
    assert model // 2 <= layer_major["bytes_received"] < model
    expected = pair.run(sentence_nlls, BATCHES, edits=[None])
    assert [row for rank in by_rank for row in rank] == [row for rank in expected for row in rank[0]]


def test_a_killed_worker_is_replaced(pair: ModelGroup, one_process: LayerMajor) -> None:
    os.kill(pair.stats()[1]["pid"], signal.SIGKILL)
    time.sleep(0.2)
    found = merge_passes(pair.run(detection_pass, BATCHES, groups=GROUPS))
    assert pair.n_restarts == 1
    assert_same(found, detection_pass(one_process, BATCHES, GROUPS))


@pytest.mark.long
def test_after_too_many_deaths_the_error_says_what_to_do(tiny_folder: Path) -> None:
    with ModelGroup(ModelSpec(source=str(tiny_folder)), GroupSpec(world_size=1, max_restarts=0)) as group:
        os.kill(group.stats()[0]["pid"], signal.SIGKILL)
        time.sleep(0.2)
        with pytest.raises(ClusterError, match="run the same command again"):
            group.run(sentence_nlls, BATCHES, edits=[None])


def hang_on_rank_one(runner, batches, progress=None):
    """Rank 1 stops before a gather that rank 0 waits in."""
    import torch.distributed as dist

    progress(1, 3)
    if dist.get_rank() == 1:
        time.sleep(60)
    with runner.gathered_layer(1):
        pass


@pytest.mark.long
def test_a_hung_collective_names_ranks_and_layers(tiny_folder: Path) -> None:
    with (
        ModelGroup(
            ModelSpec(source=str(tiny_folder)), GroupSpec(world_size=2, max_restarts=0, hang_timeout_s=3)
        ) as group,
        pytest.raises(ClusterError, match=r"rank 0 in hang_on_rank_one, 1 of 3 done"),
    ):
        group.run(hang_on_rank_one, BATCHES)


def pause_rank_one(runner, batches, pid, progress=None):
    """Rank 0 freezes rank 1 as a bad disk or a swapping machine would, and goes on into a gather."""
    import torch.distributed as dist

    progress(2, 3)
    dist.barrier()
    if dist.get_rank() == 0:
        time.sleep(1)
        os.kill(pid, signal.SIGSTOP)
    else:
        time.sleep(60)  # is stopped in here
    with runner.gathered_layer(2):
        pass


@pytest.mark.long
def test_a_frozen_rank_is_named_and_its_process_ended(tiny_folder: Path) -> None:
    spec = GroupSpec(world_size=2, max_restarts=0, hang_timeout_s=3)
    with ModelGroup(ModelSpec(source=str(tiny_folder)), spec) as group:
        frozen = psutil.Process(group.stats()[1]["pid"])
        with pytest.raises(ClusterError) as raised:
            group.run(pause_rank_one, BATCHES, pid=frozen.pid)
    assert "rank 1 does not answer and was last in pause_rank_one, 2 of 3 done" in raised.value.message
    assert "rank 0 in pause_rank_one, 2 of 3 done" in raised.value.message
    psutil.wait_procs([frozen], timeout=30)
    assert not frozen.is_running()


@ray.remote(num_cpus=0)
class Owner:
    """Of an object, which is lost when its owner dies."""

    def keep(self, value: object) -> list[ray.ObjectRef]:
        """A reference to the object, kept by this actor."""
        return [ray.put(value)]


@pytest.mark.long
def test_a_lost_object_is_put_again(
    pair: ModelGroup, one_process: LayerMajor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The micro-batches of the first attempt are lost with their owner before any worker fetches them."""
    put, puts = ray.put, list[object]()

    def lost_at_first(value: object) -> ray.ObjectRef:
        puts.append(value)
        if len(puts) > 1:
            return put(value)
        owner = Owner.remote()
        (reference,) = ray.get(owner.keep.remote(value))
        ray.kill(owner)
        time.sleep(1)
        return reference

    monkeypatch.setattr(ray, "put", lost_at_first)
    pair.n_restarts = 0
    rows = pair.run(sentence_nlls, BATCHES, edits=[None])
    assert pair.n_restarts == 1 and len(puts) == 4
    found = sorted((row for rank in rows for row in rank[0]), key=lambda row: row.sentence)
    assert found == sentence_nlls(one_process, BATCHES, [None])[0]


@pytest.mark.long
@pytest.mark.parametrize("spec", [{"dtype": "bfloat16"}, {"offload": "cpu"}], ids=["bfloat16", "cpu-offload"])
def test_other_storage_same_answer(tiny_folder: Path, spec: dict[str, str]) -> None:
    dtype = spec.get("dtype", "float32")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = LayerMajor(from_pretrained(tiny_folder, load_config(tiny_folder), dtype))
        expected = detection_pass(alone, BATCHES, GROUPS)
    finally:
        torch.set_num_threads(threads)
    with ModelGroup(ModelSpec(source=str(tiny_folder), **spec), GroupSpec(world_size=2)) as group:
        assert_same(merge_passes(group.run(detection_pass, BATCHES, groups=GROUPS)), expected)


def test_a_missing_model_is_one_clear_error() -> None:
    with pytest.raises(ModelError, match="No model at /nowhere"), ModelGroup(ModelSpec(source="/nowhere/x")):
        pass


def test_a_group_larger_than_the_cluster_is_refused(tiny_folder: Path) -> None:
    with (
        pytest.raises(ClusterError, match=r"no room for 9 workers of 1 CPU.*Lower cluster.world_size"),
        ModelGroup(ModelSpec(source=str(tiny_folder)), GroupSpec(world_size=9)),
    ):
        pass

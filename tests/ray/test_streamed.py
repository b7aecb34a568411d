"""Workers that read layers from the files: the results of one process, and only the bytes that are needed."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from polyneuron.cluster.actors.group import ModelGroup
from polyneuron.cluster.ranks.activations import statistics_pass
from polyneuron.cluster.spec import GroupSpec, ModelSpec
from polyneuron.neuron_core.common.errors import ModelError
from polyneuron.neuron_core.impacts.detect import detection_pass, merge_passes
from polyneuron.neuron_core.measures.perplexity import sentence_nlls
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.model.load import from_pretrained
from polyneuron.neuron_core.model.opening import load_config
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from tests.ray.test_group import BATCHES, assert_same, some_edit
from tests.tiny_models import save_tiny_model

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(
        tmp_path_factory.mktemp("model") / "untied", "llama-mha-untied", num_hidden_layers=3
    )


@pytest.fixture(scope="module")
def pair(local_ray: None, folder: Path) -> Iterator[ModelGroup]:
    spec = ModelSpec(source=str(folder), weights="stream", hidden_states_gib=0)
    with ModelGroup(spec, GroupSpec(world_size=2)) as group:
        yield group


@pytest.fixture(scope="module")
def one_process(folder: Path) -> Iterator[LayerMajor]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield LayerMajor(from_pretrained(folder, load_config(folder), "float32"))
    torch.set_num_threads(threads)


def test_passes_give_what_one_process_gives(pair: ModelGroup, one_process: LayerMajor) -> None:
    found = merge_passes(pair.run(detection_pass, BATCHES, groups=GROUPS))
    assert_same(found, detection_pass(one_process, BATCHES, GROUPS))
    edits = [None, some_edit(one_process), None]
    expected = sentence_nlls(one_process, BATCHES, edits)
    by_rank = pair.run(sentence_nlls, BATCHES, edits=edits)
    for index in range(3):
        rows = sorted((row for rank in by_rank for row in rank[index]), key=lambda row: row.sentence)
        assert rows == expected[index]
    statistics: dict = {}
    for rank in pair.run(statistics_pass, BATCHES, languages=("x",), site="matched"):
        statistics |= rank
    alone = statistics_pass(one_process, BATCHES, ("x",), "matched")
    assert statistics.keys() == alone.keys()
    for layer, found_of_layer in statistics.items():
        for field in dataclasses.fields(found_of_layer):
            expected_values = getattr(alone[layer], field.name)
            np.testing.assert_array_equal(getattr(found_of_layer, field.name), expected_values)


def test_each_worker_reads_one_model_a_pass(pair: ModelGroup) -> None:
    pair.reset_stats()
    pair.run(sentence_nlls, BATCHES, edits=[None])
    for rank in pair.stats():
        assert rank["bytes_read"] == rank["model_bytes"] and rank["bytes_received"] == 0


@pytest.mark.long
def test_shards_are_read_once_by_all_workers_together(folder: Path) -> None:
    """The files hold float32, which is what is loaded: each byte is read by the one worker that keeps it."""
    with ModelGroup(ModelSpec(source=str(folder)), GroupSpec(world_size=2)) as group:
        stats = group.stats()
    assert sum(rank["bytes_read"] for rank in stats) == stats[0]["model_bytes"]
    assert abs(stats[0]["bytes_read"] - stats[1]["bytes_read"]) < stats[0]["model_bytes"] / 100


@pytest.mark.long
def test_a_missing_tensor_is_one_clear_error(folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with (
        pytest.raises(ModelError, match=r"lack 1 .*model\.norm\.weight"),
        ModelGroup(ModelSpec(source=str(tmp_path))),
    ):
        pass

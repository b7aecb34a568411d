"""Activation statistics of a real group: the tables of one process, bit for bit."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from polyneuron.cluster.actors.group import ModelGroup
from polyneuron.cluster.ranks.activations import statistics_pass
from polyneuron.cluster.spec import GroupSpec, ModelSpec
from polyneuron.neuron_core.activations.measure import activation_pass
from polyneuron.neuron_core.activations.names import SITES
from polyneuron.neuron_core.activations.statistics import layer_statistics
from polyneuron.neuron_core.activations.table import ActivationTable
from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.model.load import from_pretrained
from polyneuron.neuron_core.model.opening import load_config
from polyneuron.neuron_core.passes.batches import MicroBatch, Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from tests.tiny_models import token_ids

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def corpus(language: str, lengths: list[int], seed: int) -> list[MicroBatch]:
    ids = token_ids(lengths, seed, vocabulary=250)
    return micro_batches([Sentence(language, i, tuple(each), 1) for i, each in enumerate(ids)], 2)


# "sw" has one micro-batch, so one of two ranks has none of it.
CORPORA = {"en": corpus("en", [5, 9, 7, 8, 12], 0), "sw": corpus("sw", [6, 10], 1)}
BATCHES = [batch for batches in CORPORA.values() for batch in batches]


@pytest.fixture(scope="module")
def pair(local_ray: None, tiny_folder: Path) -> Iterator[ModelGroup]:
    with ModelGroup(ModelSpec(source=str(tiny_folder)), GroupSpec(world_size=2)) as group:
        yield group


@pytest.fixture(scope="module")
def one_process(tiny_folder: Path) -> Iterator[LayerMajor]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield LayerMajor(from_pretrained(tiny_folder, load_config(tiny_folder), "float32"))
    torch.set_num_threads(threads)


def table_of(group: ModelGroup, batches: Sequence[MicroBatch], site: str) -> ActivationTable:
    by_rank = group.run(statistics_pass, batches, languages=tuple(CORPORA), site=site)
    assert [sorted(found) for found in by_rank] == [[0, 2], [1]]  # three layers, dealt out
    layers = {layer: found for rank in by_rank for layer, found in rank.items()}
    return ActivationTable.build("m", site, tuple(CORPORA), [layers[i] for i in range(3)])  # type: ignore[arg-type]


@pytest.mark.parametrize("site", SITES)
def test_two_actors_give_the_table_of_one_process(pair: ModelGroup, one_process: LayerMajor, site) -> None:
    alone = [layer_statistics(found) for _, found in activation_pass(one_process, CORPORA, site)]
    expected = ActivationTable.build("m", site, tuple(CORPORA), alone).to_arrow()
    assert table_of(pair, BATCHES, site).to_arrow().equals(expected)
    # the other way round the ranks swap their micro-batches
    assert table_of(pair, BATCHES[::-1], site).to_arrow().equals(expected)
    assert expected["n_tokens"].to_pylist()[0] == 41 - 5


def test_too_many_tokens_are_refused_on_every_rank(pair: ModelGroup) -> None:
    """Each rank alone has few enough."""
    with pytest.raises(CorpusError, match="more than the 30"):
        pair.run(pass_with_room_for_thirty, BATCHES, languages=tuple(CORPORA), site="matched")
    assert table_of(pair, BATCHES, "matched").n_tokens.tolist() == [36, 14]


def pass_with_room_for_thirty(runner, batches, languages, site, progress=None):
    """The pass, with sketches that count 30 tokens."""
    import polyneuron.neuron_core.activations.sketch as sketch

    room = sketch.MAX_TOKENS
    sketch.MAX_TOKENS = 30
    try:
        return statistics_pass(runner, batches, languages, site, progress)
    finally:
        sketch.MAX_TOKENS = room

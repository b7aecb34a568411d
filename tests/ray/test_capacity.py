"""The planner against real groups: bytes gathered exactly, peak memory within 15%."""

from pathlib import Path

import pytest

from bench.capacity import DTYPES, SMALL, folder_of, line_of, measure_in_own_process
from polyneuron.cluster.actors.group import ModelGroup
from polyneuron.cluster.capacity.placing import Placing
from polyneuron.cluster.capacity.shape import shape_of
from polyneuron.cluster.spec import GroupSpec, ModelSpec
from polyneuron.neuron_core.impacts.detect import detect_language, detection_pass, merge_passes
from polyneuron.neuron_core.measures.perplexity import sentence_nlls
from polyneuron.neuron_core.model.groups import DEFAULT_GROUPS
from polyneuron.neuron_core.model.opening import load_config
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches
from tests.tiny_models import token_ids

pytestmark = pytest.mark.ray


@pytest.mark.usefixtures("local_ray")
@pytest.mark.long
def test_bytes_received_are_those_predicted(tiny_folder: Path) -> None:
    """Two passes of detection, then one of perplexity, on two ranks."""
    shape = shape_of(load_config(tiny_folder), "float32")
    sentences = [Sentence("x", i, tuple(ids)) for i, ids in enumerate(token_ids([9] * 8, vocabulary=250))]
    pair = Placing(shape=shape, world_size=2, ranks_per_node=2)
    with ModelGroup(ModelSpec(source=str(tiny_folder)), GroupSpec(world_size=2)) as group:

        def run(batches, candidates):
            found = group.run(detection_pass, batches, groups=DEFAULT_GROUPS, candidates=candidates)
            return merge_passes(found)

        detect_language(run, sentences, DEFAULT_GROUPS)
        after_detection = group.stats()[0]["bytes_received"]
        group.reset_stats()
        group.run(sentence_nlls, micro_batches(sentences, 4), edits=[None, None])
        of_perplexity = group.stats()[0]["bytes_received"]
    assert after_detection == pair.received(n_passes=2, with_head=False)
    assert of_perplexity == pair.received(n_passes=1, with_head=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("name", [*SMALL, *DTYPES])
def test_peaks_are_predicted_within_15_percent(name: str, ranks: int, tmp_path: Path) -> None:
    rows = list(measure_in_own_process(name, folder_of(name, tmp_path), ranks))
    for row in rows:
        print(line_of(row))
    stages = {row["stage"] for row in rows}
    assert {"detection", "activations", "perplexity"} <= stages
    wrong = [
        line_of(row)
        for row in rows
        if row["stage"] != "loading" and not 0.85 <= row["predicted"] / row["measured"] <= 1.15
    ]
    assert not wrong

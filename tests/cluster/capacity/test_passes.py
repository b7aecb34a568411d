"""The planner's formulas of memory and arithmetic against the code they speak of, tensor by tensor."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaConfig

from polyneuron.cluster.capacity import passes
from polyneuron.cluster.capacity.placing import Placing
from polyneuron.cluster.capacity.shape import shape_of
from polyneuron.neuron_core.activations.measure import activation_pass
from polyneuron.neuron_core.activations.statistics import layer_statistics
from polyneuron.neuron_core.impacts.detect import detection_pass
from polyneuron.neuron_core.measures.perplexity import sentence_nlls
from polyneuron.neuron_core.model.opening import load_config
from polyneuron.neuron_core.passes.batches import MicroBatch, Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from tests.cluster.live_bytes import LiveBytes

GROUPS = ("q", "k", "v", "ffn")
NOT_HERE = ("libraries", "shard", "embedding, whole", "gather staging")
NARROW: dict[str, Any] = dict(
    hidden_size=192, intermediate_size=512, num_attention_heads=6, num_key_value_heads=2
)
WIDE: dict[str, Any] = dict(
    hidden_size=256, intermediate_size=1024, num_attention_heads=8, num_key_value_heads=8
)
SHAPES = [
    pytest.param("float32", NARROW, 8, 32, id="narrow"),
    pytest.param("bfloat16", NARROW, 8, 32, id="narrow-bfloat16"),
    pytest.param("float32", WIDE, 4, 96, id="wide"),
    pytest.param("bfloat16", WIDE, 4, 64, id="wide-bfloat16"),
]


class PlannedCase:
    """A random Llama, sentences of equal length (two micro-batches if not said), and what the planner thinks of them."""

    def __init__(
        self,
        dtype: str,
        fields: dict[str, Any],
        batch: int,
        n_tokens: int,
        n_sentences: int | None = None,
        attention: str = "sdpa",
    ) -> None:
        n_sentences = n_sentences or 2 * batch  # the second finds the first one's states held
        config: Any = LlamaConfig(vocab_size=24_000, num_hidden_layers=2, **fields)
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, dtype), attn_implementation=attention
        )
        self.model = model.eval().requires_grad_(False)
        self.shape = shape_of(config, dtype)
        self.alone = Placing(shape=self.shape)
        self.runner = LayerMajor(self.model)
        self.corpus = passes.Corpus(n_sentences, n_tokens, batch)
        ids = torch.randint(3, 2000, (n_sentences, n_tokens)).tolist()
        self.batches = micro_batches([Sentence("x", i, tuple(row)) for i, row in enumerate(ids)], batch)

    def live(self) -> LiveBytes:
        return LiveBytes([*self.model.parameters(), *self.model.buffers()])


def fullest(phases: Any) -> int:
    """The largest phase without what a process, the model and its gathers take."""
    return max(sum(n for name, n in one.host.items() if name not in NOT_HERE) for one in phases)


@pytest.mark.parametrize(("dtype", "fields", "batch", "n_tokens"), SHAPES)
def test_a_forward_of_one_micro_batch(dtype: str, fields: dict[str, Any], batch: int, n_tokens: int) -> None:
    case = PlannedCase(dtype, fields, batch, n_tokens)
    with case.live() as live:
        inputs = case.runner.begin(case.batches[0])
        live.peak = before = live.now
        case.runner.run_layer(0, inputs)
    assert passes.layer_activation_bytes(case.shape, case.corpus) == pytest.approx(
        live.peak - before, rel=0.1
    )


@pytest.mark.parametrize("certified", [True, False])
@pytest.mark.parametrize(("dtype", "fields", "batch", "n_tokens"), SHAPES)
def test_detection(dtype: str, fields: dict[str, Any], batch: int, n_tokens: int, certified: bool) -> None:
    """With as many candidates as the planner expects of the fullest layer."""
    case, what = PlannedCase(dtype, fields, batch, n_tokens), passes.Detection(GROUPS, certified, 0.03)
    share = passes.CANDIDATE_SPREAD * what.floor_fraction
    candidates = {
        (layer, group): torch.arange(int(share * case.shape.width(group)))
        for layer in range(2)
        for group in "qk"
    }
    with case.live() as live:
        detection_pass(case.runner, case.batches, GROUPS, candidates if certified else None)
    predicted = fullest(passes.detection_phases(case.alone, case.corpus, what))
    assert predicted == pytest.approx(live.peak, rel=0.15)


@pytest.mark.parametrize(("dtype", "fields", "batch", "n_tokens"), SHAPES)
def test_perplexity(dtype: str, fields: dict[str, Any], batch: int, n_tokens: int) -> None:
    case = PlannedCase(dtype, fields, batch, n_tokens)
    with case.live() as live:
        sentence_nlls(case.runner, case.batches, [None] * 3)
    predicted = fullest(passes.perplexity_phases(case.alone, case.corpus, 3))
    assert predicted == pytest.approx(live.peak, rel=0.1)


@pytest.mark.parametrize("n_languages", [1, 3])
def test_activation_statistics(n_languages: int) -> None:
    case = PlannedCase("float32", NARROW, 8, 32)
    languages: dict[str, list[MicroBatch]] = {str(i): case.batches for i in range(n_languages)}
    with case.live() as live:
        for _, sketches in activation_pass(case.runner, languages, "matched"):
            layer_statistics(sketches)
    corpus = passes.Corpus(16 * n_languages, 32, 8)
    predicted = fullest(passes.activation_phases(case.alone, corpus, n_languages))
    assert predicted == pytest.approx(live.peak, rel=0.1)


def test_the_operations_of_a_forward_are_torchs_count() -> None:
    case = PlannedCase("float32", NARROW, 4, 32, n_sentences=4, attention="eager")
    ids = case.batches[0].input_ids
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        case.model(ids, use_cache=False)
    # a layer's norms are not products of matrices
    predicted = passes.forward_flops(case.shape, case.corpus, with_head=True)
    assert predicted == pytest.approx(counted.get_total_flops(), rel=1e-3)


def test_hidden_states_beyond_the_budget_go_to_disk() -> None:
    case = PlannedCase("float32", NARROW, 8, 32)
    whole = 16 * 32 * 192 * 4
    assert passes.hidden_state_bytes(case.alone, case.corpus, 1) == (whole, 0)
    small = Placing(shape=case.shape, hidden_states_bytes=whole)
    assert passes.hidden_state_bytes(small, case.corpus, 3) == (whole, 2 * whole)
    pair = Placing(shape=case.shape, world_size=2, ranks_per_node=2)
    assert passes.hidden_state_bytes(pair, case.corpus, 1) == (whole // 2, 0)


def test_streaming_gathers_nothing_and_reads_every_pass() -> None:
    shape = shape_of(load_config(Path(__file__).parents[2] / "shapes" / "llama-3.1-70b"), "bfloat16")
    stream = Placing(shape=shape, world_size=4, ranks_per_node=2, weights="stream")
    assert stream.received(6, with_head=True) == 0
    assert stream.read(6, with_head=True) == 2 * 6 * stream.made_whole(with_head=True)
    layer = passes.detection_phases(stream, passes.Corpus(8, 16, 4), passes.Detection(GROUPS, True, 0.03))[1]
    assert "shard" not in layer.host and layer.host["layer, whole"] == shape.layer_bytes

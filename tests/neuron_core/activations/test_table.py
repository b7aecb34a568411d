"""Measuring from a notebook: the table, its Arrow form, hooks that leave nothing behind, and clear refusals."""

from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from polyneuron.neuron_core.activations.measure import measure_activations, recorded_activations
from polyneuron.neuron_core.activations.schema import ACTIVATIONS_SCHEMA
from polyneuron.neuron_core.activations.table import ActivationTable
from polyneuron.neuron_core.common.errors import CorpusError, ModelError, SetError
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.families import Family
from tests.tiny_models import tiny_model, token_ids

CORPORA = {"bb": token_ids([5, 9, 7], seed=1), "aa": token_ids([6, 8], seed=2)}


@pytest.fixture(scope="module")
def table() -> ActivationTable:
    return measure_activations(tiny_model("qwen2"), None, CORPORA, model_name="m")


def same(a: ActivationTable, b: ActivationTable) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(ActivationTable))


def test_shape_and_rows(table: ActivationTable) -> None:
    arrow = table.to_arrow()
    assert arrow.schema.equals(ACTIVATIONS_SCHEMA) and arrow.num_rows == 2 * 2 * 40
    assert (table.languages, table.n_layers, table.width) == (("bb", "aa"), 2, 40)
    assert table.n_tokens.tolist() == [21, 14]
    row = arrow.slice(40 + 7, 1).to_pylist()[0]
    assert (row["language"], row["site"], row["layer"], row["neuron"]) == ("bb", "matched", 1, 7)
    assert row["n_positive"] == table.n_positive[0, 1, 7] and row["p90"] == table.percentiles[0, 1, 7, 5]
    assert row["above_pooled"] == table.above_pooled[0, 1, 7].tolist()


def test_arrow_keeps_everything_in_any_order(table: ActivationTable) -> None:
    assert same(ActivationTable.from_arrow(table.to_arrow(), "m"), table)
    arrow = table.to_arrow().append_column("model", pa.array(["m"] * 160))
    first = np.array([0])  # the order of languages is that of their first rows
    rest = np.random.default_rng(0).permutation(np.arange(1, 160))
    assert same(ActivationTable.from_arrow(arrow.take(np.concatenate([first, rest]))), table)


def test_broken_tables_are_refused(table: ActivationTable) -> None:
    arrow = table.to_arrow()
    with pytest.raises(SetError, match="159 rows where 160"):
        ActivationTable.from_arrow(arrow.slice(1))
    with pytest.raises(SetError, match="161 rows"):
        ActivationTable.from_arrow(pa.concat_tables([arrow, arrow.slice(3, 1)]))
    with pytest.raises(SetError, match="no column p90"):
        ActivationTable.from_arrow(arrow.drop(["p90"]))
    with pytest.raises(SetError, match="no activations"):
        ActivationTable.from_arrow(arrow.slice(0, 0))
    other = replace(table, site="pre_activation", languages=("cc", "dd")).to_arrow()
    with pytest.raises(SetError, match="site matched, pre_activation"):
        ActivationTable.from_arrow(pa.concat_tables([arrow, other]))
    elsewhere = replace(table, languages=("cc", "dd"), pooled=table.pooled + 1).to_arrow()
    with pytest.raises(SetError, match="measure them together"):
        ActivationTable.from_arrow(pa.concat_tables([arrow, elsewhere]))


def test_matched_activations_are_in_the_range_of_silu_and_pre_activations_are_not() -> None:
    """Why both sites exist: SiLU is never below -0.2785."""
    model = tiny_model("qwen2")
    matched = measure_activations(model, None, CORPORA)
    before = measure_activations(model, None, CORPORA, site="pre_activation")
    assert matched.minimum.min() >= -0.27847 and matched.percentiles.min() >= -0.27847
    assert before.percentiles.min() < -1
    assert np.array_equal(matched.n_positive, before.n_positive)  # SiLU keeps the sign


def test_plain_feed_forward_block() -> None:
    """No declared family lacks a gate; the capture point does not need one."""

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mlp = nn.Sequential()
            self.mlp.add_module("up", nn.Linear(4, 6))
            self.mlp.add_module("act", nn.ReLU())
            self.mlp.add_module("down", nn.Linear(6, 4))

    layer = Plain()
    anatomy = replace(
        anatomy_of(tiny_model("qwen2")),
        family=Family(name="plain", model_types=("plain",), activation="act"),
        ffn_width=6,
    )
    hidden = torch.randn(2, 3, 4)
    scored = torch.tensor([[True, True, True], [False, True, False]])
    for site, expected in (
        ("matched", layer.mlp.up(hidden).relu()),
        ("pre_activation", layer.mlp.up(hidden)),
    ):
        with recorded_activations(layer, anatomy, site) as record:
            layer.mlp(hidden)
        assert torch.equal(record.scored(scored), expected[scored])
    assert not layer.mlp.act._forward_hooks


def test_nan_weights_are_named() -> None:
    model = tiny_model("llama-mha-untied")
    model.model.layers[1].mlp.gate_proj.weight.data[3, 5] = float("nan")
    with pytest.raises(ModelError, match="Layer 1: an activation of size nan"):
        measure_activations(model, None, CORPORA)
    assert not any(module._forward_hooks for module in model.modules())
    model.model.layers[1].mlp.gate_proj.weight.data[3] = 1e6
    with pytest.raises(ModelError, match="beyond the 65536"):
        measure_activations(model, None, CORPORA)


def test_unusable_input_is_refused() -> None:
    model = tiny_model("llama-mha-untied")
    with pytest.raises(CorpusError, match="'cc'"):
        measure_activations(model, None, {"aa": [[5, 6]], "cc": []})
    with pytest.raises(CorpusError, match="no language"):
        measure_activations(model, None, {})
    with pytest.raises(ValueError, match="matched, pre_activation"):
        measure_activations(model, None, CORPORA, site="up")


def test_model_is_left_as_it_was() -> None:
    model = tiny_model("gemma2")
    before = {name: parameter.clone() for name, parameter in model.state_dict().items()}
    measure_activations(model, None, CORPORA)
    assert all(torch.equal(before[name], parameter) for name, parameter in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())

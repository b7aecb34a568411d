"""WeightEdit and export: bit-exact restoration whatever happens, files without pickle, and folders
transformers opens.
"""

from contextlib import ExitStack

import pytest
import torch
from transformers import AutoModelForCausalLM

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.edits.export import PROVENANCE, export_checkpoint
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from tests.tiny_models import tiny_model

MODELS = ["llama-gqa-tied", "llama-mha-untied", "llama-biased", "qwen2", "phi3", "gemma3-multimodal"]
IDS = torch.tensor([[5, 9, 31, 7, 60, 12]])


def some_neurons(model, first: int = 0) -> NeuronSet:
    anatomy = anatomy_of(model)
    keys = [(layer, group) for layer in range(anatomy.n_layers) for group in ("q", "k", "v", "ffn", "o")]
    indices = {(layer, g): [first, first + 3 + layer, anatomy.widths[g] - 1] for layer, g in keys}
    return NeuronSet.from_indices("tiny", anatomy.widths, anatomy.n_layers, indices)


def tiny(name: str, dtype: torch.dtype, seed: int = 0):
    """Casts parameters only: a checkpoint has no rotary tables, so casting those too would not survive an
    export.
    """
    model = tiny_model(name, seed)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    model.config.dtype = dtype
    return model


def bits(model) -> dict:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_bits(model, before: dict) -> bool:
    def raw(tensor):
        return tensor.contiguous().view(torch.uint8)

    after = model.state_dict()
    return after.keys() == before.keys() and all(
        torch.equal(raw(after[name]), raw(before[name])) for name in before
    )


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(input_ids=IDS).logits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", MODELS)
def test_zero_changes_its_rows_and_columns_only_and_restores(name: str, dtype: torch.dtype) -> None:
    model = tiny_model(name).to(dtype)
    which, anatomy, before = some_neurons(model), anatomy_of(model), bits(model)
    with WeightEdit.zero(which).applied(model):
        expected = {name: tensor.clone() for name, tensor in before.items()}
        for layer, group in which.places():
            for part in anatomy.slices(group):
                rows = torch.from_numpy(which.indices(layer, group) + part.offset)
                tensor = expected[anatomy.parameter_name(layer, part)]
                tensor.index_fill_(part.axis, rows, 0)
        assert same_bits(model, expected)
        assert not same_bits(model, before)
    assert same_bits(model, before)


def test_zero_takes_biases_and_both_fused_halves() -> None:
    qwen, phi = tiny_model("qwen2"), tiny_model("phi3")
    with WeightEdit.zero(NeuronSet.from_indices("m", anatomy_of(qwen).widths, 2, {(1, "k"): [3]})).applied(
        qwen
    ):
        attention = qwen.model.layers[1].self_attn
        assert (
            attention.k_proj.bias[3] == 0
            and not attention.k_proj.weight[3].any()
            and attention.k_proj.bias[2] != 0
        )
    with WeightEdit.zero(
        NeuronSet.from_indices("m", anatomy_of(phi).widths, 2, {(0, "ffn"): [3], (0, "v"): [2]})
    ).applied(phi):
        mlp, qkv = phi.model.layers[0].mlp, phi.model.layers[0].self_attn.qkv_proj.weight
        dead = (mlp.gate_up_proj.weight == 0).all(1).nonzero()[:, 0].tolist()
        assert dead == [3, 43] and (mlp.down_proj.weight == 0).all(0).nonzero()[:, 0].tolist() == [3]
        assert (qkv == 0).all(1).nonzero()[:, 0].tolist() == [32 + 16 + 2]


@pytest.mark.parametrize("name", ["llama-gqa-tied", "phi3"])
def test_exceptions_and_nesting_restore(name: str) -> None:
    model = tiny_model(name).to(torch.bfloat16)
    before, which = bits(model), some_neurons(model)
    other = WeightEdit.from_values(
        which, {k: v * 2 for k, v in WeightEdit.capture(which, model).values.items()}
    )
    with pytest.raises(KeyboardInterrupt), WeightEdit.zero(which).applied(model):
        with pytest.raises(RuntimeError, match="inside"), other.applied(model):
            raise RuntimeError("inside")
        with WeightEdit.zero(some_neurons(model, first=1)).applied(model), other.applied(model):
            raise KeyboardInterrupt
    assert same_bits(model, before)


def test_leaving_in_the_wrong_order_is_an_error_and_restores() -> None:
    model = tiny_model("llama-gqa-tied")
    before, outer, inner = bits(model), ExitStack(), ExitStack()
    outer.enter_context(WeightEdit.zero(some_neurons(model)).applied(model))
    inner.enter_context(WeightEdit.zero(some_neurons(model, first=1)).applied(model))
    with pytest.raises(SetError, match="Leave the last one first"):
        outer.close()
    assert same_bits(model, before)
    inner.close()
    assert same_bits(model, before)


@pytest.mark.parametrize("name", MODELS)
def test_capture_then_apply_is_the_captured_model(name: str) -> None:
    donor, model = tiny_model(name, seed=1), tiny_model(name, seed=0)
    which, before = some_neurons(model), bits(model)
    edit = WeightEdit.capture(which, donor)
    with edit.applied(model):
        again = WeightEdit.capture(which, model)
        assert again.fingerprint() == edit.fingerprint()
        assert not same_bits(model, before)
    assert same_bits(model, before)


def test_values_are_rows_in_the_order_of_the_set() -> None:
    model = tiny_model("llama-gqa-tied")
    which = NeuronSet.from_indices("m", anatomy_of(model).widths, 3, {(1, "o"): [7, 2]})
    key = "model.layers.1.self_attn.o_proj.weight:o"
    values = torch.stack([torch.full((32,), 2.0), torch.full((32,), 7.0)])
    with WeightEdit.from_values(which, {key: values}).applied(model):
        weight = model.model.layers[1].self_attn.o_proj.weight
        assert (weight[:, 2] == 2).all() and (weight[:, 7] == 7).all()


@pytest.mark.parametrize("name", ["qwen2", "phi3"])
def test_layers_one_by_one_are_the_whole_edit(name: str) -> None:
    model = tiny_model(name)
    edit, before = WeightEdit.capture(some_neurons(model), tiny_model(name, seed=1)), bits(model)
    with edit.applied(model):
        whole = bits(model)
    with ExitStack() as stack:
        for layer in range(anatomy_of(model).n_layers):
            stack.enter_context(edit.applied(model, layer))
        assert same_bits(model, whole)
    assert same_bits(model, before)
    with edit.applied(model, 0):
        changed = [
            name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])
        ]
    assert changed and all(".layers.0." in name for name in changed)


def test_wrong_models_are_refused_untouched(tmp_path) -> None:
    model = tiny_model("llama-gqa-tied")
    before, biased = bits(model), tiny_model("llama-biased")
    fewer_layers = WeightEdit.zero(some_neurons(tiny_model("llama-gqa-tied", num_hidden_layers=2)))
    wider = WeightEdit.zero(some_neurons(tiny_model("llama-gqa-tied", intermediate_size=48)))
    foreign = WeightEdit.capture(some_neurons(biased), biased)
    too_long = WeightEdit.from_values(
        some_neurons(model),
        {k: torch.cat([v, v]) for k, v in WeightEdit.capture(some_neurons(model), model).values.items()},
    )
    narrow = WeightEdit.from_values(
        some_neurons(model),
        {k: v[:, :-1] for k, v in WeightEdit.capture(some_neurons(model), model).values.items()},
    )
    for edit, words in [
        (fewer_layers, "2 layers"),
        (wider, "48 ffn"),
        (foreign, "layers"),
        (too_long, "rows"),
        (narrow, "fill"),
    ]:
        with pytest.raises(SetError, match=words), edit.applied(model):
            pytest.fail("was applied")
        assert same_bits(model, before)
    with pytest.raises(SetError, match="48 ffn"):
        WeightEdit.load(wider.save(tmp_path / "wider.safetensors"), model)
    with pytest.raises(SetError, match="not cover.*bias"):
        WeightEdit.capture(some_neurons(model), model).require_fit(
            tiny_model("llama-biased", num_hidden_layers=3)
        )


def test_sharded_parameters_are_refused() -> None:
    model = tiny_model("llama-gqa-tied")
    edit, weight = WeightEdit.zero(some_neurons(model)), model.model.layers[1].mlp.up_proj.weight
    weight.data = torch.zeros(0)
    first = model.model.layers[0].self_attn.q_proj.weight.clone()
    with pytest.raises(SetError, match="sharded"), edit.applied(model):
        pytest.fail("was applied")
    assert torch.equal(model.model.layers[0].self_attn.q_proj.weight, first)
    with edit.applied(model, 0):
        assert not model.model.layers[0].self_attn.q_proj.weight[0].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_save_and_load(tmp_path, dtype: torch.dtype) -> None:
    model = tiny_model("phi3").to(dtype)
    for edit in (
        WeightEdit.zero(some_neurons(model), "shared"),
        WeightEdit.capture(some_neurons(model), model),
    ):
        again = WeightEdit.load(edit.save(tmp_path / "edit.safetensors"), model)
        assert (again.neuron_set, again.kind, again.name) == (edit.neuron_set, edit.kind, edit.name)
        assert again.fingerprint() == edit.fingerprint()
        assert all(again.values[key].dtype == dtype for key in edit.values or {})
    assert [path.name for path in tmp_path.iterdir()] == ["edit.safetensors"]


def test_bad_files_are_refused(tmp_path) -> None:
    from safetensors.torch import save_file

    model = tiny_model("llama-gqa-tied")
    whole = WeightEdit.capture(some_neurons(model), model).save(tmp_path / "edit.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    save_file({}, tmp_path / "damaged.safetensors", metadata={"polyneuron.weight_edit": '{"version": 1}'})
    for name in ("cut", "foreign", "damaged", "absent"):
        with pytest.raises(SetError, match=name):
            WeightEdit.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(SetError, match="cannot be written"):
        WeightEdit.zero(some_neurons(model)).save(tmp_path / "no" / "edit.safetensors")


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, torch.float32) for name in MODELS), ("llama-gqa-tied", torch.bfloat16)]
)
def test_export_opens_with_plain_transformers(tmp_path, name: str, dtype: torch.dtype) -> None:
    model = tiny(name, dtype)
    edit = WeightEdit.capture(some_neurons(model), tiny(name, dtype, seed=1))
    before, base = bits(model), logits(model)
    with edit.applied(model):
        expected = logits(model)
    folder = export_checkpoint(model, None, edit, tmp_path / "out")
    assert same_bits(model, before)
    opened = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation=model.config._attn_implementation
    ).eval()
    assert torch.equal(logits(opened), expected) and not torch.allclose(expected, base)
    assert (folder / PROVENANCE).exists() and [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(SetError, match="exists already"):
        export_checkpoint(model, None, edit, folder)


def test_failed_export_leaves_nothing(tmp_path) -> None:
    model = tiny_model("llama-gqa-tied")
    before, blocker = bits(model), tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(SetError, match="cannot be exported"):
        export_checkpoint(model, None, WeightEdit.zero(some_neurons(model)), blocker / "out")
    assert same_bits(model, before) and [path.name for path in tmp_path.iterdir()] == ["file"]


def test_names_and_fingerprints() -> None:
    model = tiny_model("llama-gqa-tied")
    which = some_neurons(model)
    zero, values = WeightEdit.zero(which), WeightEdit.capture(which, model)
    assert (
        zero.name == f"zero-{which.fingerprint()[:8]}" and WeightEdit.zero(which, "shared").name == "shared"
    )
    assert zero.fingerprint() == WeightEdit.zero(which, "other").fingerprint() != values.fingerprint()
    nudged = {key: value + 1 for key, value in values.values.items()}
    assert WeightEdit.from_values(which, nudged).fingerprint() != values.fingerprint()

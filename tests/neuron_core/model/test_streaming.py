"""Passes over a model whose weights stay in its files give the bits of the same model in memory."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from polyneuron.neuron_core.activations.measure import activation_pass
from polyneuron.neuron_core.activations.names import SITES
from polyneuron.neuron_core.common.errors import ModelError
from polyneuron.neuron_core.edits.intervention import Intervention
from polyneuron.neuron_core.impacts.detect import detection_pass
from polyneuron.neuron_core.measures.perplexity import sentence_nlls
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.model.load import from_pretrained
from polyneuron.neuron_core.model.opening import load_config
from polyneuron.neuron_core.model.stored_model import StoredModel
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from tests.edits import edits_of, random_neurons
from tests.own_process import found_by
from tests.tiny_models import TINY, tiny_model, token_ids

BATCHES = micro_batches(
    [Sentence("x", i, tuple(ids), i % 2) for i, ids in enumerate(token_ids([5, 9, 7, 8, 12]))], 2
)
IDS = torch.tensor(token_ids([8, 8]))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def streamed(folder: Path, dtype: str = "float32", hidden_bytes: int | None = 0) -> LayerMajor:
    stored = StoredModel(folder, dtype)
    return LayerMajor(stored.model, gather=stored.gather, hidden_bytes=hidden_bytes)


@pytest.fixture(params=[(name, dtype) for name in TINY for dtype in ("float32", "bfloat16")], ids="-".join)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A model of each family in several files, whose tensors are float32 whatever the model's dtype will be."""
    name, dtype = request.param
    tiny_model(name).save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    return tmp_path, dtype


def test_every_family_is_the_model_that_transformers_loads(saved: tuple[Path, str]) -> None:
    folder, dtype = saved
    ours, theirs = StoredModel(folder, dtype), from_pretrained(folder, load_config(folder), dtype)
    for found, expected in zip(ours.model.named_buffers(), theirs.named_buffers(), strict=True):
        assert found[0] == expected[0] and found[1].dtype == expected[1].dtype
        assert torch.equal(found[1], expected[1])
    assert not any(parameter.numel() for parameter in ours.model.parameters())
    with ours.gather(list(ours.model.parameters())):
        for found, expected in zip(ours.model.named_parameters(), theirs.named_parameters(), strict=True):
            assert found[0] == expected[0] and found[1].dtype == expected[1].dtype
            assert torch.equal(found[1], expected[1])
        assert torch.equal(ours.model(IDS).logits, theirs(IDS).logits)
    assert ours.model_bytes == sum(p.numel() * p.element_size() for p in theirs.parameters())
    assert not any(parameter.numel() for parameter in ours.model.parameters())


def test_every_family_streams_to_the_same_bits(saved: tuple[Path, str]) -> None:
    """Detection, activations and the perplexity of variants, with all hidden states in a file."""
    folder, dtype = saved
    model = from_pretrained(folder, load_config(folder), dtype)
    ours, theirs = streamed(folder, dtype), LayerMajor(model)
    expected = detection_pass(theirs, BATCHES, GROUPS)
    found = detection_pass(ours, BATCHES, GROUPS)
    assert found.keys() == expected.keys()
    for key, impacts in found.items():
        for field in ("minimum", "maximum", "smallest", "worst_rank", "total"):
            assert torch.equal(getattr(impacts, field), getattr(expected[key], field)), (key, field)
    for site in SITES:
        pairs = zip(
            activation_pass(ours, {"x": BATCHES}, site),
            activation_pass(theirs, {"x": BATCHES}, site),
            strict=True,
        )
        for (_, one), (_, other) in pairs:
            assert torch.equal(one["x"].counts, other["x"].counts)
            assert torch.equal(one["x"].total, other["x"].total)
    neurons = random_neurons(model, 3)
    ffn = random_neurons(model, 3, ("ffn",))
    edits = [*edits_of(model, neurons, 0.5).values(), Intervention.scaled(ffn, 2.0), None]
    rows = sentence_nlls(ours, BATCHES, edits)
    assert rows == sentence_nlls(theirs, BATCHES, edits)
    assert rows[0] == rows[-1] and len({row[0].nll_nats for row in rows}) == len(edits) - 1
    assert ours.hidden.memory_bytes == ours.hidden.spilled_bytes == 0, "a pass gives back what it used"


def test_a_pass_reads_each_layer_once_and_no_more(tmp_path: Path) -> None:
    tiny_model("llama-mha-untied").save_pretrained(tmp_path)
    stored = StoredModel(tmp_path, "float32")
    runner = LayerMajor(stored.model, gather=stored.gather)
    sentence_nlls(runner, BATCHES, [None, None])
    assert stored.files.bytes_read == stored.model_bytes, "embedding before, layers, norm and head after"


def test_the_vision_tower_is_not_read(tmp_path: Path) -> None:
    model = tiny_model("gemma3-multimodal")
    model.save_pretrained(tmp_path)
    stored = StoredModel(tmp_path, "float32")
    sentence_nlls(LayerMajor(stored.model, gather=stored.gather), BATCHES, [None])
    text = sum(p.numel() for p in model.model.language_model.parameters())
    embedding = model.get_input_embeddings().weight.numel()  # tied: read again as the head
    assert stored.files.bytes_read == 4 * (text + embedding)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model("llama-mha-untied").save_pretrained(tmp_path)
    return tmp_path


def test_truncated_files_are_refused_at_once(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        StoredModel(folder, "float32")


def test_files_that_are_not_safetensors_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        StoredModel(folder, "float32")


def test_files_cut_short_later_are_named(folder: Path) -> None:
    runner = streamed(folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(ModelError, match=r"cannot be read from .*the file ends before the tensor"):
        detection_pass(runner, BATCHES, GROUPS)


def test_files_removed_later_are_named(folder: Path) -> None:
    runner = streamed(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="No such file"):
        detection_pass(runner, BATCHES, GROUPS)


def test_no_weights_at_all(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be found"):
        StoredModel(folder, "float32")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("model.layers.1.mlp.up_proj.weight"), r"lack 1 .*layers\.1\.mlp\.up_proj\.weight"),
        (lambda t: t.update({"model.norm.weight": torch.ones(7)}), r"norm\.weight .* shape \[7\].* \[32\]"),
        (lambda t: t.update({"model.norm.weight": torch.ones(32, dtype=torch.int8)}), "dtype I8"),
    ],
    ids=["missing", "shape", "quantised"],
)
def test_tensors_that_do_not_fit_are_named(folder: Path, change, message: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=message):
        StoredModel(folder, "float32")


def test_a_quantised_model_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": {"bits": 4}}))
    with pytest.raises(ModelError, match="quantised"):
        StoredModel(folder, "float32")


def test_tied_weights_stored_twice_are_read_as_they_are(tmp_path: Path) -> None:
    tiny_model("llama-gqa-tied").save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    theirs = LayerMajor(from_pretrained(tmp_path, load_config(tmp_path), "float32"))
    assert sentence_nlls(streamed(tmp_path), BATCHES, [None]) == sentence_nlls(theirs, BATCHES, [None])


@pytest.mark.long
def test_memory_is_a_layer_and_not_a_model(tmp_path: Path) -> None:
    """A model of 16 layers, in a process of its own; a quarter of the model would be four layers."""
    found = found_by("tests.streaming_memory", tmp_path, threads=1, timeout_s=120)
    assert found["model_bytes"] > 180 << 20
    assert found["grown_bytes"] < found["model_bytes"] / 4
    assert found["same"], "the first two layers are those of an ordinary model"

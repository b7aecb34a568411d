"""Import of published sets: right rows under grouped queries, a loud note, and no code run from a file."""

import json
import pickle
import warnings
from dataclasses import replace

import pytest
import torch

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.published.sets import (
    PublishedSetWarning,
    kv_rows,
    load_lape,
    load_published_json,
)
from tests.tiny_models import tiny_model

GQA = anatomy_of(tiny_model("llama-gqa-tied"))  # 4 query heads, 2 kv heads, head dim 8, FFN 40, 3 layers
MHA = anatomy_of(tiny_model("llama-mha-untied"))


def test_rows_are_those_that_repeat_kv_reads() -> None:
    """Repeats k_proj's rows as the model does and looks up where each feature came from."""
    rows = torch.arange(16).reshape(2, 8).repeat_interleave(2, dim=0).reshape(-1)
    assert kv_rows(range(32), 2, 8).tolist() == rows.tolist()
    assert kv_rows([0, 8, 15, 16, 31], 2, 8).tolist() == [0, 0, 7, 8, 15]


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def of_every_layer(content, n_layers=3):
    """As published: what a group does not select in a layer is an empty list."""
    return {key: {str(layer): [] for layer in range(n_layers)} | layers for key, layers in content.items()}


def test_groups_and_correction(tmp_path) -> None:
    content = {
        "fwd_up": {"0": [3, 1]},
        "fwd_down": {"0": [3, 5]},
        "attn_q": {"1": [31]},
        "attn_k": {"2": [9, 1, 16]},
        "attn_v": {"2": []},
        "attn_o": {"0": [30]},
    }
    with pytest.warns(PublishedSetWarning, match="3 k and v indices .* 2 rows .* change only 1") as caught:
        found = load_published_json(write(tmp_path / "set.json", of_every_layer(content)), GQA, "m")
    assert len(caught) == 1
    assert found.indices(0, "ffn").tolist() == [1, 3, 5]
    assert found.indices(1, "q").tolist() == [31] and found.indices(0, "o").tolist() == [30]
    assert found.indices(2, "k").tolist() == [1, 8]  # 9 and 1 read row 1, 16 reads row 8; published: 4, 0, 8


def test_no_note_without_grouped_queries(tmp_path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = load_published_json(
            write(tmp_path / "set.json", of_every_layer({"attn_k": {"0": [9, 31]}}, 2)), MHA, "m"
        )
    assert found.indices(0, "k").tolist() == [9, 31]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"mlp_up": {}}, "unknown keys"),
        ({"attn_q": [1]}, "key -> layer"),
        (of_every_layer({"attn_q": {"0": [32]}}), "index 32 is outside 0 to 31"),
        (of_every_layer({"attn_q": {"0": [-1]}}), "index -1"),
        ({"attn_q": {"x": [1]}}, "not a layer"),
        (of_every_layer({"attn_q": {"0": ["1"]}}), "whole numbers"),
        (of_every_layer({"attn_q": {"0": [[1], [1, 2]]}}), "whole numbers"),
        (of_every_layer({"attn_q": {"7": [1]}}), "layer 7.* 3 "),
        (of_every_layer({"attn_q": {"0": [1]}}, 2), "2 layers.* 3 "),
        (of_every_layer({"attn_q": {"0": [1]}}, 4), "4 layers.* 3 "),
        ({}, "0 layers"),
        (of_every_layer({"fwd_up": {str(layer): list(range(20)) for layer in range(3)}}), "narrower"),
    ],
)
def test_bad_json_is_refused(tmp_path, content, words) -> None:
    with pytest.raises(SetError, match=words):
        load_published_json(write(tmp_path / "set.json", content), GQA, "m")


def test_lape(tmp_path) -> None:
    layers = [torch.tensor([4, 2]), torch.tensor([], dtype=torch.int64), torch.tensor([39])]
    torch.save([layers, [torch.tensor([0])] * 3], tmp_path / "x.neuron.pth")
    found = load_lape(tmp_path / "x.neuron.pth", GQA, "m", ["en", "zh"])
    assert set(found["en"]) == {(0, "ffn", 2), (0, "ffn", 4), (2, "ffn", 39)} and len(found["zh"]) == 3
    with pytest.raises(SetError, match="2 languages, but 7"):
        load_lape(tmp_path / "x.neuron.pth", GQA, "m")
    torch.save([layers[:2]], tmp_path / "short.pth")
    with pytest.raises(SetError, match="2 layers, but m has 3"):
        load_lape(tmp_path / "short.pth", GQA, "m", ["en"])
    torch.save({"a": 1}, tmp_path / "dict.pth")
    with pytest.raises(SetError, match="not a LAPE set"):
        load_lape(tmp_path / "dict.pth", GQA, "m", ["en"])


@pytest.mark.parametrize("width", [40, 80])
def test_a_lape_file_is_compared_with_the_width(tmp_path, width) -> None:
    """1% of the neurons of a wider and of the same model."""
    wide = replace(GQA, ffn_width=4000)
    generator = torch.Generator().manual_seed(0)
    n = round(0.01 * 4000 * width / 40)
    one = [torch.randperm(4000, generator=generator)[:n] for _ in range(3)]
    torch.save([one], tmp_path / "x.neuron.pth")
    if width == 40:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            load_lape(tmp_path / "x.neuron.pth", wide, "m", ["en"])
    else:
        with pytest.warns(PublishedSetWarning, match="240 .*120"):
            load_lape(tmp_path / "x.neuron.pth", wide, "m", ["en"])
        with pytest.raises(SetError, match="narrower"):
            load_lape(tmp_path / "x.neuron.pth", replace(GQA, ffn_width=8000), "m", ["en"])


def test_counts_of_a_published_file(tmp_path) -> None:
    """A neuron of two languages counts in both, and once in all."""
    en = [torch.tensor([4, 2]), torch.tensor([], dtype=torch.int64), torch.arange(9)]
    torch.save([en, [torch.tensor([4])] * 3], tmp_path / "x.neuron.pth")
    found = load_lape(tmp_path / "x.neuron.pth", GQA, "m", ["en", "zh"])
    assert [len(found[language]) for language in ("en", "zh")] == [11, 3]
    assert len(found["en"] | found["zh"]) == 12


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code in the file was run",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_lape_runs_no_code(tmp_path) -> None:
    torch.save([[Bomb()]], tmp_path / "bomb.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.pth", "plain.pth", "absent.pth"):
        with pytest.raises(SetError, match=name):
            load_lape(tmp_path / name, GQA, "m", ["en"])

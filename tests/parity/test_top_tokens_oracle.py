"""The strongest tokens against all values of a whole model, held and sorted; and merged shards against one pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyneuron.eval.neurons.packed import inlined
from polyneuron.eval.report.numbers.study import read_report
from polyneuron.neuron_core.activations.top_tokens import TopTokens, merge_top_tokens, top_tokens_pass
from polyneuron.neuron_core.corpora.embedded_corpus import embedded
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.model.load import load_model, resolve_model
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches, tokenize
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from tests.parity.activation_oracle import oracle_activations
from tests.pipelines.in_process import TinyStudy, tiny_config
from tests.real_models import smollm2_gguf
from tests.tiny_models import TINY, tiny_model, token_ids

K = 5


def oracle_values(model: Any, sentences: Sequence[Sentence]) -> dict[tuple[int, str], Tensor]:
    """By layer and group, the values of all neurons on all scored tokens [n, N]: whole forward passes, a sentence at a time."""
    anatomy, widths = anatomy_of(model), anatomy_of(model).widths
    found: dict[tuple[int, str], list[Tensor]] = {}
    handles = []
    for i, layer in enumerate(anatomy.layers(model)):
        attention = layer.self_attn

        def keep(i: int, group: str, part: slice) -> Any:
            return lambda module, args, out: found.setdefault((i, group), []).append(out[0][:, part])

        starts = {"q": 0, "k": widths["q"], "v": widths["q"] + widths["k"]}
        for group, start in starts.items():
            fused = anatomy.family.fused
            projection = attention.qkv_proj if fused else getattr(attention, f"{group}_proj")
            part = slice(start * fused, start * fused + widths[group])
            handles.append(projection.register_forward_hook(keep(i, group, part)))
        before = lambda module, args, i=i: found.setdefault((i, "o"), []).append(args[0][0])  # noqa: E731
        handles.append(attention.o_proj.register_forward_pre_hook(before))
    ffn = oracle_activations(model, sentences, "matched")
    for handle in handles:
        handle.remove()
    by_place = {
        place: torch.cat([each[s.n_unscored :] for each, s in zip(parts, sentences, strict=True)])
        for place, parts in found.items()
    }
    return by_place | {(i, "ffn"): values.float() for i, values in enumerate(ffn)}


def of_sort(values: Tensor, group: str, tokens: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """For each neuron the tokens in order of strength, all of them."""
    strengths = (values if group == "ffn" else values.abs()).T.tolist()
    return [
        [token for _, *token in sorted((-s, *t) for s, t in zip(of_neuron, tokens, strict=True))]  # type: ignore[misc]
        for of_neuron in strengths
    ]


def a_corpus(lengths: list[int], n_unscored: int = 0) -> list[Sentence]:
    return [Sentence("xx", i, tuple(ids), n_unscored) for i, ids in enumerate(token_ids(lengths))]


@pytest.mark.parametrize("name", TINY)
def test_the_strongest_tokens_are_the_first_of_a_whole_sort(name: str) -> None:
    model = tiny_model(name)
    anatomy, sentences = anatomy_of(model), a_corpus([7, 3, 12, 1, 9, 9], n_unscored=1)
    chosen = {(layer, group): [0, 3, 7] for layer in range(anatomy.n_layers) for group in GROUPS}
    neurons = NeuronSet.from_indices("tiny", anatomy.widths, anatomy.n_layers, chosen)
    found = top_tokens_pass(LayerMajor(model), micro_batches(sentences, 4), neurons, K)
    tokens = [(s.index, at) for s in sentences for at in range(s.n_unscored, len(s.token_ids))]
    whole = oracle_values(model, sentences)
    assert found.keys() == chosen.keys()
    for (layer, group), top in found.items():
        values = whole[layer, group][:, [0, 3, 7]]
        for n, wanted in enumerate(of_sort(values, group, tokens)):
            got = list(zip(top.sentences[:, n].tolist(), top.positions[:, n].tolist(), strict=True))
            assert got == [tuple(token) for token in wanted[:K]], (layer, group, n)
            rows = [tokens.index(token) for token in got]
            torch.testing.assert_close(top.values[:, n], values[rows, n], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_smollm2s_strongest_tokens_are_those_of_a_whole_pass() -> None:
    """Thai sentences, five neurons of each layer and group. Batches round otherwise than single sentences, so tokens may change
    places where their values agree to five digits."""
    model, tokenizer = load_model(smollm2_gguf())
    sentences = tokenize(tokenizer, "th", embedded()["th"][:24], 32)
    anatomy = anatomy_of(model)
    chosen = {
        (layer, group): [(97 * (layer + 1) + 31 * n) % anatomy.widths[group] for n in range(5)]
        for layer in range(anatomy.n_layers)
        for group in GROUPS
    }
    neurons = NeuronSet.from_indices("smollm2", anatomy.widths, anatomy.n_layers, chosen)
    found = top_tokens_pass(LayerMajor(model), micro_batches(sentences, 8), neurons, K)
    tokens = [(s.index, at) for s in sentences for at in range(s.n_unscored, len(s.token_ids))]
    whole, n_same, n_all = oracle_values(model, sentences), 0, 0
    for (layer, group), top in found.items():
        values = whole[layer, group][:, neurons.indices(layer, group)]
        for n, wanted in enumerate(of_sort(values, group, tokens)):
            got = list(zip(top.sentences[:, n].tolist(), top.positions[:, n].tolist(), strict=True))
            rows = [tokens.index(token) for token in got]
            torch.testing.assert_close(top.values[:, n], values[rows, n], rtol=1e-4, atol=1e-4)
            best = [tokens.index((sentence, at)) for sentence, at in wanted[:K]]
            strengths = (values if group == "ffn" else values.abs())[:, n]
            torch.testing.assert_close(strengths[rows], strengths[best], rtol=1e-5, atol=1e-5)
            n_same, n_all = n_same + sum(map(int.__eq__, rows, best)), n_all + K
    print(f"{n_same} of {n_all} tokens in the same place")
    assert n_same > 0.99 * n_all


@pytest.mark.slow
def test_what_a_report_shows_of_smollm2_is_what_whole_passes_give(tmp_path: Path) -> None:
    """A study in this process, its report's data, and whole passes a sentence at a time: the tokens of every page, in order."""
    folder = resolve_model(smollm2_gguf())
    config = tiny_config(
        Path(folder),
        tmp_path / "store",
        languages=["en", "th"],
        corpus={"n_detection": 8, "n_heldout": 2, "max_tokens": 16},
        contexts={"top_tokens": K},
    )
    study = TinyStudy(config, Path(folder)).do("corpora", "detection", "contexts")
    (shown,) = read_report(study.store).studies
    pages = json.loads(inlined(shown.pages))
    members, tokenizer = shown.members, study.model.tokenizer
    n_same = n_all = 0
    for language, code in enumerate(shown.languages):
        sentences = study.sentences.detection[code]
        tokens = [(s.index, at) for s in sentences for at in range(s.n_unscored, len(s.token_ids))]
        texts = {s.index: tokenizer.decode(s.token_ids) for s in sentences}
        whole = oracle_values(study.group.runner.model, sentences)
        for i, page in enumerate(pages["neurons"]):
            group = shown.anatomy.groups[members.groups[i]]
            values = whole[int(members.layers[i]), group][:, int(members.neurons[i])]
            strengths = values if group == "ffn" else values.abs()
            best = strengths.topk(K).indices.tolist()
            found = page[3][language]
            torch.testing.assert_close(torch.tensor(found[1::2]), values[best], rtol=1e-3, atol=1e-4)
            for token, at in zip(found[::2], best, strict=True):
                text, start, end = pages["tokens"][3 * token : 3 * token + 3]
                sentence, position = tokens[at]
                ids = study.sentences.detection[code][sentence].token_ids
                own = tokenizer.decode([ids[position]])
                part = pages["texts"][text].encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le")
                n_same += pages["texts"][text] == texts[sentence] and (part == own or "\ufffd" in own)
                n_all += 1
    print(f"{n_same} of {n_all} tokens in the same place")
    # the others change places with tokens that are as strong to three digits
    assert n_all > 1000 and n_same > 0.98 * n_all


@st.composite
def shards(draw: st.DrawFn) -> tuple[list[TopTokens], Tensor, list[tuple[int, int]]]:
    """Values full of ties of all tokens, and the tokens spread over some ranks in some order."""
    tokens = draw(st.permutations([(s, p) for s in range(4) for p in range(3)]))
    values = torch.tensor(
        draw(st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0]), min_size=12, max_size=12))
    )
    n_ranks = draw(st.integers(1, 5))
    parts = []
    for rank in range(n_ranks):
        mine = range(rank, 12, n_ranks)
        places = torch.tensor([tokens[i] for i in mine]).view(-1, 2)
        parts.append(TopTokens(values[list(mine)][:, None], places[:, :1], places[:, 1:]))
    return parts, values, list(tokens)


@given(shards(), st.sampled_from(GROUPS), st.integers(1, 14))
@settings(max_examples=150)
def test_shards_in_any_order_merge_to_what_one_sort_gives(
    spread: tuple[list[TopTokens], Tensor, list[tuple[int, int]]], group: str, k: int
) -> None:
    parts, values, tokens = spread
    nothing = TopTokens(values[:0, None], *2 * (torch.zeros(0, 1, dtype=torch.int64),))
    kept = [nothing.merged(part, group, k) for part in parts]
    merged = merge_top_tokens([{(0, group): part} for part in kept], k)[0, group]
    got = [
        list(token)
        for token in zip(merged.sentences[:, 0].tolist(), merged.positions[:, 0].tolist(), strict=True)
    ]
    assert got == of_sort(values[:, None], group, tokens)[0][:k]
    assert merged.values[:, 0].tolist() == [values[tokens.index((s, p))].item() for s, p in got]


def test_micro_batches_spread_over_ranks_give_the_same_bits() -> None:
    model = tiny_model("llama-gqa-tied")
    batches = micro_batches(a_corpus([5, 8, 2, 9, 9, 4, 11, 6, 3]), 2)
    neurons = NeuronSet.from_indices("tiny", anatomy_of(model).widths, 3, {(1, "ffn"): [2, 5], (2, "v"): [0]})
    one = top_tokens_pass(LayerMajor(model), batches, neurons, K)
    ranks = [top_tokens_pass(LayerMajor(model), batches[rank::3], neurons, K) for rank in range(3)]
    for found in (merge_top_tokens(ranks, K), merge_top_tokens(ranks[::-1], K)):
        for place, top in one.items():
            assert torch.equal(top.values, found[place].values)
            assert torch.equal(top.sentences, found[place].sentences)
            assert torch.equal(top.positions, found[place].positions)

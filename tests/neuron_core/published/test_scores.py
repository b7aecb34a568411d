"""The published code's scores, against loops that spell its formulas out from the weights alone."""

import math

import numpy as np
import pytest
import torch

from polyneuron.neuron_core.common.errors import CorpusError, ModelError
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.published import scores as reference_code
from polyneuron.neuron_core.published.scores import by_group, published_attention, reference_scores
from polyneuron.neuron_core.published.selection import reference_selection
from polyneuron.neuron_core.published.sets import JSON_KEYS
from tests.tiny_models import tiny_model, token_ids

H, G, D, FFN, DIM = 4, 2, 8, 40, 32
ROUNDINGS = 500
"""Roundings of the largest of a row of float32 scores that one of them may be off: a value is a sum over tokens of what passed
three layers. A wrong formula is off by whole shares of it."""


def norm(x, weight):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * weight


def rotated(x, theta=10000.0):
    """RoPE of [T, D], one coordinate pair at a time."""
    out = np.empty_like(x)
    for t in range(len(x)):
        for m in range(D // 2):
            angle = t * theta ** (-2 * m / D)
            a, b = x[t, m], x[t, m + D // 2]
            out[t, m] = a * math.cos(angle) - b * math.sin(angle)
            out[t, m + D // 2] = b * math.cos(angle) + a * math.sin(angle)
    return out


def softmax_row(row):
    e = np.exp(row - row.max())
    return e / e.sum()


def literal(model, ids, causal):
    """Every score of one sentence from the weights, one loop per sum, and the last hidden state."""
    w = {name: p.detach().double().numpy() for name, p in model.model.named_parameters()}
    hidden, length, scores = w["embed_tokens.weight"][ids], len(ids), {}
    for layer in range(model.config.num_hidden_layers):
        own = {
            name.removeprefix(f"layers.{layer}."): p for name, p in w.items() if f"layers.{layer}." in name
        }
        x = norm(hidden, own["input_layernorm.weight"])
        q, k, v = (x @ own[f"self_attn.{n}_proj.weight"].T for n in "qkv")
        heads, moves, sums = np.zeros((length, H * D)), np.zeros(H * D), np.zeros(H * D)
        for h in range(H):
            g = h // (H // G)
            qh, kh, vh = (
                rotated(q[:, h * D : (h + 1) * D]),
                rotated(k[:, g * D : (g + 1) * D]),
                v[:, g * D : (g + 1) * D],
            )
            for i in range(length):
                seen = i + 1 if causal else length
                row = np.array([qh[i] @ kh[j] / math.sqrt(D) for j in range(seen)])
                weights = softmax_row(row)
                for j in range(seen):
                    heads[i, h * D : (h + 1) * D] += weights[j] * vh[j]
                for n in range(D):
                    without = softmax_row(
                        np.array([row[j] - qh[i, n] * kh[j, n] / math.sqrt(D) for j in range(seen)])
                    )
                    moves[h * D + n] += ((without - weights) ** 2).sum()
        for i in range(length):
            sums += np.abs(heads[i])
        hidden = hidden + heads @ own["self_attn.o_proj.weight"].T
        x = norm(hidden, own["post_attention_layernorm.weight"])
        gate, up = x @ own["mlp.gate_proj.weight"].T, x @ own["mlp.up_proj.weight"].T
        hidden = hidden + (gate / (1 + np.exp(-gate)) * up) @ own["mlp.down_proj.weight"].T
        ffn = np.abs(up).sum(0)
        for name, values in zip(JSON_KEYS, (ffn, ffn, moves, moves, sums, sums), strict=True):
            scores[layer, name] = values
    return scores, norm(hidden, w["norm.weight"])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("chunk", [1 << 22, 1])
def test_equals_literal_loops(monkeypatch, causal: bool, chunk: int) -> None:
    monkeypatch.setattr(reference_code, "_CHUNK_ELEMENTS", chunk)
    model, sentences = tiny_model("llama-gqa-tied"), token_ids([6, 9, 1])
    found = reference_scores(model, None, sentences, causal=causal)
    assert set(found) == {(layer, name) for layer in range(3) for name in JSON_KEYS}
    for row, ids in enumerate(sentences):
        expected, _ = literal(model, ids, causal)
        for key, values in expected.items():
            assert found[key].shape == (3, FFN if key[1].startswith("fwd") else H * D), key
            assert found[key].dtype == np.float32
            rounded = ROUNDINGS * np.finfo(np.float32).eps * np.abs(values).max()
            np.testing.assert_allclose(found[key][row], values, rtol=0, atol=rounded, err_msg=str(key))


@pytest.mark.parametrize(
    "name", ["llama-gqa-tied", "qwen3", "gemma2", "gemma3", "gemma3-multimodal", "mistral-window", "phi3"]
)
def test_runs_the_model_without_any_mask_or_with_its_own(name: str) -> None:
    model, ids = tiny_model(name), torch.tensor(token_ids([9]))
    anatomy = anatomy_of(model)
    decoder = model.get_submodule(anatomy.family.layers_path.rpartition(".")[0])
    see_all = torch.ones(1, 1, 9, 9, dtype=torch.bool)
    if decoder.config._attn_implementation == "eager":
        see_all = torch.zeros(1, 1, 9, 9)  # eager adds its mask
    masks = {"full_attention": see_all, "sliding_attention": see_all} if name.startswith("gemma") else see_all
    with torch.no_grad():
        everything = decoder(input_ids=ids, attention_mask=masks, use_cache=False).last_hidden_state
        usual = decoder(input_ids=ids, use_cache=False).last_hidden_state
        with published_attention(model, anatomy):
            open_ = decoder(input_ids=ids, use_cache=False).last_hidden_state
        with published_attention(model, anatomy, causal=True):
            causal = decoder(input_ids=ids, use_cache=False).last_hidden_state
    torch.testing.assert_close(open_, everything, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(causal, usual, rtol=1e-4, atol=1e-5)
    assert (open_ - causal).norm() > 0.1 * causal.norm()


@pytest.mark.parametrize("causal", [False, True])
def test_hidden_state_equals_literal_loops(causal: bool) -> None:
    model, (ids,) = tiny_model("llama-gqa-tied"), token_ids([9])
    with torch.no_grad(), published_attention(model, anatomy_of(model), causal):
        found = model.model(torch.tensor([ids]), use_cache=False).last_hidden_state[0]
    expected = literal(model, ids, causal)[1]
    rounded = ROUNDINGS * np.finfo(np.float32).eps * np.abs(expected).max()
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=rounded)


def test_causal_differs_in_every_score_of_every_layer() -> None:
    model, sentences = tiny_model("llama-gqa-tied"), token_ids([9])
    open_, causal = (reference_scores(model, None, sentences, causal=flag) for flag in (False, True))
    for key in open_:
        assert np.abs(open_[key] - causal[key]).max() > 0.01 * np.abs(causal[key]).max(), key


def test_lists_are_shared_as_published() -> None:
    found = reference_scores(tiny_model("qwen2"), None, token_ids([7, 5]))
    for one, other in (("fwd_up", "fwd_down"), ("attn_q", "attn_k"), ("attn_v", "attn_o")):
        for layer in range(2):
            np.testing.assert_array_equal(found[layer, one], found[layer, other])


def test_softcap_is_left_before_the_change() -> None:
    """Gemma 2: softmax(cap(S) - X), so a neuron may move a capped score further than the cap lets it."""
    model, ids = tiny_model("gemma2"), torch.tensor(token_ids([7]))
    cap, inputs = model.config.attn_logit_softcapping, []
    model.model.layers[0].self_attn.register_forward_pre_hook(
        lambda _, args, kwargs: inputs.append((kwargs["hidden_states"], kwargs["position_embeddings"])),
        with_kwargs=True,
    )
    found = reference_scores(model, None, ids.tolist())[0, "attn_q"][0]
    (x, (cos, sin)), attention = inputs[0], model.model.layers[0].self_attn
    with torch.no_grad():
        q, k = (p(x)[0].unflatten(-1, (-1, 16)).transpose(0, 1) for p in (attention.q_proj, attention.k_proj))
        q, k = (y * cos[0] + torch.cat([-y[..., 8:], y[..., :8]], -1) * sin[0] for y in (q, k))
        for head, coordinate in ((0, 0), (1, 11), (3, 8)):
            raw = q[head] @ k[head // 2].T * attention.scaling
            capped = cap * torch.tanh(raw / cap)
            change = attention.scaling * torch.outer(q[head, :, coordinate], k[head // 2, :, coordinate])
            expected = (torch.softmax(capped - change, -1) - torch.softmax(capped, -1)).square().sum()
            assert found[head * 16 + coordinate] == pytest.approx(float(expected), rel=1e-4)


def test_model_is_left_untouched() -> None:
    model, ids = tiny_model("llama-gqa-tied"), torch.tensor(token_ids([9]))
    weights = {name: p.clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        before = model(ids).logits
    reference_scores(model, None, ids.tolist())
    model.model.layers[2].mlp.register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("stop")))
    with pytest.raises(RuntimeError, match="stop"):
        reference_scores(model, None, ids.tolist())
    model.model.layers[2].mlp._forward_hooks.clear()
    assert model.config._attn_implementation == "sdpa"
    assert not reference_code._running
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())
    with torch.no_grad():
        assert torch.equal(model(ids).logits, before)


def test_cut_at_the_published_length_and_groups_asked_for() -> None:
    model, (ids,) = tiny_model("llama-gqa-tied"), token_ids([12])
    cut = reference_scores(model, None, [ids], ["ffn", "v"], max_tokens=5)
    short = reference_scores(model, None, [ids[:5]], ["ffn", "v"])
    assert {name for _, name in cut} == {"fwd_up", "fwd_down", "attn_v"}
    for key in cut:
        np.testing.assert_array_equal(cut[key], short[key])


def test_scores_feed_the_published_selection() -> None:
    model = tiny_model("llama-gqa-tied")
    scores = reference_scores(model, None, token_ids([9, 6]))
    anatomy = anatomy_of(model)
    found = reference_selection(by_group(scores), anatomy, "tiny", ratio=0.1)
    best = [set(np.argsort(row)[-4:]) for row in scores[1, "attn_q"]]  # swapped quota: int(0.1 * 40)
    assert set(found.indices(1, "q").tolist()) == best[0] & best[1]


def test_refusals() -> None:
    model = tiny_model("llama-gqa-tied")
    with pytest.raises(CorpusError, match="no sentence"):
        reference_scores(model, None, [])
    with pytest.raises(CorpusError, match="Sentence 1 has no tokens"):
        reference_scores(model, None, [[5], []])
    with pytest.raises(ValueError, match="attn_q"):
        reference_scores(model, None, [[5]], ["attn_q"])
    with (
        pytest.raises(ValueError, match="2 sentences at once"),
        published_attention(model, anatomy_of(model)),
    ):
        model(torch.tensor(token_ids([4, 4])))
    model.model.layers[1].mlp.up_proj.weight.data[3, 0] = torch.nan
    with pytest.raises(ModelError, match="Layer 1: a score of fwd_up"):
        reference_scores(model, None, [[5, 6]])

"""Detection: pruning, batching and merging change nothing that a selection can see."""

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from polyneuron.neuron_core.common.errors import CorpusError, ModelError
from polyneuron.neuron_core.impacts import scores
from polyneuron.neuron_core.impacts.accumulate import Impacts
from polyneuron.neuron_core.impacts.detect import LeftOutWarning, measure_impacts
from polyneuron.neuron_core.impacts.modes import DetectionMode
from tests.parity.test_impacts_oracle import TOLERANCE
from tests.tiny_models import tiny_model, token_ids

CORPORA = {"aa": token_ids([5, 9, 7, 12, 6, 8, 11], seed=1), "bb": token_ids([6, 8, 10, 7, 13], seed=2)}


def columns(table, *names):
    return {name: table.column(name).to_numpy(zero_copy_only=False) for name in names}


@pytest.mark.parametrize("name", ["llama-gqa-tied", "gemma3", "olmo2", "phi3"])
def test_batches_agree_with_single_sentences(name: str) -> None:
    model = tiny_model(name)
    together = columns(
        measure_impacts(model, None, CORPORA, mode="full", batch_size=4).to_arrow(),
        "impact_min",
        "impact_mean",
    )
    alone = columns(
        measure_impacts(model, None, CORPORA, mode="full", batch_size=1).to_arrow(),
        "impact_min",
        "impact_mean",
    )
    for column in together:
        # Either may be TOLERANCE off the exact impact.
        np.testing.assert_allclose(together[column], alone[column], rtol=2 * TOLERANCE, atol=1e-6)


@pytest.mark.parametrize("floor_fraction", [0.05, 0.3])
def test_certified_equals_full_above_the_floor(floor_fraction: float) -> None:
    model = tiny_model("llama-gqa-tied")
    full = measure_impacts(model, None, CORPORA, mode="full").to_arrow()
    table = measure_impacts(model, None, CORPORA, mode="certified", floor_fraction=floor_fraction)
    certified = table.to_arrow()
    assert certified.num_rows == full.num_rows
    bounded = certified.column("bounded").to_numpy(zero_copy_only=False)
    assert 0 < bounded.sum() < len(bounded)
    for column in ("impact_min", "impact_rms_min"):
        exact = full.column(column).to_numpy()
        found = certified.column(column).to_numpy()
        np.testing.assert_allclose(found[~bounded], exact[~bounded], rtol=1e-5)
        assert (found[bounded] >= exact[bounded] * (1 - 1e-5)).all(), "a bound must lie above what it bounds"
    for row in table.summaries.to_pylist():
        if row["group"] in ("q", "k"):
            mine = (np.array(certified.column("group")) == row["group"]) & (
                np.array(certified.column("language")) == row["language"]
            )
            for floor, column in ((row["floor_raw"], "impact_min"), (row["floor_rms"], "impact_rms_min")):
                exact = full.column(column).to_numpy()[mine]
                found = certified.column(column).to_numpy()[mine]
                unpruned = ~bounded[mine]
                for sigma in (floor * 1.0001, floor * 1.5):
                    assert set(np.flatnonzero(exact >= sigma)) == set(
                        np.flatnonzero((found >= sigma) & unpruned)
                    )


def test_bounded_rows_have_no_mean_and_no_rank() -> None:
    table = measure_impacts(tiny_model("qwen2"), None, CORPORA, floor_fraction=0.05).to_arrow().to_pylist()
    assert all((row["impact_mean"] is None) == row["bounded"] for row in table)
    assert all((row["rank_worst"] is None) == (row["group"] in ("q", "k")) for row in table)
    assert all(row["group"] in ("q", "k") for row in table if row["bounded"])


@pytest.mark.parametrize("mode", ["certified", "full"])
def test_the_impact_on_the_seed_is_known_of_every_neuron(mode: DetectionMode) -> None:
    """That of the three shortest sentences measured alone, whose three smallest impacts are all there are."""
    model = tiny_model("llama-gqa-tied")
    table = measure_impacts(model, None, CORPORA, mode=mode, floor_fraction=0.05)
    shortest = {code: sorted(corpus, key=len)[:3] for code, corpus in CORPORA.items()}
    alone = measure_impacts(model, None, shortest, mode="full").to_arrow()["impact_smallest"].to_pylist()
    expected = np.sqrt(np.square(np.array(alone, np.float64)).mean(axis=1))
    found = table.to_arrow()["impact_seed"].to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for row in table.summaries.to_pylist():
        mine = pc.and_(*(pc.equal(table.to_arrow()[name], row[name]) for name in ("language", "group")))
        squares = np.square(table.to_arrow().filter(mine)["impact_seed"].to_numpy().astype(np.float64))
        assert row["seed_mean_square"] == pytest.approx(squares.mean(), rel=1e-5)


def test_accumulators_merge_to_what_one_gives() -> None:
    impacts = torch.rand(9, 20, generator=torch.Generator().manual_seed(0))
    n_scored = torch.arange(4, 13)
    whole = Impacts.of(impacts, n_scored, complete=True)
    parts = [Impacts.of(impacts[a:b], n_scored[a:b], complete=True) for a, b in ((0, 2), (2, 3), (3, 9))]
    merged = parts[2].merged(parts[0]).merged(parts[1])
    for field in ("minimum", "maximum", "smallest", "worst_rank"):
        assert torch.equal(getattr(whole, field), getattr(merged, field))
    torch.testing.assert_close(whole.total, merged.total, rtol=1e-14, atol=0)
    assert merged.n_sentences == 9


def test_ranks_by_hand() -> None:
    """Two sentences of four neurons: ranks 1..4 by size, the worst over sentences counts."""
    impacts = torch.tensor([[4.0, 3.0, 2.0, 1.0], [5.0, 4.0, 1.0, 2.0]])
    ranks = Impacts.of(impacts, torch.tensor([1, 1]), complete=True).worst_rank
    assert ranks is not None and ranks.tolist() == [0.25, 0.5, 1.0, 1.0]


def test_nan_weights_are_named() -> None:
    model = tiny_model("llama-mha-untied")
    model.model.layers[1].mlp.down_proj.weight.data[3, 5] = float("nan")
    with pytest.raises(ModelError, match="Layer 1, group ffn"):
        measure_impacts(model, None, CORPORA)


def test_empty_corpus_is_refused() -> None:
    with pytest.raises(CorpusError, match="'cc'"):
        measure_impacts(tiny_model("llama-mha-untied"), None, {"cc": []})


def test_model_is_left_as_it_was() -> None:
    model = tiny_model("gemma2")
    before = {name: parameter.clone() for name, parameter in model.state_dict().items()}
    implementation = model.config._attn_implementation
    measure_impacts(model, None, CORPORA)
    assert all(torch.equal(before[name], parameter) for name, parameter in model.state_dict().items())
    assert model.config._attn_implementation == implementation
    assert not any("forward" in vars(layer) for layer in model.model.layers)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("mode", ["full", "certified"])
def test_a_sentence_of_one_token_decides_nothing(mode: DetectionMode) -> None:
    """Alone with itself a token attends the same whatever q and k are: one such sentence would take all their neurons away."""
    model = tiny_model("llama-mha-untied")
    whole = measure_impacts(model, None, CORPORA, mode=mode)
    language = next(iter(CORPORA))
    with pytest.warns(LeftOutWarning, match=rf"2 of .* {language} "):
        with_short = measure_impacts(
            model, None, {**CORPORA, language: [[7], *CORPORA[language], []]}, mode=mode
        )
    assert with_short.to_arrow().equals(whole.to_arrow())
    with pytest.raises(CorpusError):
        measure_impacts(model, None, {"cc": [[7], [8]]}, mode=mode)


def test_attention_is_gathered_for_as_many_neurons_as_are_worked_on_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gathered = []
    select = scores.Heads.select

    def recorded(heads: scores.Heads, chosen: object) -> scores.Heads:
        found = select(heads, chosen)  # type: ignore[arg-type]
        if isinstance(chosen, torch.Tensor):
            gathered.append(found.weights_BMTT.numel())
        return found

    model, corpora = tiny_model("llama-gqa-tied"), {"aa": token_ids([40] * 4, seed=3)}
    whole = measure_impacts(model, None, corpora, batch_size=1, floor_fraction=0.9).to_arrow()
    monkeypatch.setattr(scores.Heads, "select", recorded)
    monkeypatch.setattr(scores, "SCORE_CHUNK_ELEMENTS", 2 * 40 * 40)
    parts = measure_impacts(model, None, corpora, batch_size=1, floor_fraction=0.9).to_arrow()
    np.testing.assert_allclose(parts["impact_min"], whole["impact_min"], rtol=3e-5, atol=1e-7)
    assert gathered and max(gathered) <= 2 * 40 * 40

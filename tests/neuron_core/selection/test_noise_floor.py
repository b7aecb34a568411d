"""The noise floor against detection that is really run again on the halves and on the dealt sentences, and worlds in which
the answer is known."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import polyneuron as pn
from polyneuron.neuron_core.common.errors import CorpusError, SetError
from polyneuron.neuron_core.impacts.detect import measure_impacts
from polyneuron.neuron_core.impacts.per_sentence import SentenceImpacts, sentence_impacts, sentence_pass
from polyneuron.neuron_core.passes.batches import Sentence, as_sentences
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.neuron_core.selection.noise_floor import FEWEST_SENTENCES, noise_floor_of
from polyneuron.neuron_core.selection.rules import Quantile, Rule, ScaledSigma, Sigma, TopRatio
from polyneuron.neuron_core.selection.select import select, split
from polyneuron.neuron_core.selection.sentence_grid import SentenceGrid
from tests.tiny_models import tiny_model, token_ids

GROUPS = ("q", "k", "v", "ffn")
CORPORA = {
    "aa": token_ids([5, 9, 7, 12, 6, 8, 11, 9], seed=1),
    "bb": token_ids([6, 8, 10, 7, 13, 5, 5, 6, 9], seed=2),
    "cc": token_ids([8, 8, 8, 8, 8, 8, 8, 8], seed=3),
}
RULES: list[Rule] = [
    ScaledSigma(target_shared=0.02),
    ScaledSigma(sigma=0.4, per_token=False),
    Sigma(0.15),
    Sigma(0.2, per_token=False),
    Quantile(0.1),
    Quantile(0.1, share=0.7),
    ScaledSigma(target_shared=0.05, share=0.5),
    TopRatio(0.5),
]


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model("llama-gqa-tied")


def measured(model: Any, n_ranks: int = 1, batch_size: int = 1) -> SentenceImpacts:
    """Measured as by several workers, one after the other in this process."""
    runner = LayerMajor(model)
    corpora = {language: as_sentences(None, language, items) for language, items in CORPORA.items()}
    return sentence_impacts(
        lambda batches: [sentence_pass(runner, batches[rank::n_ranks], GROUPS) for rank in range(n_ranks)],
        corpora,
        batch_size,
    )


@pytest.fixture(scope="module")
def impacts(model: Any) -> SentenceImpacts:
    return measured(model)


@pytest.fixture(scope="module")
def detected_again(model: Any, impacts: SentenceImpacts) -> list[tuple[Any, Any]]:
    """The slow oracle. Labels: the languages as they are, two halves, and sentences dealt at random; beside each the full
    detection of a corpus of its own for every language."""
    everyone, items = impacts.labels, [item for corpus in CORPORA.values() for item in corpus]
    odd = np.arange(len(everyone)) % 2 == 1
    dealt = np.random.default_rng(7).permutation(everyone)
    found = []
    for labels in (everyone, np.where(odd, everyone, -1), np.where(odd, -1, everyone), dealt):
        corpora = {
            language: [item for item, label in zip(items, labels, strict=True) if label == at]
            for at, language in enumerate(CORPORA)
        }
        found.append((labels, measure_impacts(model, None, corpora, GROUPS, "full", batch_size=1)))
    return found


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_labelling_selects_what_detection_of_it_would(
    impacts: SentenceImpacts, detected_again: list[tuple[Any, Any]], rule: Rule
) -> None:
    different = set()
    for labels, table in detected_again:
        oracle = select(table.to_arrow(), table.summaries, rule)
        passing = rule.passing(grid := SentenceGrid(impacts, labels))
        found = {
            code: set(grid.to_set(mask)) for code, mask in zip(grid.languages, passing.passes, strict=True)
        }
        assert found == {code: set(neurons) for code, neurons in oracle.related.items()}
        assert passing.setting == pytest.approx(oracle.setting, rel=1e-12)
        different.add(frozenset(found["aa"]))
    assert len(different) >= 3 and all(different), "the labellings must differ, or nothing was compared"


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_number_of_workers_changes_nothing(model: Any, batch_size: int) -> None:
    one, two = measured(model, 1, batch_size), measured(model, 2, batch_size)
    assert np.array_equal(one.values, two.values) and np.isfinite(one.values).all()
    assert noise_floor_of(one, n_halvings=3, n_permutations=5).equals(
        noise_floor_of(two, n_halvings=3, n_permutations=5)
    )


def test_batches_are_those_of_full_detection(model: Any) -> None:
    """So the study's own sets come out bit for bit, padding and all."""
    table = measure_impacts(model, None, CORPORA, GROUPS, "full", batch_size=3).to_arrow()
    stored = table.column("impact_min").to_numpy()
    values = SentenceGrid(measured(model, batch_size=3)).floats("impact_min")
    assert np.array_equal(np.sort(values, axis=None), np.sort(stored))


def test_the_public_name_gives_the_same_table(model: Any) -> None:
    direct = noise_floor_of(
        measured(model, batch_size=8), Quantile(0.1), n_halvings=4, n_permutations=9, seed=3
    )
    public = pn.noise_floor(model, None, CORPORA, Quantile(0.1), n_halvings=4, n_permutations=9, seed=3)
    assert public.equals(direct)
    other = pn.noise_floor(model, None, CORPORA, Quantile(0.1), n_halvings=4, n_permutations=9, seed=4)
    assert not public.equals(other)
    with pytest.raises(CorpusError):
        pn.noise_floor(model, None, {**CORPORA, "dd": [[3]]})


def world(own: float, n_sentences: int = 12, n_languages: int = 4, seed: int = 0) -> SentenceImpacts:
    """Neurons with sizes of their own, of which each language needs a tenth `own` times as much."""
    rng = np.random.default_rng(seed)
    languages = [f"l{at}" for at in range(n_languages)]
    sentences = [Sentence(code, i, tuple(range(2, 10))) for code in languages for i in range(n_sentences)]
    widths, n_layers = {"v": 40, "ffn": 100}, 3
    n = n_layers * sum(widths.values())
    size = rng.lognormal(0, 0.5, n)
    values = size * rng.lognormal(0, 0.4, (len(sentences), n))
    for at in range(n_languages):
        values[at * n_sentences : (at + 1) * n_sentences, rng.choice(n, n // 10, replace=False)] *= own
    return SentenceImpacts(sentences, widths, n_layers, values.astype(np.float32))


def rows_of(table: Any) -> dict[tuple[str, str | None], dict[str, Any]]:
    return {(row["kind"], row["language"]): row for row in table.to_pylist()}


def test_languages_that_do_not_differ_are_within_chance() -> None:
    """p-values under the null: of 20 worlds a twentieth may be below 0.05 (5 or more have p = 0.003). Ties make them rather
    too large than too small."""
    p_values = []
    for seed in range(20):
        table = noise_floor_of(world(1.0, seed=seed), Quantile(0.05), n_halvings=1, n_permutations=39)
        p_values.append(rows_of(table)["exclusive", None]["p_value"])
    assert sum(p <= 0.05 for p in p_values) <= 4 and sum(p <= 0.5 for p in p_values) >= 2


def test_languages_that_differ_are_found() -> None:
    rows = rows_of(noise_floor_of(world(3.0), Quantile(0.05), n_halvings=10, n_permutations=99))
    for kind in ("exclusive", "strict_exclusive"):
        row = rows[kind, None]
        assert row["p_value"] == 0.01 and row["n_neurons"] > row["chance_high"]
        assert row["jaccard_low"] > row["jaccard_chance"]
        own = [rows[kind, f"l{at}"] for at in range(4)]
        assert row["n_neurons"] == pytest.approx(np.mean([each["n_neurons"] for each in own]))
        assert all(each["p_value"] <= 0.05 for each in own)


def test_the_shared_set_is_held_against_random_sets() -> None:
    shared = rows_of(noise_floor_of(world(1.0), Quantile(0.1), n_halvings=5, n_permutations=5))[
        "shared", None
    ]
    assert shared["p_value"] < 1e-6 and shared["n_permutations"] is None
    assert shared["chance_low"] <= shared["chance_size"] <= shared["chance_high"] < shared["n_neurons"]
    chosen = rows_of(noise_floor_of(world(1.0), n_halvings=2, n_permutations=2))["shared", None]
    assert chosen["p_value"] is None and chosen["null_reason"] and chosen["chance_size"] is not None


def test_permuted_languages_cannot_move_the_shared_set() -> None:
    """Why it has another chance: every sentence must pass, whosever it is."""
    impacts, rng = world(3.0), np.random.default_rng(0)
    own, _, _ = split(Sigma(0.2).passing(SentenceGrid(impacts)).passes)
    for _ in range(5):
        dealt = SentenceGrid(impacts, rng.permutation(impacts.labels))
        assert np.array_equal(split(Sigma(0.2).passing(dealt).passes)[0], own) and own.any()


def test_what_cannot_be_asked_is_null_with_its_reason() -> None:
    few = rows_of(noise_floor_of(world(3.0, n_sentences=FEWEST_SENTENCES - 1), Quantile(0.05)))
    assert len(few) == 1 + 2 * 5 and few["shared", None]["n_neurons"] is not None
    for row in few.values():
        assert row["p_value"] is None and row["jaccard"] is None and "too few" in row["null_reason"]
    empty = rows_of(noise_floor_of(world(3.0), Sigma(1e9), n_halvings=3, n_permutations=4))
    row = empty["exclusive", "l0"]
    assert row["jaccard"] is None and row["jaccard_chance"] is None, "two empty sets are not alike"
    assert (row["n_neurons"], row["chance_high"], row["p_value"]) == (0, 0, 1.0)


def test_a_language_without_a_sentence_is_named() -> None:
    impacts = world(1.0)
    with pytest.raises(SetError, match="l3"):
        SentenceGrid(impacts, np.where(impacts.labels == 3, -1, impacts.labels))


@settings(max_examples=60)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32))
def test_nth_smallest_is_that_of_a_sort(n_sentences: int, n: int, seed: int) -> None:
    impacts = world(1.0, n_sentences=n_sentences, n_languages=2, seed=seed)
    grid = SentenceGrid(impacts)
    if n > n_sentences:
        with pytest.raises(SetError, match="was asked for"):
            grid.nth_smallest("l1", n)
    else:
        per_token = impacts.values[n_sentences:] / impacts.root_lengths[n_sentences:, None]
        assert np.array_equal(grid.nth_smallest("l1", n), np.sort(per_token, axis=0)[n - 1])

"""Detectors: sizes of the published runs, sets by hand, ties, empty languages, and what Act Prob cannot see."""

import numpy as np
import pytest
import torch

from polyneuron.neuron_core.activations.sketch import ActivationSketch
from polyneuron.neuron_core.activations.statistics import layer_statistics
from polyneuron.neuron_core.activations.table import ActivationTable
from polyneuron.neuron_core.common.errors import ConfigError, SetError
from polyneuron.neuron_core.detectors.act_prob import ActProb, ActProbPooled
from polyneuron.neuron_core.detectors.lape import Lape, activation_entropy, quantile
from tests.activation_tables import table_of_counts

DETECTORS = [Lape(), ActProb(), ActProbPooled()]


def members(which):
    return {(layer, neuron) for layer, _, neuron in which}


def test_entropy_by_hand() -> None:
    """One language alone: 0. Two alike: ln 2. Shares 1/4 and 3/4: ln 4 - 3/4 ln 3. Never active: 0."""
    p = np.array([[[0.3, 0.2, 0.1, 0.0]], [[0.0, 0.2, 0.3, 0.0]]])
    expected = [0, np.log(2), np.log(4) - 0.75 * np.log(3), 0]
    np.testing.assert_allclose(activation_entropy(p)[0], expected, atol=1e-12)


def test_quantile_is_the_rounded_rank() -> None:
    values = np.array([5.0, 1.0, 4.0, 2.0, 3.0])
    assert [quantile(values, share) for share in (0.1, 0.5, 0.7, 0.95, 1.0)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_lape_by_hand() -> None:
    """Ten neurons, 20 probabilities: the 15th is 0.4, so neurons 0 to 3 pass; the two of least entropy are 0 and 3."""
    l0 = [90, 50, 41, 30, 10, 10, 10, 10, 10, 40]
    l1 = [0, 50, 20, 80, 10, 10, 10, 10, 10, 40]
    table = table_of_counts([[l0], [l1]], [100, 100])
    found = Lape(filter_rate=0.75, top_rate=0.2, activation_bar_ratio=0.75).detect(table)
    assert found.thresholds["filter"] == found.thresholds["activation_bar"] == 0.4
    assert members(found.sets["l0"]) == {(0, 0)} and members(found.sets["l1"]) == {(0, 3)}
    assert np.isinf(found.scores["l0"][0]).tolist() == [False] * 4 + [True] * 6
    np.testing.assert_allclose(
        found.thresholds["entropy"], -np.log(3 / 11) * 3 / 11 - np.log(8 / 11) * 8 / 11
    )
    three = Lape(filter_rate=0.75, top_rate=0.3, activation_bar_ratio=0.75).detect(table)
    assert members(three.sets["l0"]) == {(0, 0), (0, 2)}


def test_lape_gives_a_neuron_to_every_language_above_the_bar() -> None:
    counts = np.zeros((3, 1, 20), int)
    counts[:2, 0, 4], counts[2, 0, 9] = 70, 80
    found = Lape(top_rate=0.1).detect(table_of_counts(counts, [100, 100, 100]))
    assert [members(which) for which in found.sets.values()] == [{(0, 4)}, {(0, 4)}, {(0, 9)}]


def test_lape_last_language_without_neurons_has_an_empty_set() -> None:
    counts = np.random.default_rng(0).integers(1, 100, (4, 3, 100))
    counts[3] = 0
    found = Lape(top_rate=0.1).detect(table_of_counts(counts, [100] * 4))
    assert list(found.sets) == ["l0", "l1", "l2", "l3"] and len(found.sets["l3"]) == 0
    assert all(len(found.sets[language]) for language in ("l0", "l1", "l2"))


def test_lape_never_takes_a_neuron_that_was_filtered_out() -> None:
    counts = np.full((2, 1, 100), 5)
    counts[0, 0, 3] = 60
    found = Lape(filter_rate=0.99, top_rate=0.5, activation_bar_ratio=0.2).detect(
        table_of_counts(counts, [99, 99])
    )
    assert members(found.sets["l0"]) == {(0, 3)} and len(found.sets["l1"]) == 0


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_ties_go_to_the_lower_layer_and_then_the_lower_index(detector) -> None:
    counts = np.zeros((2, 3, 400), int)
    counts[:, 2, :3] = counts[:, 1, 390:] = 50
    table = table_of_counts(counts, [100, 100])
    found = type(detector)(top_rate=11 / 1200).detect(table).sets["l1"]
    assert members(found) == {(1, neuron) for neuron in range(390, 400)} | {(2, 0)}


PUBLISHED = {
    "LLaMA-2-7B": (32, 11008, 7, 3523),
    "LLaMA-2-13B": (40, 13824, 7, 5530),
    "Mistral-7B": (32, 14336, 6, 4588),
    "BLOOM-7B": (30, 16384, 6, 4915),
    "Phi-2": (32, 10240, 6, 3277),
}
"""Layers, width, languages, and the distinct neurons of the published `*.neuron.pth`."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_lape_selects_as_many_as_the_published_files_hold(name: str) -> None:
    n_layers, width, n_languages, expected = PUBLISHED[name]
    counts = np.random.default_rng(0).integers(0, 1000, (n_languages, n_layers, width), dtype=np.int32)
    found = Lape().detect(table_of_counts(counts, [1000] * n_languages))
    together = found.sets["l0"]
    for which in found.sets.values():
        together = together | which
    assert len(together) == expected


@pytest.mark.parametrize(("shape", "expected"), [((32, 14336), 573), ((40, 14336), 717)])
def test_act_prob_selects_as_many_as_published(shape, expected) -> None:
    """Llama 3.1 8B and Mistral Nemo (paper B, appendix A.3)."""
    counts = np.random.default_rng(0).integers(0, 1000, (1, *shape), dtype=np.int32)
    for detector in (ActProb(), ActProbPooled()):
        assert len(detector.detect(table_of_counts(counts, [1000])).sets["l0"]) == expected


def table_of_values(values) -> ActivationTable:
    """One layer; `values`: language -> [n, I]."""
    sketches = {}
    for language, each in values.items():
        sketches[language] = ActivationSketch.empty(each.shape[1])
        sketches[language].add(each)
    return ActivationTable.build("m", "matched", tuple(values), [layer_statistics(sketches)])


def test_act_prob_as_published_cannot_tell_languages_apart_and_pooled_can() -> None:
    """Neurons 100 to 109 are far more active in `a` than in `b`. Relative to their own percentile they are not."""
    generator = torch.Generator().manual_seed(0)
    values = {language: torch.randn(4000, 400, generator=generator) for language in ("a", "b")}
    values["a"][:, 100:110] += 1.5
    table = table_of_values(values)
    published, pooled = (kind(top_rate=0.025).detect(table) for kind in (ActProb, ActProbPooled))
    for scores in published.scores.values():  # 0.10, less what shares the percentile's bucket
        assert scores.max() <= 0.1 and scores.min() > 0.085
    assert members(pooled.sets["a"]) == {(0, neuron) for neuron in range(100, 110)}
    assert pooled.scores["a"][0, 100:110].min() > 0.17 and pooled.scores["a"][0, :100].max() < 0.13
    assert not members(published.sets["a"]) & members(pooled.sets["a"])
    assert not members(pooled.sets["b"]) & set(range(100, 110))


def test_act_prob_counts_by_hand() -> None:
    """Ten tokens: the 90th percentile is the ninth, one token is above; pooled with a silent language, nine are."""
    rising = torch.arange(1.0, 11.0)[:, None]
    table = table_of_values({"a": rising, "b": torch.full((90, 1), -1.0)})
    for kind, expected in ((ActProb, {"a": 0.1, "b": 0.0}), (ActProbPooled, {"a": 1.0, "b": 0.0})):
        found = kind().detect(table)
        assert {language: float(scores[0, 0]) for language, scores in found.scores.items()} == expected


def test_chosen_languages_only() -> None:
    counts = np.random.default_rng(1).integers(0, 100, (3, 2, 50))
    table = table_of_counts(counts, [100] * 3)
    for detector in DETECTORS:
        assert list(detector.detect(table, ["l2", "l0"]).sets) == ["l2", "l0"]
        with pytest.raises(SetError, match="No activations of xx"):
            detector.detect(table, ["l0", "xx"])
        with pytest.raises(SetError, match="at least one"):
            detector.detect(table, [])


def test_settings_are_checked_and_described() -> None:
    for wrong in (dict(filter_rate=0.0), dict(top_rate=1.5), dict(activation_bar_ratio=-1)):
        with pytest.raises(ConfigError, match="at most 1"):
            Lape(**wrong)
    with pytest.raises(ConfigError, match="5, 10, 25, 50, 75, 90, 95"):
        ActProb(percentile=80)
    with pytest.raises(ConfigError, match="top_rate"):
        ActProbPooled(top_rate=0)
    assert ActProb().describe() == {"name": "act_prob", "percentile": 90, "top_rate": 0.00125}
    assert Lape().describe()["name"] == "lape"

"""Perplexity multipliers against values worked out by hand."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from polyneuron.eval.report.numbers.effects import effects_of
from polyneuron.eval.report.numbers.study import ModelStudy, read_report
from polyneuron.eval.report.numbers.variants import Variant
from polyneuron.neuron_core.common.errors import StoreError
from tests.eval.report.synthetic import Plan, store_with


def variant(name: str, kind: str, nats: list[float], sentences: list[int] | None = None) -> Variant:
    order = np.array(sentences or range(len(nats)))
    nll = {"en": (order, np.array(nats), np.array([2.0, 6.0][: len(nats)]))}
    return Variant(name, kind, None, None, None, 3, nll)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> ModelStudy:
    root: Path = tmp_path_factory.mktemp("store")
    return read_report(store_with(root, Plan(languages=("en", "th"), n_layers=2))).studies[0]


def test_perplexity_pools_tokens_not_sentences(study: ModelStudy) -> None:
    base, off = variant("base", "base", [2.0, 18.0]), variant("shared", "shared", [6.0, 22.0])
    effects = effects_of(dataclasses.replace(study, variants=(base, off)))
    assert effects is not None
    assert effects.base["en"] == pytest.approx(math.exp(20 / 8))
    effect = effects.by["shared"]["en"]
    assert effect.times == pytest.approx(math.e)
    assert effect.ppl == pytest.approx(math.exp(28 / 8))
    assert math.exp(4 / 6) - 1e-9 <= effect.low <= effect.times <= effect.high <= math.exp(2) + 1e-9


def test_the_same_change_in_every_sentence_has_no_spread(study: ModelStudy) -> None:
    base, off = variant("base", "base", [2.0, 18.0]), variant("shared", "shared", [3.0, 21.0])
    effects = effects_of(dataclasses.replace(study, variants=(base, off)))
    assert effects is not None
    effect = effects.by["shared"]["en"]
    assert (effect.low, effect.high) == pytest.approx((effect.times, effect.times))


def test_other_sentences_are_refused(study: ModelStudy) -> None:
    base, off = variant("base", "base", [2.0, 18.0]), variant("shared", "shared", [3.0, 21.0], [4, 5])
    with pytest.raises(StoreError, match="other en sentences"):
        effects_of(dataclasses.replace(study, variants=(base, off)))


def test_without_a_base_there_are_no_effects(study: ModelStudy) -> None:
    assert effects_of(dataclasses.replace(study, variants=())) is None

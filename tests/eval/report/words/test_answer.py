"""The first screen's answer is that of the findings, and owns up to what weakens it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from polyneuron.eval.report.numbers.effects import effects_of
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.variants import Variants
from polyneuron.eval.report.page import sentences
from polyneuron.eval.report.words.answer import answer_of
from polyneuron.eval.report.words.findings import findings_of
from polyneuron.eval.report.words.wording import times
from tests.eval.report.synthetic import Plan, store_with, studied


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> ShownStudy:
    plan = Plan(languages=("en", "sw", "th"), n_draws=3)
    return studied(store_with(tmp_path_factory.mktemp("store"), plan)).studies[0]


def said(study: ShownStudy, macro: str) -> str:
    effects = effects_of(study.variants)
    answer = answer_of(study, effects, findings_of(study, effects))
    return " ".join(str(getattr(sentences().get_template("answer.html.j2").module, macro)(answer)).split())


def test_the_answer_has_the_extremes_of_both_kinds_of_sets(study: ShownStudy) -> None:
    effects = effects_of(study.variants)
    assert effects is not None
    answer = said(study, "answer")
    for kind in ("shared", "exclusive"):
        own = {
            code: study.variants.of_set(kind, None if kind == "shared" else code) for code in study.languages
        }
        found = [e.times for code, variant in own.items() if (e := effects.of(variant, code))]
        least, most = (times(end(found)).removeprefix("×") for end in (min, max))
        assert f"multiplies {'' if kind == 'shared' else 'its '}perplexity by {least} to {most}" in answer
    draws = [t for c in study.languages for t in effects.times(study.variants.controls_of("shared"), c)]
    assert answer.endswith(
        f"as many random neurons as shared ones, by about {times(float(np.median(draws)))[1:]}."
    )


def test_a_study_without_perplexities_says_so(study: ShownStudy) -> None:
    bare = dataclasses.replace(study, variants=Variants())
    assert said(bare, "answer").endswith("what happens without them was not measured.")
    assert said(bare, "like") == ""


@pytest.mark.parametrize("perplexity, hardly", [(299.0, False), (301.0, True)])
def test_a_language_that_the_model_hardly_predicts_is_named(
    study: ShownStudy, perplexity: float, hardly: bool
) -> None:
    base = study.variants.base
    assert base is not None
    nll = {c: (numbers, tokens * np.log(50), tokens) for c, (numbers, _, tokens) in base.nll.items()}
    nll["sw"] = nll["sw"][0], nll["sw"][2] * np.log(perplexity), nll["sw"][2]
    changed = dataclasses.replace(base, nll=nll)
    variants = Variants(changed if v is base else v for v in study.variants)
    words = said(dataclasses.replace(study, variants=variants), "like")
    assert ("hardly predicts Swahili, so" in words) is hardly

"""The slider's counts give back the real selection under every rule, or there is no slider."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from polyneuron.eval.report.numbers.study import read_report
from polyneuron.neuron_core.selection.rules import Quantile, Rule, ScaledSigma, Sigma, TopRatio
from polyneuron.neuron_core.selection.select import select
from tests.eval.report.synthetic import Plan, store_with, tables_of

FULL = Plan(languages=("en", "th", "sw"), bounded=False, n_draws=0)
RULES = [
    ScaledSigma(target_shared=0.05),
    ScaledSigma(sigma=1.3, per_token=False),
    ScaledSigma(target_shared=0.05, share=0.99),
    Sigma(2.0),
    Sigma(9.0, per_token=False),
    Quantile(0.1),
    TopRatio(0.125),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_rule_is_reproduced(tmp_path: Path, rule: Rule) -> None:
    plan = dataclasses.replace(FULL, rule=rule)
    study = read_report(store_with(tmp_path, plan)).studies[0]
    assert study.curves is not None, study.curves_missing
    at = study.curves.study_index
    assert study.curves.shared[:, at].sum() == study.sets.total("shared") > 0


@pytest.mark.parametrize("rule", [ScaledSigma(target_shared=0.05), TopRatio(0.125)], ids=str)
def test_a_moved_slider_is_what_selection_would_find(tmp_path: Path, rule: Rule) -> None:
    plan = dataclasses.replace(FULL, rule=rule)
    tables = tables_of(plan)
    study = read_report(store_with(tmp_path, plan)).studies[0]
    assert study.curves is not None
    at = study.curves.study_index + 16  # the threshold times 4, a quarter of the ratio
    factor = float(study.curves.multipliers[at])
    assert factor == pytest.approx(4)
    if isinstance(rule, TopRatio):
        moved = select(tables["impacts"], tables["detections"], rule.neighbour(rule.ratio / factor))
    else:
        moved = select(tables["impacts"], tables["detections"], rule.neighbour(study.rule["sigma"] * factor))
    assert study.curves.shared[:, at].sum() == len(moved.shared)
    found = study.curves.related[:, :, at].sum(axis=0).tolist()
    assert found == [len(moved.related[lang]) for lang in study.languages]

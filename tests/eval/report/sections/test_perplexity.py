"""The part on perplexity: every set on every language, and beside every kind of draw; whatever is missing."""

import dataclasses

import pytest

from polyneuron.eval.report.numbers.chance import beside_all_kinds
from polyneuron.eval.report.numbers.effects import Effects, effects_of
from polyneuron.eval.report.numbers.specificity import specificity_of
from polyneuron.eval.report.numbers.study import Report, ShownStudy
from polyneuron.eval.report.numbers.variants import Variants
from polyneuron.eval.report.page import render
from polyneuron.eval.report.sections.perplexity import SETS, answer_figure, perplexity_part
from polyneuron.eval.report.words.wording import language_name, times
from polyneuron.eval.tables.grid import Grid
from polyneuron.neuron_core.sets.variant_name import CONTROL_NAMES
from tests.eval.report.grids import cell_of, rows_of
from tests.eval.report.synthetic import Plan, store_with, studied


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    plan = Plan(languages=("en", "sw", "th"), n_draws=3, n_short=1)
    return studied(store_with(tmp_path_factory.mktemp("store"), plan))


@pytest.fixture(scope="module")
def study(report: Report) -> ShownStudy:
    return report.studies[0]


def effects(study: ShownStudy) -> Effects:
    found = effects_of(study.variants)
    assert found is not None
    return found


def tables(study: ShownStudy) -> list[Grid]:
    beside: list[Grid] = perplexity_part(study, effects(study))["beside"]
    return beside


def test_every_kind_of_set_is_a_matrix(study: ShownStudy) -> None:
    part, measured = perplexity_part(study, effects(study)), effects(study)
    names = [
        f"{name} to {language_name(code)}" for name in list(SETS.values())[1:] for code in study.languages
    ]
    rows = rows_of(part["table"])
    assert list(rows) == ["nothing off: perplexity", "shared", *names]
    found = specificity_of(study.variants, measured, study.languages, "strict_exclusive")
    assert found is not None
    sw = rows["strictly exclusive to Swahili"]
    off = study.variants.of_set("strict_exclusive", "sw")
    expected = [effect.times for code in study.languages if (effect := measured.of(off, code))]
    assert sw[:3] == [times(value) for value in expected]
    assert sw[3].startswith(times(found.margins["sw"].times))


def test_every_kind_of_set_stands_beside_its_draws(study: ShownStudy) -> None:
    shared, exclusive, strict = tables(study)
    assert [len(table.columns) for table in (shared, exclusive, strict)] == [4, 5, 5]
    measured, off = effects(study), study.variants.of_set("strict_exclusive", "th")
    effect = measured.of(off, "th")
    assert off is not None and effect is not None
    draws = measured.times(study.variants.controls_of(off.name, "language_control"), "th")
    cell = cell_of(strict, "Thai", 3)
    assert cell.text == times(sorted(draws)[1]) and cell.marks == ()
    assert cell.details == (f"{times(min(draws))}–{times(max(draws))}",)  # 3 draws judge no single language
    assert strict.columns[4].text == "other languages’ neurons, 3"
    assert perplexity_part(study, measured)["few"] is True


def test_a_panel_of_the_first_figure_has_its_p_values(study: ShownStudy) -> None:
    panels = {panel["name"]: panel for panel in answer_figure(study, effects(study))}
    assert list(panels) == ["shared set", "own exclusive set", "own strict set"]
    for name, kind in zip(panels, SETS, strict=True):
        beside = beside_all_kinds(study.variants, effects(study), study.languages, kind)
        wanted = [(CONTROL_NAMES[k], d.n_won, len(d.times), d.p_all) for k, d in beside.items()]
        assert panels[name]["beside"] == wanted and wanted
    assert answer_figure(study, None) == []


def test_the_match_is_shown(study: ShownStudy) -> None:
    n, row = study.sets.total("shared"), "impact, draws ÷ set"
    shared, exclusive, _ = tables(study)
    assert (cell_of(shared, row, 1).text, cell_of(shared, row, 1).details) == ("×0.10", ())
    assert cell_of(shared, row, 2).details == (f"{n - 1} of {n} neurons",)
    total = sum(study.sets.total("exclusive", code) for code in study.languages)
    assert cell_of(exclusive, row, 2).details[0] == f"{total - 3} of {total} neurons"


@pytest.mark.parametrize(
    "gone",
    [
        {"control"},
        {"impact_control"},
        {"language_control"},
        {"control", "impact_control", "language_control"},
        {"strict_exclusive"},
        {"shared"},
    ],
)
def test_a_study_that_lacks_a_kind_still_renders(gone: set[str], report: Report, study: ShownStudy) -> None:
    less = dataclasses.replace(study, variants=Variants(v for v in study.variants if v.kind not in gone))
    assert len(tables(less)) == (0 if len(gone) == 3 else 2 if gone & set(SETS) else 3)
    page = render(dataclasses.replace(report, studies=(less,)), "title")
    assert ("Other languages’ neurons:" in page) == ("language_control" not in gone)


def test_draws_measured_at_home_alone_are_no_gap(study: ShownStudy) -> None:
    """Controls of a language's set have one language; none of the sets is said to be unmeasured for that."""
    found = effects(study)
    drawn = [v for v in study.variants.draws() if v.set_language]
    assert drawn and all(set(found.by[v.name]) == {v.set_language} for v in drawn)

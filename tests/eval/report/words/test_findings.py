"""Findings follow the numbers, above all when there is nothing to report."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.report.numbers.effects import effects_of
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.variants import Variants
from polyneuron.eval.report.sections.sets import size_grid
from polyneuron.eval.report.words.findings import Finding, findings_of
from polyneuron.eval.report.words.omissions import omissions_of
from tests.eval.report.grids import cell_of
from tests.eval.report.synthetic import Plan, store_with, studied


def study_of(root: Path, **changes: Any) -> ShownStudy:
    return studied(store_with(root, dataclasses.replace(Plan(), **changes))).studies[0]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> ShownStudy:
    return study_of(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> ShownStudy:
    return of_twenty_draws(tmp_path_factory.mktemp("store"))


def of_twenty_draws(root: Path, **changes: Any) -> ShownStudy:
    """Of two languages: every draw of every set is a file."""
    return study_of(root, n_draws=20, languages=("en", "sw"), **changes)


def findings(study: ShownStudy) -> dict[str, Finding]:
    return {finding.kind: finding for finding in findings_of(study, effects_of(study.variants))}


def of_kind(study: ShownStudy, kind: str) -> list[Finding]:
    return [finding for finding in findings_of(study, effects_of(study.variants)) if finding.kind == kind]


def test_exclusive_and_strict_sets_are_judged_alike(study: ShownStudy) -> None:
    for kind in ("own_off", "specificity"):
        assert [finding.values["set"] for finding in of_kind(study, kind)] == [
            "exclusive",
            "strict_exclusive",
        ]
    for own in of_kind(study, "own_off"):
        assert set(own.values["beside"]) == {"control", "impact_control", "language_control"}


def omissions(study: ShownStudy) -> list[tuple[str, dict[str, Any]]]:
    return [(o.kind, dict(o.values)) for o in omissions_of(study, effects_of(study.variants))]


def test_a_strong_shared_set_matters(study: ShownStudy) -> None:
    found = findings(study)
    shared = found["shared_off"]
    assert shared.values["lost"] == [] and shared.values["least"][1] > 1
    random = shared.values["beside"]["control"]
    assert (shared.tone, random["n"], random["p_value"]) == ("mixed", 5, 1 / 6)  # five draws cannot say more
    assert found["sizes"].values["chosen"] is True  # so the count is no finding
    assert found["sizes"].values["shared"] == study.sets.total("shared")


def test_set_sizes_stand_beside_what_chance_gives(study: ShownStudy) -> None:
    noise = findings(study)["noise"]
    others = [code for code in study.languages if code != "de"]
    assert noise.tone == "mixed" and noise.values["larger"] == {
        "exclusive": others,
        "strict_exclusive": others,
    }
    of_german = cell_of(size_grid(study), "German", 3)
    assert of_german.text == "0.50"  # the largest of them, which Holm leaves as it is
    # without Holm's correction 0.02 would do
    rows = [{**row, "p_value": row["p_value"] and 0.02} for row in study.rows["noise_floor"]]
    barely = dataclasses.replace(study, rows={**study.rows, "noise_floor": rows})
    assert (findings(barely)["noise"].tone, findings(barely)["noise"].values["larger"]["exclusive"]) == (
        "no",
        [],
    )


def test_an_unmeasured_noise_floor_is_said_with_its_reason(study: ShownStudy) -> None:
    rows = [{**row, "chance_size": None, "null_reason": "too few"} for row in study.rows["noise_floor"]]
    for stored, reason in (([], None), (rows, "too few")):
        bare = findings(dataclasses.replace(study, rows={**study.rows, "noise_floor": stored}))
        assert bare["noise_unmeasured"].values == {"reason": reason} and "noise" not in bare


def test_twenty_draws_can_be_enough(twenty: ShownStudy) -> None:
    found = findings(twenty)
    shared = found["shared_off"]
    assert shared.tone == "yes" and {each["p_value"] for each in shared.values["beside"].values()} == {1 / 21}
    assert set(shared.values["beside"]) == {"control", "impact_control"}
    assert shared.values["beside"]["impact_control"]["ratio"] == pytest.approx(0.95)


def test_draws_of_less_impact_make_no_plain_yes(tmp_path: Path) -> None:
    shared = findings(of_twenty_draws(tmp_path, match=0.4))["shared_off"]
    assert shared.values["beside"]["impact_control"]["is_more"] and shared.tone == "mixed"


def test_what_impact_explains_is_no_plain_yes(tmp_path: Path) -> None:
    """A planted world in which neurons of like impact cost what the set costs: random draws are beaten all the same."""
    shared = findings(of_twenty_draws(tmp_path, explained=1.3))["shared_off"]
    random, like = (shared.values["beside"][kind] for kind in ("control", "impact_control"))
    assert random["is_more"] and random["p_value"] == 1 / 21
    assert not like["is_more"] and like["p_value"] > 0.2 and like["lost"]
    assert shared.tone == "mixed"


def test_without_draws_of_like_impact_there_is_no_plain_yes(twenty: ShownStudy) -> None:
    random = Variants(v for v in twenty.variants if v.kind not in ("impact_control", "language_control"))
    found = findings(dataclasses.replace(twenty, variants=random))
    assert found["shared_off"].values["beside"]["control"]["is_more"] and found["shared_off"].tone == "mixed"
    assert set(found["own_off"].values["beside"]) == {"control"}


def test_a_shared_set_worth_nothing_is_chance(tmp_path: Path) -> None:
    study = study_of(tmp_path, strength=0.0)
    shared = findings(study)["shared_off"]
    assert (shared.tone, shared.values["lost"]) == ("no", list(study.languages))


def test_the_language_without_an_effect_is_named(study: ShownStudy) -> None:
    found = findings(study)
    for own in of_kind(study, "own_off"):
        assert (own.tone, own.values["lost"], own.values["unharmed"]) == ("mixed", ["de"], ["de"])
    assert found["importance"].values["nulls"] == ["de"]


def test_few_draws_are_counted(tmp_path: Path) -> None:
    study = study_of(tmp_path, n_draws=2, n_short=1)
    random = findings(study)["shared_off"].values["beside"]["control"]
    assert (random["n"], random["few"]) == (2, True)
    (short,) = [values for kind, values in omissions(study) if kind == "draws_short"]
    n_shared = study.sets.total("shared")
    assert (
        short["draws"] == "neurons nearest in impact" and ("shared", n_shared - 1, n_shared) in short["sets"]
    )


def test_no_draws_no_claim(tmp_path: Path) -> None:
    study = study_of(tmp_path, n_draws=0)
    shared, own = findings(study)["shared_off"], findings(study)["own_off"]
    assert (shared.tone, shared.values["beside"], shared.values["lost"]) == ("mixed", {}, [])
    assert (own.tone, own.values["beside"]) == ("mixed", {})
    missing = {v["draws"]: v["variants"] for kind, v in omissions(study) if kind == "draws"}
    assert len(missing) == 3 and "shared" in missing["random neurons"]
    assert "shared" not in missing["other languages’ neurons"]


def test_without_perplexities_nothing_is_said_of_them(study: ShownStudy) -> None:
    bare = dataclasses.replace(study, variants=Variants(), rows={**study.rows, "metrics": []})
    assert [(kind, f.tone) for kind, f in findings(bare).items()] == [
        ("sizes", "note"),
        ("noise", "mixed"),
        ("perplexity_unmeasured", "note"),
    ]
    assert ("perplexities", {}) in omissions(bare)


def test_omissions_name_what_has_no_value_and_why(study: ShownStudy) -> None:
    listed = omissions(study)
    kinds = dict(listed)
    nulls = {(v["metric"], v["null"]): v for kind, v in listed if kind == "metric"}
    assert nulls["imp_ppl", True]["where"] == ["de"] and nulls["imp_ppl", True]["reason"]
    reserved = nulls["language_agnostic_score_nll", False]
    assert reserved["where"] == [None] and "5 of 6" in reserved["reason"]
    (half,) = [v for kind, v in listed if kind == "neighbour" and "0.5" in v["label"]]
    assert half["label"] == "σ × 0.5" and "floor" in half["reason"]
    assert (kinds["texts"]["n_dropped"], kinds["texts"]["n_read"]) == (57, 960)
    assert kinds["texts"]["dropped"]["zh"] == {"duplicate": 1, "too_short": 7}
    assert set(kinds["bounds"]["bounded"]) == {"q", "k"}
    assert {code for code, _, _ in kinds["jumps"]["jumps"]} == {"th"}
    assert kinds["short_text"]["languages"] == list(study.languages)


def test_an_empty_shared_set_is_a_null_result(study: ShownStudy) -> None:
    empty = dataclasses.replace(study, sets=dataclasses.replace(study.sets, counts={}))
    assert findings(empty)["sizes"].tone == "no"
    assert {"shared_empty", "exclusive_empty"} <= {kind for kind, _ in omissions(empty)}

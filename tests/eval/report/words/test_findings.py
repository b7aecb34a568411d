"""The plain words follow the numbers, above all when there is nothing to report."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from polyneuron.eval.report.numbers.effects import effects_of
from polyneuron.eval.report.numbers.study import ModelStudy, read_report
from polyneuron.eval.report.words.findings import Finding, findings_of
from polyneuron.eval.report.words.omissions import omissions_of
from tests.eval.report.synthetic import Plan, store_with


def study_of(root: Path, **changes: object) -> ModelStudy:
    return read_report(store_with(root, dataclasses.replace(Plan(), **changes))).studies[0]  # type: ignore[arg-type]


def words(found: list[Finding]) -> str:
    return " ".join(f"{f.headline} {f.evidence}" for f in found)


def test_a_strong_shared_set_is_said_to_matter(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    found = findings_of(study, effects_of(study))
    assert found[1].tone == "yes"
    assert "more without the shared neurons than without random ones" in found[1].headline
    assert "no finding" in found[0].evidence  # the shared count was chosen by the rule


def test_a_shared_set_worth_nothing_is_said_to_be_chance(tmp_path: Path) -> None:
    study = study_of(tmp_path, strength=0.0)
    found = findings_of(study, effects_of(study))
    assert found[1].tone == "no"
    assert "no more than chance in English, Chinese, Thai, Swahili, French and German" in found[1].headline


def test_the_language_without_an_effect_is_named(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    found = findings_of(study, effects_of(study))
    assert "no more than chance in German" in found[2].headline
    assert "In German it does not rise at all." in found[2].evidence
    assert "No value in German" in words(found)


def test_an_exclusive_set_that_hurts_nobody_does_not_hurt_its_own_most(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    effects = effects_of(study)
    assert effects is not None
    harmless = {lang: dataclasses.replace(e, times=0.9) for lang, e in effects.by["exclusive-de"].items()}
    effects.by["exclusive-de"] = harmless | {"de": dataclasses.replace(harmless["de"], times=0.99)}
    specific = next(f for f in findings_of(study, effects) if "their own language most" in f.headline)
    assert "German’s hurts no language" in specific.evidence and specific.tone == "mixed"


def test_too_few_draws_are_owned_up_to(tmp_path: Path) -> None:
    study = study_of(tmp_path, n_draws=2)
    assert "too few to show their spread" in words(findings_of(study, effects_of(study)))


def test_no_draws_no_claim(tmp_path: Path) -> None:
    study = study_of(tmp_path, n_draws=0)
    effects = effects_of(study)
    found = findings_of(study, effects)
    assert found[1].tone == "mixed" and "no random draws" in found[1].headline
    assert any("cannot be told from chance" in o.why for o in omissions_of(study, effects))


def test_without_perplexities_the_report_says_so(tmp_path: Path) -> None:
    study = dataclasses.replace(study_of(tmp_path), variants=(), metrics=[])
    found = findings_of(study, None)
    assert "was not measured" in found[1].headline and len(found) == 2
    assert "No perplexities" in [o.what for o in omissions_of(study, None)]


def test_omissions_name_what_has_no_value_and_why(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    listed = {o.what: o.why for o in omissions_of(study, effects_of(study))}
    assert (
        listed["No importance from perplexity (Eq. 5) for German"]
        == "removing the exclusive set does not raise perplexity"
    )
    assert "below the floor" in listed["No sets under the neighbouring rule σ × 0.5"]
    reserved = listed[
        "A reservation about the language-agnostic score from log perplexity (Eq. 6) for the model"
    ]
    assert "mean over 5 of 6 languages" in reserved
    assert "57 of 960 texts read were not used" in listed
    assert any(
        what.startswith("Only an upper bound is known for") and "certified" in why
        for what, why in listed.items()
    )
    assert any(what.startswith("Some random draws more than doubled perplexity: Thai") for what in listed)


def test_an_empty_shared_set_is_a_null_result(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    empty = dataclasses.replace(study, sets=dataclasses.replace(study.sets, counts={}))
    assert findings_of(empty, effects_of(empty))[0].tone == "no"
    assert "The shared set is empty" in [o.what for o in omissions_of(empty, effects_of(empty))]

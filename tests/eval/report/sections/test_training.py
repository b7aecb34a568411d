"""The section on training as it stands on the page, and pages without it."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from polyneuron.eval.report.numbers.study import read_report
from polyneuron.eval.report.page import render
from polyneuron.eval.store.store import Store
from tests.eval.report.benchmark_rows import add, score, unavailable, usual, usual_verdicts, verdict
from tests.eval.report.synthetic import Plan, store_with
from tests.eval.report.test_page import parsed
from tests.eval.report.training_rows import (
    checks,
    name_of,
    perplexities,
    put_mixture,
    put_rows,
    steps,
    tuned_score,
    usual_training,
)

PLAN = Plan(languages=("en", "sw", "th"), n_layers=2, n_draws=0, n_sentences=4)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path / "store", PLAN)


def page(store: Store) -> str:
    return render(read_report(store), "t")


def words(store: Store, name: str = "training", end: str = "omissions") -> str:
    """A section's own text, without marks, in one line."""
    found = re.search(rf'<h2 id="m0-{name}">(.*?)<h2 id="m0-{end}">', page(store), re.S)
    assert found is not None
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", found[1])))


def test_without_training_there_is_no_section(store: Store) -> None:
    add(store, usual(), usual_verdicts())
    assert "m0-training" not in page(store) and "under Training" not in page(store)


def test_table_1_has_score_change_verdict_interval_and_items(store: Store) -> None:
    usual_training(store)
    found = words(store)
    assert "shared 54.0 +4.0 ▲ better −1.0 to +9.0 50 items" in found
    assert "− random +4.0 ▲ better −1.0 to +9.0 50 items" in found
    assert "none the unchanged model 50.0 40.0 to 60.0 50 items" in found
    assert "after Holm’s correction for all 10 comparisons" in found
    assert "×0.900 ▲ better ×0.900 to ×0.900 4 sentences" in found
    assert "○ no evidence" in found and "Why these: shared was asked for; exclusive was asked for" in found
    structure = parsed(page(store))
    assert len(structure.ids) == len(set(structure.ids)) and set(structure.references) <= set(structure.ids)
    assert all(b - a <= 1 for a, b in zip(structure.levels, structure.levels[1:], strict=False))


def test_steps_tokens_and_shares_are_stated(store: Store) -> None:
    rows = steps(
        "shared", "sw", [3.25, 3.0], reason="the language-agnostic score 2.00 lies between 1.00 and 4.62"
    )
    put_rows(store, "training", rows + steps("full", "sw", [3.0, 2.0], n_neurons=0, n_trainable=2400))
    found = words(store)
    assert "2 variants for Swahili: 0 to 12 neurons, 2 steps and 200 tokens each." in found
    assert "shared for Swahili 12 4.7% 240 10% 2 200 3.250 to 3.000" in found  # 12 of 256, 240 of 2,400
    assert "full for Swahili – – 2,400 100% 2 200 3.000 to 2.000" in found
    assert "shared: the language-agnostic score 2.00 lies between 1.00 and 4.62; full was asked for." in found
    assert "No random neurons were trained" in found
    assert "No trained variant was put to a benchmark." in found
    assert "Nothing was validated during training" in found
    assert "No held-out perplexity of a trained variant is stored" in found


def test_the_benchmarks_section_keeps_to_what_was_switched_off(store: Store) -> None:
    add(store, usual(("en", "sw", "th")), usual_verdicts(("en", "sw", "th")))
    usual_training(store)
    found = words(store, "benchmarks", "training")
    assert (
        "tuned" not in found
        and "exclusive-sw" in found
        and "What training changed is under Training." in found
    )
    assert "control-shared" in found and "control-shared" not in words(store)
    assert not re.search("Benchmarks, tuned", page(store))


def test_a_store_that_judged_training_alone_says_where_it_is(store: Store) -> None:
    usual_training(store)
    found = words(store, "benchmarks", "training")
    assert "Here is the unchanged model alone. What training changed is under Training." in found


def test_gaps_are_blank_with_reasons(store: Store) -> None:
    put_rows(store, "training", steps("shared", "sw", [3.0]) + steps("exclusive", "th", [3.0]))
    put_rows(store, "perplexities", perplexities(store, name_of("shared", "sw"), {"sw": 0.9}))
    missing = unavailable(name_of("shared", "sw"), "sw", "MMMLU has no sw", kind="tuned", set_language="sw")
    add(store, [score("base", "th", 0.5), missing])
    found = words(store)
    assert "shared not trained for it no value, see below nothing to average" in found
    assert "exclusive not evaluated not trained for it nothing to average" in found
    assert "MMMLU has no sw." in found and "No paired verdicts on these scores are stored" in found
    assert "exclusive not measured not trained for it nothing to average" in found  # perplexity
    assert "shared 0.0" not in found


def test_languages_trained_together_have_a_cell_each(store: Store) -> None:
    name = name_of("shared", "th+sw")
    put_rows(store, "training", steps("shared", "th+sw", [3.0, 2.0]))
    put_rows(store, "perplexities", perplexities(store, name, {"en": 1.0, "sw": 0.9, "th": 0.8}))
    scores = [score("base", lang, 0.5) for lang in ("sw", "th")]
    scores += [tuned_score("shared", "th+sw", 0.52, "sw"), tuned_score("shared", "th+sw", 0.54, "th")]
    add(store, scores, [verdict(name, "sw", 0.02, "no evidence"), verdict(name, "th", 0.04, "better")])
    found = words(store)
    assert "shared Thai and Swahili together 54.0 +4.0 ▲ better" in found
    assert "52.0 +2.0 ○ no evidence −3.0 to +7.0 50 items +3.0" in found
    assert "×0.800" in found and "×0.900" in found
    assert "×0.849" in found  # the geometric mean of 0.8 and 0.9
    assert "Trained for Thai and Swahili" in found


def test_several_seeds_have_a_mean_and_their_own_rows(store: Store) -> None:
    scores, verdicts = [score("base", "sw", 0.5)], []
    for seed, gain in ((0, 0.04), (1, 0.0)):
        put_rows(store, "training", steps("shared", "sw", [3.0], seed))
        scores.append(tuned_score("shared", "sw", 0.5 + gain, seed=seed))
        verdicts.append(verdict(name_of("shared", "sw", seed), "sw", gain, "no evidence"))
    add(store, scores, verdicts)
    found = words(store)
    assert "shared mean of 2 seeds 52.0 +2.0 ○ no evidence 2 of 2 0.0 to +4.0 over seeds 50 items" in found
    assert "each seed on its own" in found and "seed 0 54.0 +4.0" in found and "seed 1 50.0 0.0" in found
    assert "shared, seed 1 for Swahili" in found


def test_the_numbers_of_validation_are_listed(store: Store) -> None:
    put_rows(store, "training", steps("shared", "sw", [3.0] * 4))
    name = name_of("shared", "sw")
    put_rows(store, "validations", checks(name, "sw", {0: 3.0, 2: 2.5, 4: 2.75}, kept=2))
    assert "shared for Swahili 2.500 before: 3.000 after the last step: 2.750" in words(store)


def test_another_selection_and_stale_validation_are_owned_up_to(store: Store) -> None:
    put_rows(store, "validations", checks(name_of("shared", "sw"), "sw", {0: 3.0}, kept=0))
    put_mixture(store, {"embedded": 0.5, "a/b": 0.5})
    put_rows(store, "training", steps("shared", "sw", [3.0], n_neurons=9999), run_id="run-0002")
    found = words(store)
    assert "Trained on another selection than the one shown: tuned-shared-sw (9,999 neurons" in found
    assert "stored validation of tuned-shared-sw" in found
    assert "Documents: embedded and a/b. Of these, the embedded sample" in found


def test_the_embedded_sample_is_called_one(store: Store) -> None:
    put_mixture(store, "embedded")
    put_rows(store, "training", steps("shared", "sw", [3.0]), run_id="run-0002")
    assert "can teach a model nothing" in words(store)


def test_names_are_escaped(store: Store) -> None:
    evil = "<img src=x onerror=alert(1)>"
    name = f"tuned-{evil}-sw"
    put_mixture(store, {evil: 1.0})
    put_rows(store, "training", steps(evil, evil, [3.0, 2.0], reason=evil), run_id="run-0002")
    put_rows(store, "training", steps(evil, "sw", [3.0, 2.0], reason=evil), run_id="run-0002")
    put_rows(store, "validations", checks(name, evil, {0: 1.0, 2: 1.5}, kept=2), run_id="run-0002")
    put_rows(store, "perplexities", perplexities(store, name, {"sw": 0.9}, set_language="sw"))
    scores = [score("base", "sw", 0.5, benchmark=evil), score(name, "sw", 0.5, benchmark=evil, kind="tuned")]
    add(store, scores, [verdict(name, "sw", 0.0, evil, benchmark=evil, reason=evil)])
    text = page(store)
    assert "<img" not in text and text.count("&lt;img") > 20

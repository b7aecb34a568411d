"""The part on training: Table 1 on benchmarks and perplexity, other languages, validation, and what is missing."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyneuron.eval.report.numbers.benchmarks import results_of
from polyneuron.eval.report.numbers.effects import effects_of
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.trained_effects import trained_effects
from polyneuron.eval.report.numbers.variants import ShownVariant, Variants
from polyneuron.eval.report.page import article, render
from polyneuron.eval.report.sections.trained_table import trained_grids
from polyneuron.eval.report.sections.training import perplexity_form, perplexity_matrix, training_part
from polyneuron.eval.store.store import Store
from polyneuron.eval.tables.grid import Grid
from tests.eval.report.benchmark_rows import add, score, unavailable, usual, usual_verdicts, verdict
from tests.eval.report.grids import cell_of, rows_of
from tests.eval.report.synthetic import Plan, store_with, studied
from tests.eval.report.test_page import assert_sound
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

PLAN = Plan(languages=("en", "sw", "th"), n_layers=2, n_draws=0, n_sentences=12)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path / "store", PLAN)


def values(store: Store) -> dict[str, Any]:
    study = studied(store).studies[0]
    results = results_of(study)
    trained = results.of_training(True) if results else None
    effects = effects_of(study.variants)
    return training_part(study, effects, trained_effects(study, effects), trained)


def benchmark_rows(store: Store) -> dict[str, list[str]]:
    """Table 1 on the one benchmark."""
    (found,) = values(store)["benchmarks"]["tables"]
    return rows_of(found["table"])


def test_without_training_there_is_no_part(store: Store) -> None:
    add(store, usual(), usual_verdicts())
    assert "tiny-model-a-training" not in render(studied(store), "t")


def test_table_1_has_score_change_verdict_interval_and_items(store: Store) -> None:
    usual_training(store)
    rows = benchmark_rows(store)
    assert rows["shared"][0] == "54.0 +4.0 ▲ better −1.0 to +9.0 50 items"
    assert rows["none the unchanged model"][0] == "50.0 40.0 to 60.0 50 items"
    assert rows["− random"][0] == "+1.0 ○ no evidence −4.0 to +6.0 50 items"  # of the exclusive set, the last
    found = values(store)
    assert found["benchmarks"]["family"] == 12 and found["random"] and not found["fewer"]
    assert found["reasons"][:2] == [
        ("shared", "shared was asked for"),
        ("exclusive", "exclusive was asked for"),
    ]
    shared = rows_of(found["perplexity"]["table"])["shared"]
    assert shared[0].endswith("×0.900 ▲ better ×0.900 to ×0.900 12 sentences")
    assert_sound(render(studied(store), "t"))


def test_too_few_free_neurons_are_shown(store: Store) -> None:
    put_rows(store, "training", steps("shared", "sw", [3.0]))
    put_rows(store, "training", steps("random-shared", "sw", [3.0], n_neurons=11))
    assert values(store)["fewer"] == [("tuned-random-shared-sw", 11, 12)]
    assert "tuned-random-shared-sw (11 of 12)" in render(studied(store), "t")


def test_steps_tokens_and_shares_are_stated(store: Store) -> None:
    rows = steps("shared", "sw", [3.25, 3.0])
    put_rows(store, "training", rows + steps("full", "sw", [3.0, 2.0], n_neurons=0, n_trainable=2400))
    found = values(store)
    assert rows_of(found["table"]) == {  # 12 of 256 neurons, 240 of 2,400 numbers
        "shared for Swahili": ["12", "4.7%", "240", "10%", "2", "200", "3.250 to 3.000"],
        "full for Swahili": ["–", "–", "2,400", "100%", "2", "200", "3.000 to 2.000"],
    }
    assert not found["random"] and found["few"] and found["languages"] == ["sw"]
    assert (found["benchmarks"], found["perplexity"], found["validation"]) == (None, None, False)


def test_trained_variants_and_sets_keep_to_their_parts(store: Store) -> None:
    add(store, usual(("en", "sw", "th")), usual_verdicts(("en", "sw", "th")))
    usual_training(store)
    parts = article(studied(store).studies[0], "m0").parts
    names = {
        name: {column.over for column in table.columns} - {""}
        for name, table in (
            ("benchmarks", parts["benchmarks"]["benchmarks"][0]["table"]),
            ("training", parts["training"]["benchmarks"]["tables"][0]["shown"]["table"]),
        )
    }
    assert "exclusive-sw" in names["benchmarks"] and not any("tuned" in name for name in names["benchmarks"])
    assert names["training"] & names["benchmarks"] == {"base"} and len(names["training"]) == 9
    assert parts["benchmarks"]["trained_apart"] and parts["benchmarks"]["changed"]


def test_a_store_that_judged_training_alone_says_so(store: Store) -> None:
    usual_training(store)
    part = article(studied(store).studies[0], "m0").parts["benchmarks"]
    assert part["trained_apart"] and not part["changed"]


def test_gaps_are_blank_with_reasons(store: Store) -> None:
    put_rows(store, "training", steps("shared", "sw", [3.0]) + steps("exclusive", "th", [3.0]))
    put_rows(store, "perplexities", perplexities(store, name_of("shared", "sw"), {"sw": 0.9}))
    missing = unavailable(name_of("shared", "sw"), "sw", "MMMLU has no sw", kind="tuned", set_language="sw")
    add(store, [score("base", "th", 0.5), missing])
    found = values(store)
    (benchmark,) = found["benchmarks"]["tables"]
    for table in (benchmark["table"], found["perplexity"]["table"]):
        for row, column in (("shared", 0), ("exclusive", 1), ("exclusive", 0), ("shared", 1)):
            cell = cell_of(table, row, column)
            if (row, column, table) != ("shared", 1, found["perplexity"]["table"]):
                assert (cell.text, cell.tone) == ("", "blank") and cell.details
    assert ("null", ([("sw", None)], "MMMLU has no sw")) in benchmark["shown"]["notes"]
    assert found["benchmarks"]["judged"] is None


def test_languages_trained_together_have_a_cell_each(store: Store) -> None:
    name = name_of("shared", "th+sw")
    put_rows(store, "training", steps("shared", "th+sw", [3.0, 2.0]))
    put_rows(store, "perplexities", perplexities(store, name, {"en": 1.0, "sw": 0.9, "th": 0.8}))
    scores = [score("base", lang, 0.5) for lang in ("sw", "th")]
    scores += [tuned_score("shared", "th+sw", 0.52, "sw"), tuned_score("shared", "th+sw", 0.54, "th")]
    add(store, scores, [verdict(name, "sw", 0.02, "no evidence"), verdict(name, "th", 0.04, "better")])
    found = values(store)
    rows = rows_of(found["benchmarks"]["tables"][0]["table"])["shared Thai and Swahili together"]
    assert rows[0].startswith("54.0 +4.0 ▲ better")
    assert rows[1:] == ["52.0 +2.0 ○ no evidence −3.0 to +7.0 50 items", "+3.0"]
    cells = [cell_of(found["perplexity"]["table"], "shared", i) for i in range(3)]
    assert [cell.raised or cell.text for cell in cells] == [
        "×0.800",
        "×0.900",
        "×0.849",
    ]  # the geometric mean
    assert found["curves"][0]["languages"] == ("th", "sw")


def test_several_seeds_have_a_mean_and_their_own_rows(store: Store) -> None:
    scores, verdicts = [score("base", "sw", 0.5)], []
    for seed, gain in ((0, 0.04), (1, 0.0)):
        put_rows(store, "training", steps("shared", "sw", [3.0], seed))
        scores.append(tuned_score("shared", "sw", 0.5 + gain, seed=seed))
        verdicts.append(verdict(name_of("shared", "sw", seed), "sw", gain, "no evidence"))
    add(store, scores, verdicts)
    found = values(store)
    (tables,) = found["benchmarks"]["tables"]
    mean = rows_of(tables["table"])["shared mean of 2 seeds"]
    assert mean == ["52.0 +2.0 ○ no evidence 2 of 2 0.0 to +4.0 over seeds 50 items"]
    seeds = rows_of(tables["seeds"])
    assert seeds["shared seed 0"][0].startswith("54.0 +4.0") and seeds["shared seed 1"][0].startswith(
        "50.0 0.0"
    )
    assert "shared, seed 1 for Swahili" in rows_of(found["table"])


def test_another_selection_and_the_mixture_are_owned_up_to(store: Store) -> None:
    put_mixture(store, {"embedded": 0.5, "a/b": 0.5})
    put_rows(store, "training", steps("shared", "sw", [3.0], n_neurons=9999), run_id="run-0002")
    found = values(store)
    ((name, n, shown),) = found["other_selection"]
    assert (name, n) == (name_of("shared", "sw"), 9999) and shown < 256
    assert found["corpora"] == ["embedded", "a/b"] and not found["only_embedded"]


def test_the_embedded_sample_is_called_one(store: Store) -> None:
    put_mixture(store, "embedded")
    put_rows(store, "training", steps("shared", "sw", [3.0]), run_id="run-0002")
    assert values(store)["only_embedded"]


def losses(name: str, nats_a_token: dict[str, float], kind: str = "tuned") -> ShownVariant:
    """Twelve sentences of 2, 3 and 5 tokens, each with the same nats per token."""
    tokens = np.array([2.0, 3.0, 5.0] * 4)
    nll = {code: (np.arange(12), nats * tokens, tokens) for code, nats in nats_a_token.items()}
    return ShownVariant(name=name, kind=kind, n_neurons=3, nll=nll)


@pytest.fixture
def study(store: Store) -> ShownStudy:
    """Base perplexity 100; shared ×0.8 in Swahili, ×1.2 in English; random ×0.9 in Swahili; Thai not measured."""
    put_rows(store, "training", steps("shared", "sw", [3.0]) + steps("random-shared", "sw", [3.0]))
    base = math.log(100)
    variants = Variants(
        [
            losses("base", {"en": base, "sw": base}, "base"),
            losses("tuned-shared-sw", {"en": base + math.log(1.2), "sw": base + math.log(0.8)}),
            losses("tuned-random-shared-sw", {"sw": base + math.log(0.9)}),
        ]
    )
    return dataclasses.replace(studied(store).studies[0], variants=variants)


def perplexity_table(study: ShownStudy) -> Grid:
    effects = effects_of(study.variants)
    assert effects is not None
    return trained_grids(
        study.trainings, perplexity_form(study, effects, trained_effects(study, effects)), "title"
    )[0]


def test_the_table_has_perplexities_and_multiples(study: ShownStudy) -> None:
    base, shared, against, random = (row.cells[1] for row in perplexity_table(study).rows)
    assert base.text == "100" and base.details == ("12 sentences",)
    assert (shared.text, shared.raised, shared.tone, shared.details[1]) == (
        "80.0",
        "×0.800",
        "better",
        "12 sentences",
    )
    assert against.text == "×0.889"  # 0.8 / 0.9
    assert random.raised == "×0.900"


def test_the_matrix_shows_what_broke_and_what_is_missing(study: ShownStudy) -> None:
    effects = effects_of(study.variants)
    assert effects is not None
    table = perplexity_matrix(study, effects, trained_effects(study, effects))
    assert [column.text for column in table.columns[1:]] == ["English", "Swahili"]
    english, swahili = (cell_of(table, "shared for Swahili", i) for i in (0, 1))
    assert (english.text, english.tone, english.shade, english.framed) == ("×1.200", "worse", 1, False)
    assert (swahili.text, swahili.tone, swahili.framed) == ("×0.800", "better", True)
    gap = cell_of(table, "random as shared")
    assert gap.text == "" and gap.marks == () and gap.details


def test_random_is_compared_on_the_same_sentences(study: ShownStudy) -> None:
    shared, random = study.trainings
    changed = trained_effects(study, effects_of(study.variants))
    effect = changed.on_random(shared, "sw")
    assert effect is not None and effect.times == pytest.approx(8 / 9)
    assert changed.on_random(shared, "en") is None and changed.on_random(random, "sw") is None


def test_without_measurements_there_is_no_table(study: ShownStudy) -> None:
    for variants in (study.variants[1:], study.variants[:1]):
        bare = dataclasses.replace(study, variants=Variants(variants))
        effects = effects_of(bare.variants)
        part = training_part(bare, effects, trained_effects(bare, effects), None)
        assert part["perplexity"] is None


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
    text = render(studied(store), "t")
    assert "<img" not in text and text.count("&lt;img") > 20

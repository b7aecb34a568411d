"""The section on benchmarks: its words, its marks, what stands in, what is missing, and when it is absent."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.report import write_report
from polyneuron.eval.report.numbers.benchmarks import results_of
from polyneuron.eval.report.numbers.study import read_report
from polyneuron.eval.report.page import render
from polyneuron.eval.store.store import Store
from tests.eval.report.benchmark_rows import add, score, unavailable, usual, usual_verdicts, verdict
from tests.eval.report.synthetic import Plan, store_with

PLAN = Plan(languages=("en", "sw"), n_layers=2, n_draws=0, n_sentences=4)
Rows = list[dict[str, Any]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path / "store", PLAN)


def page(store: Store, units: list[str] | None = None) -> str:
    return render(read_report(store, units), "t")


def section(store: Store) -> str:
    """The section's own text, without marks, in one line."""
    found = re.search(r'<h2 id="m0-benchmarks">(.*?)<h2 id="m0-omissions">', page(store), re.S)
    assert found is not None
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", found[1])))


def cells(store: Store, language: str) -> list[str]:
    """The cells of a language's row in the first table."""
    row = re.search(rf'<tr><th scope="row">{language}.*?</tr>', page(store).split("m0-benchmarks")[-1], re.S)
    assert row is not None
    found = re.findall(r"<td.*?</td>", row[0], re.S)
    return [re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", cell))).strip() for cell in found]


def test_without_scores_there_is_no_section(store: Store) -> None:
    assert "benchmarks" not in page(store)
    assert results_of(read_report(store).studies[0]) is None


def test_scores_and_paired_differences_stand_side_by_side(store: Store) -> None:
    add(store, usual(), usual_verdicts())
    found = cells(store, "Swahili")
    assert found[0] == "50.0 40.0 to 60.0"
    assert found[1] == "20.0 10.0 to 30.0" and found[2] == "−30.0 ▼ worse −35.0 to −25.0"
    assert found[-1] == "−10.0 ○ no evidence −15.0 to −5.0"
    words = section(store)
    assert "MMMLU" in words and "openai/MMMLU @ 0123456789ab; 50 items a language" in words
    assert "5 solved examples before each; judged by acc." in words
    assert "vLLM in bfloat16, with a start token" in words
    assert "at most 0.05 after Holm’s correction for all 12 comparisons" in words


def test_every_verdict_is_said_in_words(store: Store) -> None:
    found = ["better", "worse", "no evidence", "not judged"]
    names = [f"exclusive-{lang}" for lang in ("en", "sw", "fr", "de")]
    add(
        store,
        [score(name, "en", 0.5) for name in ("base", *names)],
        [
            verdict(
                name,
                "en",
                None if word == "not judged" else 0.01,
                word,
                reason="why" if word == "not judged" else None,
            )
            for name, word in zip(names, found, strict=True)
        ],
    )
    words = section(store)
    for mark in ("▲ better", "▼ worse", "○ no evidence", "– not judged"):
        assert mark in words
    assert "English: exclusive-de against base, not judged: why." in words


@pytest.mark.parametrize(("kind", "said"), [("sample", True), ("hub", False), ("local", False)])
def test_a_sample_is_called_one(store: Store, kind: str, said: bool) -> None:
    add(store, usual(data=kind), usual_verdicts())
    sentence = "small original samples written for this project, not the benchmarks"
    assert (sentence in section(store)) is said
    assert (
        "MMMLU (sample, not the benchmark) sample in the layout of openai/MMMLU;" in section(store)
    ) is said
    assert ("local openai/MMMLU, content 0123456789ab;" in section(store)) is (kind == "local")
    assert ("The benchmark scores below are no finding." in page(store)) is said
    assert ("Benchmarks, the shared set: worse in 2 of 2." in page(store)) is not said


def test_a_sample_beside_real_data_is_told_apart(store: Store) -> None:
    add(store, usual() + usual(benchmark="xnli", data="sample"), usual_verdicts())
    assert "XNLI: the items are small original samples" in section(store)
    assert "MMMLU: the items come from the Hugging Face hub" in section(store)


def test_a_stand_in_and_a_missing_language_are_explained(store: Store) -> None:
    rows = [score("base", "en", 0.5, stand_in="MMLU, the English original"), score("shared", "en", 0.5)]
    rows += [unavailable(name, "sw", "MMMLU has no sw; it has de") for name in ("base", "shared")]
    add(store, rows)
    words = section(store)
    assert "English is a stand-in: MMLU, the English original." in words
    assert "Swahili: MMMLU has no sw; it has de." in words
    assert cells(store, "Swahili") == ["–", "–", "–"]
    assert "No paired verdicts on these scores are stored" in words


def test_what_was_not_scored_is_counted(store: Store) -> None:
    rows = [score("base", "en", 0.5, n=48, n_unscored=2), score("shared", "en", 0.0, n=48, n_unscored=2)]
    rows += [score("base", "sw", 0.0), score("shared", "sw", 0.1, n=49, n_unscored=1)]
    add(store, rows)
    words = section(store)
    assert (
        "Items that could not be scored and are left out: English 2 of 50 and Swahili, shared: 1 of 50."
        in words
    )
    assert "nothing could get worse: Swahili." in words


def test_a_language_not_evaluated_yet_is_named(store: Store) -> None:
    add(store, [score("base", "en", 0.5), score("base", "sw", 0.5), score("shared", "en", 0.5)])
    assert "Not in the store: Swahili (1 of 2 variants)." in section(store)
    assert cells(store, "Swahili") == ["50.0 40.0 to 60.0", "–", "–"]


def test_the_base_model_alone(store: Store) -> None:
    add(store, [score("base", "en", 0.5)])
    words = section(store)
    assert "Only the unchanged model was put to the benchmarks" in words
    assert "Scores before and after" not in words and "random" not in words
    assert "they need two or more models" in words


def test_without_the_base_model_there_are_scores_and_no_differences(store: Store) -> None:
    add(store, [score("shared", "en", 0.5)])
    assert cells(store, "English") == ["50.0 40.0 to 60.0"]


def test_sets_are_set_against_their_draws(store: Store) -> None:
    add(store, usual(), usual_verdicts())
    words = section(store)
    assert "shared minus 2 random draws of its size, over 4 comparisons: 4 worse, none better." in words
    assert "shared − control-shared-1" in words and "−27.0" in words
    evidence = "Against 2 random draws of the same size, over 4 comparisons: 4 worse, none better."
    assert evidence in page(store) and "Random neurons were not judged for comparison." in page(store)


def test_secondary_metrics_and_nights_are_left_out(store: Store) -> None:
    night = [row | {"night": "2026-11-20", "value": 0.99} for row in usual()]
    add(
        store,
        usual() + night + [score("base", "en", 0.77, metric="acc_norm", primary=False, benchmark="xnli")],
    )
    assert "99.0" not in section(store) and "77.0" not in section(store)


def test_only_the_units_of_the_study_are_shown(store: Store) -> None:
    own = [
        unit
        for table in ("selections", "neuron_sets", "detections", "corpora")
        for unit in set(store.read(table)["unit"].to_pylist())
    ]
    shown = add(store, [score("base", "en", 0.5)])
    add(store, [score("base", "en", 0.9)], mark="other")
    assert "40.0 to 60.0" in page(store, own + shown)
    assert "80.0 to 100.0" in page(store) and "80.0 to 100.0" not in page(store, own + shown)
    assert "benchmarks" not in page(store, own)


def test_a_verdict_on_other_scores_is_not_shown(store: Store) -> None:
    add(store, usual(), [verdict("shared", "en", 0.1, "better", value=0.3, baseline_value=0.2)])
    words = section(store)
    assert "▲ better" not in words and "Not shown: 1 stored verdict on other scores" in words


def test_names_are_escaped(store: Store, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    rows: Rows = usual(benchmark=evil, dataset=evil, stand_in=evil, backend=evil)
    rows += [unavailable(f"control-{evil}", evil, evil, benchmark=evil, kind="control", control_of="shared")]
    add(store, rows, usual_verdicts(benchmark=evil, reason=evil))
    text = write_report(store, tmp_path / "r.html").read_text("utf-8")
    assert "<img" not in text and text.count("&lt;img") > 20


def test_the_chart_says_each_value_and_leaves_gaps_out(store: Store) -> None:
    add(store, usual(), usual_verdicts())
    chart = re.search(r'<svg class="chart"[^>]*aria-label="MMMLU after.*?</figure>', page(store), re.S)
    assert chart is not None
    assert "shared: 20.0 (10.0 to 30.0)" in chart[0] and "46.0–48.0" in chart[0]
    assert chart[0].count(">exclusive</text>") == 1  # in Swahili only
    assert chart[0].count('class="reference"') == 2

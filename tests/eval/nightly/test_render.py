"""The summaries hold every verdict, worst first, and no name can break out of its format."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.nightly.judge import FirstNight, Judgement
from polyneuron.eval.nightly.render import html, junit, markdown
from polyneuron.eval.nightly.sections import ModelNight, headline
from polyneuron.eval.verdicts.verdict import Verdict
from tests.golden import assert_golden

EVIL = "a|b</td><script>alert(1)</script>\"'`x`[l](javascript:1)&amp;\x00\x1b\n\ud800\uffff"


def verdict(name: str = "no evidence", **changed: Any) -> Verdict:
    given: dict[str, Any] = {
        "model": "org/m",
        "night": "tue",
        "benchmark": "xnli",
        "language": "sw",
        "metric": "acc",
        "filter": "none",
        "variant": "base",
        "baseline": "mon",
        "n_pairs": 200,
        "value": 0.5,
        "baseline_value": 0.625,
        "delta": -0.125,
        "low": -0.2,
        "high": -0.05,
        "test": "McNemar's exact test, one-sided (worse)",
        "p_value": 0.001,
        "p_adjusted": 0.003,
        "n_family": 3,
        "alpha": 0.05,
        "min_effect": 0.01,
        "verdict": name,
        "reason": None,
    }
    return Verdict(**(given | changed))


UNTESTED = dict.fromkeys(("p_value", "p_adjusted", "n_family"))
UNJUDGED = dict.fromkeys(("value", "baseline_value", "delta", "low", "high", "test")) | UNTESTED


def judgement(
    *verdicts: Verdict, model: str = "org/m", night: str = "tue", baseline: str | None = "mon"
) -> Judgement:
    return Judgement(
        model=model, night=night, baseline_night=baseline, alpha=0.05, min_effect=0.01, verdicts=verdicts
    )


def score(**changed: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "variant": "base",
        "benchmark": "xnli",
        "language": "sw",
        "metric": "acc",
        "filter": "none",
        "n": 40,
        "n_unscored": 0,
        "value": 0.625,
        "low": 0.5,
        "high": 0.75,
        "null_reason": None,
    }
    return given | changed


def first(*scores: dict[str, Any], model: str = "org/m", night: str = "mon") -> FirstNight:
    return FirstNight(model, night, scores)


SHORT = score(language="th", n=38, n_unscored=2)
NOTHING = score(
    language="de", n=0, n_unscored=40, value=None, low=None, high=None, null_reason="no prompt fits"
)


ALL = judgement(
    verdict(language="en"),
    verdict("better", language="fr", delta=0.125, low=0.05, high=0.2),
    verdict("not judged", language="th", n_pairs=0, reason="other prompts", **UNJUDGED),
    verdict("worse", language="sw"),
)


class Page(HTMLParser):
    """Tags of a page, and the text of its table rows."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = [""]
        self.rows: list[list[str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.tags[-1] in ("td", "th") and data.strip():
            self.rows[-1][-1] += data


FIRST = first(
    score(benchmark="mgsm", metric="exact_match", filter="strict", n=5), SHORT, NOTHING, model="org/n"
)
NO_BASELINE = judgement(
    verdict("not judged", reason="no good night", **UNJUDGED), model="org/o", baseline=None
)


@pytest.mark.parametrize("name", ["compared", "first", "everything"])
def test_summaries_are_the_golden_ones(name: str) -> None:
    """What needs attention stands first."""
    nights = {
        "compared": [ALL],
        "first": [first(score(), score(variant="edit"))],
        "everything": [ALL, FIRST, NO_BASELINE, judgement(model="org/p"), first(model="org/q")],
    }
    for suffix, render in (("md", markdown), ("html", html)):
        assert_golden(render(nights[name]), Path(__file__).parent / "golden" / f"{name}.{suffix}")


@pytest.mark.parametrize(
    ("passes", "tag", "counted"), [(False, "error", "errors"), (True, "skipped", "skipped")]
)
def test_junit_skips_too_few_items_that_may_pass(passes: bool, tag: str, counted: str) -> None:
    few = verdict("not judged", reason="too few items: 3", **UNTESTED)
    suite = ElementTree.fromstring(junit([replace(judgement(verdict(), few), few_items_pass=passes)]))[0]
    assert suite.get(counted) == "1" and suite[1][0].tag == tag


def test_junit_has_a_case_for_every_comparison() -> None:
    suite = ElementTree.fromstring(junit([ALL]))[0]
    assert {name: suite.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
    }
    assert [(case.get("name"), case[0].tag) for case in suite] == [
        ("xnli en acc none", "system-out"),
        ("xnli fr acc none", "system-out"),
        ("xnli th acc none", "error"),
        ("xnli sw acc none", "failure"),
    ]
    assert suite[2][0].get("message") == "other prompts"
    assert suite[3][0].get("message") == (
        "50.00 against 62.50 in night mon: -12.50 points (95% interval -20.00 to -5.00), 200 items, "
        "McNemar's exact test, one-sided (worse), adjusted p 0.003 over 3 comparisons at level 0.05"
    )


def test_a_night_without_comparisons_or_scores_is_an_error() -> None:
    for nothing in (judgement(), first()):
        suite = ElementTree.fromstring(junit([nothing]))[0]
        assert suite.get("tests") == suite.get("errors") == "1" and suite[0][0].tag == "error"


def test_a_first_night_has_a_case_for_every_score() -> None:
    suite = ElementTree.fromstring(junit([first(score(), SHORT, NOTHING)]))[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "0", "2")
    found = [(case.get("name"), case[0].tag, case[0].get("type"), case[0].get("message")) for case in suite]
    assert found == [
        ("xnli sw acc none", "system-out", None, None),
        ("xnli th acc none", "error", "not scored", "2 of 40 items not scored"),
        ("xnli de acc none", "error", "not scored", "no prompt fits"),
    ]
    assert suite[0][0].text == "62.50 (95% interval 50.00 to 75.00), 40 items, compared with nothing"


def test_the_headline_is_that_of_the_worst_model() -> None:
    good, scored = judgement(verdict(), model="org/other"), first(score())
    assert headline([good, ALL]) == headline([ALL]) != headline([good])
    assert len(ElementTree.fromstring(junit([good, ALL]))) == 2
    # One model failed on a first night: the headline is not that of a first night.
    assert headline([scored, NO_BASELINE]) == headline([NO_BASELINE]) != headline([first(NOTHING)])


def test_html_loads_nothing() -> None:
    assert not {"script", "img", "iframe"} & set(Page(html([ALL])).tags)
    assert "default-src 'none'" in html([ALL])


NAMES = {name: EVIL for name in ("variant", "benchmark", "language", "metric", "filter", "baseline", "model")}
EVIL_NIGHT = judgement(
    verdict("worse", **NAMES),
    verdict("not judged", **NAMES, reason=EVIL, **UNJUDGED),
    verdict(**NAMES),
    model=EVIL,
    night=EVIL,
)


EVIL_SCORES = {name: EVIL for name in ("variant", "benchmark", "language", "metric", "filter", "null_reason")}
EVIL_FIRST = first(score(**EVIL_SCORES), score(**EVIL_SCORES, value=None), score(), model=EVIL, night=EVIL)


@pytest.mark.parametrize(("night", "n_borders"), [(EVIL_NIGHT, 13), (EVIL_FIRST, 9)])
def test_names_stay_text_in_markdown(night: ModelNight, n_borders: int) -> None:
    text = markdown([night])
    text.encode("utf-8")
    assert not re.search(r"(?<!\\)[<>`\[]", text)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 5
    # As many unescaped bars as the table has borders.
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {n_borders}


@pytest.mark.parametrize(("night", "at", "n_columns"), [(EVIL_NIGHT, 1, 12), (EVIL_FIRST, 0, 8)])
def test_names_stay_text_in_html(night: ModelNight, at: int, n_columns: int) -> None:
    page = html([night])
    page.encode("utf-8")
    assert "script" not in Page(page).tags and "\x00" not in page
    assert Page(page).rows[1][at].startswith("a|b</td><script>alert(1)</script>\"'`x`")
    assert Page(page).tags.count("td") == 3 * (n_columns - 1)


@pytest.mark.parametrize(
    ("night", "tags"),
    [(EVIL_NIGHT, ["failure", "error", "system-out"]), (EVIL_FIRST, ["system-out", "error", "system-out"])],
)
def test_names_stay_text_in_junit(night: ModelNight, tags: list[str]) -> None:
    text = junit([night])
    suite = ElementTree.fromstring(text.encode("utf-8"))[0]
    assert [case[0].tag for case in suite] == tags
    assert "<script>alert(1)</script>" in str(suite[0].get("name")) and "\x1b" not in text

"""The summaries hold every verdict, worst first, and no name can break out of its format."""

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from typing import Any

import pytest

from polyneuron.eval.nightly.first import FirstNight, Score
from polyneuron.eval.nightly.judge import Judgement
from polyneuron.eval.nightly.render import html, junit, markdown
from polyneuron.eval.nightly.sections import ModelNight
from polyneuron.eval.verdicts.verdict import Verdict

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
        "alpha": 0.05,
        "min_effect": 0.01,
        "verdict": name,
        "reason": None,
    }
    return Verdict(**(given | changed))


UNJUDGED = dict.fromkeys(("value", "baseline_value", "delta", "low", "high", "test", "p_value", "p_adjusted"))


def judgement(
    *verdicts: Verdict, model: str = "org/m", night: str = "tue", baseline: str | None = "mon"
) -> Judgement:
    return Judgement(
        model=model, night=night, baseline_night=baseline, alpha=0.05, min_effect=0.01, verdicts=verdicts
    )


def score(**changed: Any) -> Score:
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
        "reason": None,
    }
    return Score(**(given | changed))


def first(*scores: Score, model: str = "org/m", night: str = "mon") -> FirstNight:
    return FirstNight(model, night, scores)


SHORT = score(language="th", n=38, n_unscored=2)
NOTHING = score(language="de", n=0, n_unscored=40, value=None, low=None, high=None, reason="no prompt fits")


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


def test_markdown_puts_what_needs_attention_first() -> None:
    text = markdown([ALL])
    assert text.startswith("# Nightly benchmarks: regression\n")
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[0] for row in rows] == ["| worse", "| not judged", "| better", "| no evidence"]
    assert "| sw | acc | 200 | 50.00 | 62.50 | -12.50 | -20.00 to -5.00 | 0.003 |" in rows[0]
    assert "| th | acc | 0 | – | – | – | – | – | other prompts |" in rows[1]
    assert "1 worse, 1 not judged, 1 better, 1 no evidence." in text
    assert "| 50.00 | 62.50 | +12.50 | +5.00 to +20.00 | 0.003 |" in rows[2]
    assert "at most 0.05, and a loss of at least 1 points" in text


def test_html_holds_the_same_table_and_loads_nothing() -> None:
    page = Page(html([ALL]))
    assert [row[0] for row in page.rows] == ["verdict", "worse", "not judged", "better", "no evidence"]
    assert page.rows[1][1:10] == [
        "base",
        "xnli",
        "sw",
        "acc",
        "200",
        "50.00",
        "62.50",
        "-12.50",
        "-20.00 to -5.00",
    ]
    assert not {"script", "img", "iframe"} & set(page.tags)
    assert "default-src 'none'" in html([ALL])


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
        "McNemar's exact test, one-sided (worse), adjusted p 0.003"
    )


def test_a_night_without_comparisons_is_shown_as_not_judged() -> None:
    nothing = judgement()
    assert "could not judge" in markdown([nothing]) and "there was nothing to compare" in html([nothing])
    suite = ElementTree.fromstring(junit([nothing]))[0]
    assert suite.get("errors") == "1" and suite[0][0].tag == "error"


def test_a_first_night_says_that_there_was_nothing_to_compare_with_and_lists_its_scores() -> None:
    night = first(score(), score(benchmark="mgsm", metric="exact_match", filter="strict", n=5))
    text, page = markdown([night]), Page(html([night]))
    assert text.startswith("# Nightly benchmarks: nothing to compare with, scores recorded\n")
    sentence = "Night mon had nothing to be compared with. 2 scores of 45 items are recorded, which later nights can be"
    assert sentence in text and sentence in html([night])
    assert "| base | xnli | sw | acc | 40 | 62.50 | 50.00 to 75.00 |  |" in text
    assert page.rows[1:] == [
        ["base", "xnli", "sw", "acc", "40", "62.50", "50.00 to 75.00", ""],
        ["base", "mgsm", "sw", "exact_match, strict", "5", "62.50", "50.00 to 75.00", ""],
    ]
    suite = ElementTree.fromstring(junit([night]))[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "0", "0")
    assert [case[0].tag for case in suite] == ["system-out", "system-out"]
    assert suite[0][0].text == "62.50 (95% interval 50.00 to 75.00), 40 items, compared with nothing"
    for summary in (text, html([night]), junit([night])):
        assert "judge" not in summary


def test_a_first_night_with_unscored_items_is_no_baseline_and_names_them_first() -> None:
    night = first(score(), SHORT, NOTHING)
    text = markdown([night])
    assert text.startswith("# Nightly benchmarks: could not score everything\n")
    assert "not accepted as a baseline: 42 of 120 items were not scored" in text
    for rows in (
        [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| base")],
        Page(html([night])).rows[1:],
    ):
        assert [row[2] for row in rows] == ["th", "de", "sw"]
        assert [row[-1].strip() for row in rows[:2]] == ["2 of 40 items not scored", "no prompt fits"]
        assert rows[1][4:7] == ["0", "–", "–"]
    suite = ElementTree.fromstring(junit([night]))[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "0", "2")
    found = [(case.get("name"), case[0].tag, case[0].get("type"), case[0].get("message")) for case in suite]
    assert found[0][:2] == ("xnli sw acc none", "system-out")
    assert found[1:] == [
        ("xnli th acc none", "error", "not scored", "2 of 40 items not scored"),
        ("xnli de acc none", "error", "not scored", "no prompt fits"),
    ]


def test_a_first_night_without_scores_is_an_error_everywhere() -> None:
    nothing = first()
    assert "could not score everything" in markdown([nothing]) and "it has no scores" in html([nothing])
    assert "1 score of 40 items" in markdown([first(score())])
    suite = ElementTree.fromstring(junit([nothing]))[0]
    assert suite.get("tests") == suite.get("errors") == "1" and suite[0][0].tag == "error"


def test_a_night_that_found_no_baseline_names_none() -> None:
    unjudged = judgement(verdict("not judged", reason="no good night", **UNJUDGED), baseline=None)
    assert "Night tue: 1 not judged." in markdown([unjudged])
    # One model failed on a first night: the headline is not that of a first night.
    assert markdown([first(score()), unjudged]).startswith("# Nightly benchmarks: could not judge everything")


def test_several_models_share_one_headline() -> None:
    good = judgement(verdict(), model="org/other")
    text = markdown([good, ALL])
    assert text.startswith("# Nightly benchmarks: regression") and "## org/other" in text
    assert len(ElementTree.fromstring(junit([good, ALL]))) == 2
    assert html([good]).count("No regression found") == 1


NAMES = {name: EVIL for name in ("variant", "benchmark", "language", "metric", "filter", "baseline", "model")}
EVIL_NIGHT = judgement(
    verdict("worse", **NAMES),
    verdict("not judged", **NAMES, reason=EVIL, **UNJUDGED),
    verdict(**NAMES),
    model=EVIL,
    night=EVIL,
)


EVIL_SCORES = {name: EVIL for name in ("variant", "benchmark", "language", "metric", "filter", "reason")}
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

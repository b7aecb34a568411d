"""Numbers a reader can take in, and a dash where there is none."""

from __future__ import annotations

import pytest

from polyneuron.eval.report.words import wording


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(0.97, "×0.97"), (1.036, "×1.04"), (12.34, "×12.3"), (350.4, "×350"), (2345, "×2,345"), (24_100, "×24k"),
     (1.25e6, "×1.2M"),
     (3e9, "×3.0G"), (5e13, "×10¹³"), (float("inf"), "×∞"), (None, "–"), (float("nan"), "–")],
)  # fmt: skip
def test_multipliers_are_short(ratio: float | None, words: str) -> None:
    assert wording.times(ratio) == words
    assert len(words) <= 7


def test_multipliers_near_one_have_a_digit_more() -> None:
    assert [wording.fine_times(v) for v in (0.9844, 1.0, 12.34)] == ["×0.984", "×1.000", "×12.3"]


def test_percent_keeps_two_significant_digits() -> None:
    assert [wording.percent(v) for v in (0.0, 0.00312, 0.25, 1e-7, None)] == [
        "0%",
        "0.31%",
        "25%",
        "<0.001%",
        "–",
    ]


def test_numbers() -> None:
    assert [wording.number(v) for v in (0.2541, 10.0, 1234.5, 3.2e8, -0.5)] == [
        "0.254",
        "10.0",
        "1,234",
        "3.2×10⁸",
        "−0.500",
    ]
    assert wording.number(10.0, tidy=True) == "10"
    assert wording.number(None) == "–"


def test_a_null_is_never_written_as_zero() -> None:
    for form in (wording.count, wording.number, wording.percent, wording.times):
        assert form(None) == wording.DASH
        assert form(float("nan")) == wording.DASH


def test_languages_fall_back_to_their_code() -> None:
    assert wording.language_name("sw") == "Swahili"
    assert wording.language_name("xx-Latn") == "xx-Latn"


def test_listing() -> None:
    assert wording.listing(["a", "b", "c"]) == "a, b and c"
    assert wording.listing([]) == "" and wording.languages(["sw", "xx"]) == "Swahili and xx"
    assert wording.sentence("too few.") == "Too few."

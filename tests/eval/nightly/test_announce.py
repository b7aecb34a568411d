"""What a night tells programs: one workflow command a line, summaries that fit, a message that JSON can hold."""

import json

import pytest

from polyneuron.eval.nightly.announce import MOST_ANNOTATIONS, annotation, annotations, fitted, message
from polyneuron.eval.tables.text import visible
from tests.eval.nightly.test_render import (
    ALL,
    EVIL,
    FIRST,
    NO_BASELINE,
    SHORT,
    first,
    judgement,
    score,
    verdict,
)


def decoded(line: str) -> tuple[str, str, str]:
    """Level, title and message of a workflow command, read as GitHub's runner reads it."""
    assert line.startswith("::") and "\n" not in line and "\r" not in line
    command, _, words = line[2:].partition("::")
    level, _, properties = command.partition(" ")
    (title,) = [value for name, _, value in (each.partition("=") for each in properties.split(","))]

    def read(text: str) -> str:
        for code, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
            text = text.replace(code, char)
        return text

    return level, read(title), read(words)


def test_what_fails_the_night_is_an_error_regressions_first() -> None:
    found = [decoded(line) for line in annotations([ALL, FIRST])]
    assert [level for level, *_ in found] == ["error"] * 4
    assert found[0][1] == "org/m.base: xnli sw acc none, worse"
    assert "50.00 against 62.50 in night mon: -12.50 points" in found[0][2]
    assert found[1][1:] == ("org/m.base: xnli th acc none, not judged", "other prompts")
    assert [title.rpartition(", ")[2] for _, title, _ in found[2:]] == ["not scored"] * 2


def test_a_good_night_has_no_annotation() -> None:
    assert annotations([judgement(verdict()), first(score())]) == []


def test_of_many_errors_the_last_line_counts_the_others() -> None:
    worse = judgement(*(verdict("worse", language=f"l{n}") for n in range(25)))
    found = [decoded(line) for line in annotations([worse])]
    assert len(found) == MOST_ANNOTATIONS and found[-1][2] == "16 more are in the summary"


@pytest.mark.parametrize("words", [EVIL, "a%0Ab", "100%", "::error::x", "x\r\n::set-output name=a::b"])
def test_no_text_ends_a_command_or_begins_another(words: str) -> None:
    level, title, read = decoded(annotation("error", f"{words},x:y", words))
    assert level == "error" and title.endswith(",x:y")
    assert read == visible(words)
    for line in annotations([judgement(verdict("worse", model=words, variant=words, language=words))]):
        decoded(line)


def test_a_summary_is_cut_at_the_end_of_a_line() -> None:
    summary = "# ü\n\n" + "| ärger | x |\n" * 100
    assert fitted(summary, len(summary.encode()), "n.md") == summary
    cut = fitted(summary, 400, "nightly-1.md")
    assert len(cut.encode()) <= 400 and cut.endswith("The rest is in nightly-1.md.\n")
    kept = cut.partition("\n\nThe rest")[0]
    assert summary.startswith(f"{kept}\n") and len(kept.encode()) > 300
    assert fitted(summary, 10, "nightly-1.md") == ""


def test_a_message_says_the_same_in_a_line_and_in_values() -> None:
    body = json.loads(json.dumps(message([ALL, NO_BASELINE], "https://host/run/1")))
    assert body["text"].startswith("Night tue: regression. org/m: 1 worse, 1 not judged, 1 better")
    assert (body["outcome"], body["exit_code"], body["night"]) == ("regression", 1, "tue")
    assert body["run_url"] == "https://host/run/1"
    ours, other = body["models"]
    assert (ours["outcome"], ours["baseline"], other["outcome"], other["baseline"]) == (
        "regression",
        "mon",
        "not judged",
        None,
    )
    assert [(case["case"], case["kind"]) for case in ours["attention"]] == [
        ("org/m.base: xnli th acc none", "not judged"),
        ("org/m.base: xnli sw acc none", "worse"),
    ]
    assert message([first(score(), SHORT)], None)["outcome"] == "not judged"


def test_a_name_cannot_call_everybody_in_a_chat() -> None:
    assert "<" not in message([first(score(), model="<!channel>")], None)["text"]

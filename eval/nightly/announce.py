"""What a night tells programs that wait for it: annotations of GitHub Actions, the summary of a step, a message for a webhook."""

import html
from collections.abc import Sequence
from typing import Any

from polyneuron.eval.nightly.judge import Judgement, Outcome, worst
from polyneuron.eval.nightly.render import FAULTS, shown_cases
from polyneuron.eval.nightly.sections import ModelNight, headline, section
from polyneuron.eval.tables.text import escape_markdown, visible

OUTCOMES = {Outcome.OK: "ok", Outcome.REGRESSION: "regression", Outcome.NOT_JUDGED: "not judged"}
"""How a night ended, in the words of the table `runs`."""
MOST_ANNOTATIONS = 10
"""GitHub shows ten errors and ten warnings of a step."""
MOST_SUMMARY_BYTES = 1 << 20
"""GitHub refuses a step's summary that is longer."""


def annotations(nights: Sequence[ModelNight]) -> list[str]:
    """A workflow command `::error` for each case that fails the night, regressions first, and `::warning` for each that was let
    pass; ten of each at most, the last of which then counts the others."""
    cases = [case for night in nights for case in shown_cases(night)]
    lines = []
    for level, tags in (("error", ("failure", "error")), ("warning", ("skipped",))):
        found = [case for tag in tags for case in cases if FAULTS.get(case.kind, ("",))[0] == tag]
        shown = [(f"{case.owner}: {case.name}, {case.kind}", case.words) for case in found]
        if len(shown) > MOST_ANNOTATIONS:
            more = len(shown) - MOST_ANNOTATIONS + 1
            shown[MOST_ANNOTATIONS - 1 :] = [("Nightly benchmarks", f"{more} more are in the summary")]
        lines += [annotation(level, title, words) for title, words in shown]
    return lines


def annotation(level: str, title: str, words: str) -> str:
    """A workflow command in one line: what could end the message, the title or the line is percent-encoded."""
    title = _encoded(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={title}::{_encoded(words)}"


def _encoded(words: str) -> str:
    return visible(words).replace("%", "%25")


def fitted(summary: str, n_bytes: int, where: str) -> str:
    """A Markdown summary, or as many of its lines as fit into `n_bytes` with a last one that says `where` the others are."""
    if len(summary.encode()) <= n_bytes:
        return summary
    note = f"\n\nThe rest is in {escape_markdown(where)}.\n"
    room = n_bytes - len(note.encode())
    return summary.encode()[:room].rpartition(b"\n")[0].decode() + note if room > 0 else ""


def message(nights: Sequence[ModelNight], run_url: str | None) -> dict[str, Any]:
    """The body of a webhook's request, for JSON: `text` in one line, as chats show it, and the same as values.

    `outcome` and `exit_code` are those of the night; each of `models` has its own, its counts and the cases that need attention.
    `run_url`: where the workflow that judged can be seen, or None.
    """
    outcome = worst(night.outcome for night in nights)
    models = [_of_model(night) for night in nights]
    label = nights[0].night if nights else ""
    parts = [
        f"{model['model']}: {', '.join(model['counts']) or model['headline'].lower()}" for model in models
    ]
    text = f"Night {label}: {headline(nights).lower()}. {'; '.join(parts)}."
    return {
        "text": html.escape(visible(text), quote=False),
        "night": label,
        "outcome": OUTCOMES[outcome],
        "exit_code": int(outcome),
        "run_url": run_url,
        "models": models,
    }


def _of_model(night: ModelNight) -> dict[str, Any]:
    shown = section(night)
    return {
        "model": night.model,
        "outcome": OUTCOMES[night.outcome],
        "headline": shown["headline"],
        "baseline": night.baseline_night if isinstance(night, Judgement) else None,
        "counts": shown["counts"],
        "attention": [
            {"case": f"{case.owner}: {case.name}", "kind": case.kind, "words": case.words}
            for case in shown_cases(night)
            if case.kind in FAULTS
        ][:MOST_ANNOTATIONS],
    }

"""The summary of a nightly judgement for people (Markdown, HTML) and for CI systems (JUnit XML).

Names of models, nights, variants and languages come from users, so each format escapes them in its own way.
"""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from eval.comparisons import BETTER, NO_EVIDENCE, NOT_JUDGED, WORSE, Verdict
from eval.nightly.judge import Judgement, Outcome, worst

_HERE = Path(__file__).parent
_STYLE = _HERE.parent / "report" / "style.css"
_ORDER = (WORSE, NOT_JUDGED, BETTER, NO_EVIDENCE)
"""What needs attention comes first."""
_HEADLINES = {
    Outcome.OK: "No regression found",
    Outcome.REGRESSION: "Regression",
    Outcome.NOT_JUDGED: "Could not judge everything",
}
_COLUMNS = (
    "verdict",
    "variant",
    "benchmark",
    "language",
    "metric",
    "items",
    "tonight",
    "baseline",
    "difference",
    "95% interval",
    "p (adjusted)",
    "remark",
)
_FORBIDDEN_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
"""Line breaks and control characters, which would end a table's row, and halves of characters, which no file
can hold."""


def markdown(judgements: Sequence[Judgement]) -> str:
    """The summary as Markdown (GitHub's tables)."""
    lines = [f"# {_headline(judgements)}", ""]
    for judgement in judgements:
        lines += [f"## {_markdown(judgement.model)}", "", _sentence(judgement, _markdown), ""]
        lines += [_markdown_row(_COLUMNS), "|" + " --- |" * len(_COLUMNS)]
        lines += [_markdown_row(_cells(verdict)) for verdict in _sorted(judgement)]
        lines += ["", _rule(judgement), ""]
    return "\n".join(lines)


def html(judgements: Sequence[Judgement]) -> str:
    """The summary as one HTML page that loads nothing."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = _STYLE.read_text(encoding="utf-8")
    # Only a style of exactly this content may take effect in the page.
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    page = environment.get_template("summary.html.j2").render(
        title=_headline(judgements),
        columns=_COLUMNS,
        models=[
            {
                "name": _clean(judgement.model),
                "tone": _TONES[judgement.outcome],
                "headline": _HEADLINES[judgement.outcome],
                "sentence": _sentence(judgement, _clean),
                "rows": [[_clean(cell) for cell in _cells(verdict)] for verdict in _sorted(judgement)],
                "rule": _rule(judgement),
            }
            for judgement in judgements
        ],
        style=Markup(style),
        style_hash=digest,
    )
    return page + "\n"


_TONES = {Outcome.OK: "yes", Outcome.REGRESSION: "no", Outcome.NOT_JUDGED: "mixed"}


def junit(judgements: Sequence[Judgement]) -> str:
    """The summary as JUnit XML: one test case a comparison; worse is a failure, not judged an error."""
    root = ElementTree.Element("testsuites", name="polyneuron nightly")
    for judgement in judgements:
        counts = Counter(verdict.verdict for verdict in judgement.verdicts)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_xml(f"{judgement.model} {judgement.night}"),
            tests=str(len(judgement.verdicts)),
            failures=str(counts[WORSE]),
            errors=str(counts[NOT_JUDGED]),
            skipped="0",
        )
        for verdict in judgement.verdicts:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=_xml(f"{verdict.model}.{verdict.variant}"),
                name=_xml(f"{verdict.benchmark} {verdict.language} {verdict.metric} {verdict.filter}"),
            )
            words = _xml(_in_words(verdict))
            if verdict.verdict == WORSE:
                ElementTree.SubElement(case, "failure", type="regression", message=words)
            elif verdict.verdict == NOT_JUDGED:
                ElementTree.SubElement(case, "error", type="not judged", message=words)
            else:
                ElementTree.SubElement(case, "system-out").text = words
        if not judgement.verdicts:
            # A suite without cases would pass for a good night.
            suite.set("tests", "1")
            suite.set("errors", "1")
            case = ElementTree.SubElement(suite, "testcase", classname=_xml(judgement.model), name="anything")
            ElementTree.SubElement(case, "error", type="not judged", message=_sentence(judgement, _xml))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _headline(judgements: Sequence[Judgement]) -> str:
    return f"Nightly benchmarks: {_HEADLINES[worst(judgement.outcome for judgement in judgements)].lower()}"


def _sentence(judgement: Judgement, escape: Callable[[str], str]) -> str:
    counts = Counter(verdict.verdict for verdict in judgement.verdicts)
    listed = ", ".join(f"{counts[name]} {name}" for name in _ORDER if counts[name])
    return (
        f"Night {escape(judgement.night)} against night {escape(judgement.baseline_night)}: "
        f"{listed or 'there was nothing to compare'}."
    )


def _rule(judgement: Judgement) -> str:
    return (
        f"Worse: one-sided p, adjusted over all comparisons of the model by Holm's method, at most "
        f"{judgement.alpha:g}, and a loss of at least {100 * judgement.min_effect:g} points. A night on which "
        f"nothing has changed alarms with probability {judgement.alpha:g} at most. Better: the same with two-sided p."
    )


def _sorted(judgement: Judgement) -> list[Verdict]:
    return sorted(judgement.verdicts, key=lambda verdict: _ORDER.index(verdict.verdict))


def _cells(verdict: Verdict) -> tuple[str, ...]:
    named = verdict.metric if verdict.filter == "none" else f"{verdict.metric}, {verdict.filter}"
    both = verdict.low is not None and verdict.high is not None
    return (
        verdict.verdict,
        verdict.variant,
        verdict.benchmark,
        verdict.language,
        named,
        str(verdict.n_pairs),
        _points(verdict.value),
        _points(verdict.baseline_value),
        _points(verdict.delta, signed=True),
        f"{_points(verdict.low, signed=True)} to {_points(verdict.high, signed=True)}" if both else "–",
        "–" if verdict.p_adjusted is None else f"{verdict.p_adjusted:.2g}",
        verdict.reason or "",
    )


def _in_words(verdict: Verdict) -> str:
    """One line: the numbers and the test, or the reason why there are none."""
    if verdict.verdict == NOT_JUDGED:
        return verdict.reason or "not judged"
    *_, tonight, before, difference, interval, p_adjusted, remark = _cells(verdict)
    return (
        f"{tonight} against {before} in night {verdict.baseline}: {difference} points (95% interval {interval}), "
        f"{verdict.n_pairs} items, {verdict.test}, adjusted p {p_adjusted}"
        + (f"; {remark}" if remark else "")
    )


def _points(value: float | None, signed: bool = False) -> str:
    """A share as points of 100."""
    if value is None:
        return "–"
    return f"{100 * value:+.2f}" if signed else f"{100 * value:.2f}"


def _clean(text: str) -> str:
    return _UNSEEN.sub(" ", text)


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_markdown(cell) for cell in cells) + " |"


def _markdown(text: str) -> str:
    """Literal text: backslashes keep Markdown and HTML from reading anything into it."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$:@])", r"\\\1", _clean(text))


def _xml(text: str) -> str:
    """Without the characters that XML cannot hold even when escaped."""
    return _FORBIDDEN_IN_XML.sub("\ufffd", text)

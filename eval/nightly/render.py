"""The summary of a night for people (Markdown, HTML) and for CI systems (JUnit XML).

Names of models, nights, variants and languages come from users, so each format escapes them in its own way.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import jinja2
from markupsafe import Markup

from polyneuron.eval.nightly.judge import Outcome
from polyneuron.eval.nightly.sections import LET_PASS, NOT_SCORED, Case, ModelNight, headline, section
from polyneuron.eval.report.shell import environment
from polyneuron.eval.tables import text
from polyneuron.eval.verdicts.verdict import NOT_JUDGED, WORSE

_TONES = {Outcome.OK: "yes", Outcome.REGRESSION: "no", Outcome.NOT_JUDGED: "mixed"}
FAULTS = {WORSE: ("failure", "regression"), LET_PASS: ("skipped", LET_PASS)}
FAULTS |= {name: ("error", name) for name in (NOT_JUDGED, NOT_SCORED)}
"""Element and type by which JUnit shows a case that is not simply good."""
_FORBIDDEN_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def markdown(nights: Sequence[ModelNight]) -> str:
    """The summary as Markdown (GitHub's tables)."""
    return _rendered("summary.md.j2", nights, text.escape_markdown)


def html(nights: Sequence[ModelNight]) -> str:
    """The summary as one HTML page that loads nothing."""
    return _rendered("summary.html.j2", nights, text.visible)


def _rendered(template: str, nights: Sequence[ModelNight], escape: Callable[[str], str]) -> str:
    outcome, sections = headline(nights).lower(), [section(night) for night in nights]
    page, title = (
        templates_of_nights(template, escape).get_template(template),
        f"Nightly benchmarks: {outcome}",
    )
    return page.render(title=title, outcome=outcome, sections=sections, tones=_TONES).rstrip() + "\n"


def templates_of_nights(name: str, escape: Callable[[str], str]) -> jinja2.Environment:
    """All that a template prints goes through `escape`, but for what is made of tables."""

    def printed(value: Any) -> Any:
        return value if isinstance(value, Markup) else escape(str(value))

    templates = environment(Path(__file__).parent)
    templates.filters["markdown"] = lambda grid: Markup(text.markdown(grid))
    return templates.overlay(finalize=printed, autoescape=name.endswith(".html.j2"))


def shown_cases(night: ModelNight) -> list[Case]:
    """The comparisons or scores of a night, or one case that says that there are none."""
    shown = section(night)
    sentence = templates_of_nights("sentence.j2", str).get_template("sentence.j2")
    return shown["cases"] or [Case(night.model, "anything", NOT_JUDGED, sentence.render(section=shown))]


def junit(nights: Sequence[ModelNight]) -> str:
    """The summary as JUnit XML: one test case a comparison, or a score where there is nothing to compare with.

    Worse is a failure; not judged and not scored are errors; too few items that may pass are skipped. A night without cases has
    one that says so, since a test suite without any would pass for a good night.
    """
    root = Element("testsuites", name="polyneuron nightly")
    for night in nights:
        cases = shown_cases(night)
        faults = Counter(FAULTS[case.kind][0] for case in cases if case.kind in FAULTS)
        suite = SubElement(
            root,
            "testsuite",
            name=_xml(f"{night.model} {night.night}"),
            tests=str(len(cases)),
            failures=str(faults["failure"]),
            errors=str(faults["error"]),
            skipped=str(faults["skipped"]),
        )
        for case in cases:
            element = SubElement(suite, "testcase", classname=_xml(case.owner), name=_xml(case.name))
            if case.kind in FAULTS:
                tag, kind = FAULTS[case.kind]
                SubElement(element, tag, type=kind, message=_xml(case.words))
            else:
                SubElement(element, "system-out").text = _xml(case.words)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    """The text without the characters that XML cannot hold even when escaped."""
    return _FORBIDDEN_IN_XML.sub("\ufffd", text)

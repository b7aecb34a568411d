"""The summary of a night for people (Markdown, HTML) and for CI systems (JUnit XML).

Names of models, nights, variants and languages come from users, so each format escapes them in its own way.
"""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from polyneuron.eval.nightly.judge import Outcome
from polyneuron.eval.nightly.sections import NOT_SCORED, ModelNight, headline, section
from polyneuron.eval.verdicts.verdict import NOT_JUDGED, WORSE

_HERE = Path(__file__).parent
_STYLE = _HERE.parent / "report" / "templates" / "style.css"
_TONES = {Outcome.OK: "yes", Outcome.REGRESSION: "no", Outcome.NOT_JUDGED: "mixed"}
_FAULTS = {
    WORSE: ("failure", "regression"),
    NOT_JUDGED: ("error", NOT_JUDGED),
    NOT_SCORED: ("error", NOT_SCORED),
}
"""Element and type by which JUnit shows a case."""
_FORBIDDEN_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
"""Line breaks and control characters, which would end a table's row, and halves of characters, which no file
can hold."""


def markdown(nights: Sequence[ModelNight]) -> str:
    """The summary as Markdown (GitHub's tables)."""
    lines = [f"# {headline(nights)}", ""]
    for night in nights:
        found = section(night, _markdown)
        lines += [f"## {found.model}", "", found.sentence, ""]
        if found.rows:
            lines += [_row(found.columns), "|" + " --- |" * len(found.columns), *map(_row, found.rows), ""]
        lines += [found.rule, ""]
    return "\n".join(lines)


def html(nights: Sequence[ModelNight]) -> str:
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
        title=headline(nights),
        sections=[section(night, _clean) for night in nights],
        tones=_TONES,
        style=Markup(style),
        style_hash=digest,
    )
    return page + "\n"


def junit(nights: Sequence[ModelNight]) -> str:
    """The summary as JUnit XML: one test case a comparison, or a score where there is nothing to compare with.

    Worse is a failure; not judged and not scored are errors.
    """
    root = ElementTree.Element("testsuites", name="polyneuron nightly")
    for night in nights:
        found = section(night, _xml)
        faults = Counter(_FAULTS[case.kind][0] for case in found.cases if case.kind in _FAULTS)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=f"{found.model} {found.night}",
            tests=str(len(found.cases)),
            failures=str(faults["failure"]),
            errors=str(faults["error"]),
            skipped="0",
        )
        for case in found.cases:
            element = ElementTree.SubElement(suite, "testcase", classname=case.owner, name=case.name)
            if case.kind in _FAULTS:
                tag, kind = _FAULTS[case.kind]
                ElementTree.SubElement(element, tag, type=kind, message=case.words)
            else:
                ElementTree.SubElement(element, "system-out").text = case.words
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _clean(text: str) -> str:
    return _UNSEEN.sub(" ", text)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _markdown(text: str) -> str:
    """Literal text: backslashes keep Markdown and HTML from reading anything into it."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$:@])", r"\\\1", _clean(text))


def _xml(text: str) -> str:
    """Without the characters that XML cannot hold even when escaped."""
    return _FORBIDDEN_IN_XML.sub("\ufffd", text)

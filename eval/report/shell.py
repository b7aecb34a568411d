"""The shell of every HTML page: it loads nothing, and its policy lets only its own script and style take effect."""

import base64
import hashlib
from pathlib import Path

import jinja2
from markupsafe import Markup

from polyneuron.eval.report.words import wording
from polyneuron.eval.tables.html import html

TEMPLATES = Path(__file__).parent / "templates"
_WORDING = "all_languages count fine_times languages listing number percent plural sentence small_count times unfinished"
_FILTERS = {"language": wording.language_name} | {name: getattr(wording, name) for name in _WORDING.split()}


def environment(*folders: Path) -> jinja2.Environment:
    """Templates of these folders and of the report, escaping all that they print. A page extends `shell.html.j2`, which needs
    ``title`` and takes ``script`` (`asset`); ``{{ grid|table }}`` writes a `Grid`, and the functions of `wording` are filters."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, TEMPLATES]),
        extensions=["jinja2.ext.do"],
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"table": html, "sha256": _digest, **_FILTERS}
    found.globals |= {
        "style": asset("style.css"),
        "span": wording.span,
        "times": wording.times,
        "count": wording.count,
    }
    return found


def asset(name: str) -> Markup:
    """The text of a style sheet or script of ours, to be put into a page as it is."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def _digest(text: str) -> str:
    """The content hash by which a Content-Security-Policy allows an inline block."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")

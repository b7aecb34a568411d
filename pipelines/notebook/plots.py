"""The report's charts of one study, for a notebook."""

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

from markupsafe import Markup

from polyneuron.eval.report.charts.answer import answer_charts
from polyneuron.eval.report.charts.sets import fraction_chart, sharing_chart
from polyneuron.eval.report.numbers.effects import effects_of
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.shell import asset
from polyneuron.neuron_core.common.errors import UnknownName

_HATCH = (
    '<svg width="0" height="0" style="position:absolute"><pattern id="hatch" width="6" height="6" '
    'patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" class="paper"/>'
    '<rect width="2.6" height="6" class="own"/></pattern></svg>'
)
_BORDER = 48
"""Pixels that the page around a chart takes."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, which a notebook draws in a frame of its own, since the report's style must not reach the notebook."""

    name: str
    drawing: Markup

    def __repr__(self) -> str:
        return f"Chart({self.name})"

    @property
    def page(self) -> str:
        """The chart as a page of HTML that loads nothing."""
        style = f"<style>{asset('style.css')}</style><style>body {{ display: block; padding: 1rem }}</style>"
        return f'<!doctype html><meta charset="utf-8"><title>{escape(self.name)}</title>{style}{_HATCH}{self.drawing}'

    def _repr_html_(self) -> str:
        found = re.search(r'height="(\d+)"', self.drawing)
        height = _BORDER + int(found[1]) if found else 400
        style = f"width:100%;max-width:52rem;height:{height}px;border:0"
        return f'<iframe title="{escape(self.name)}" srcdoc="{escape(self.page)}" style="{style}"></iframe>'

    def save(self, path: str | Path) -> Path:
        """Writes the chart as a page of HTML."""
        Path(path).write_text(self.page, encoding="utf-8")
        return Path(path)


class Plots:
    """The charts of a study, by what they show."""

    def __init__(self, study: ShownStudy) -> None:
        """`study`: as the report reads it."""
        self._study = study

    def __repr__(self) -> str:
        return "Plots(perplexities, sizes, sharing)"

    def perplexities(self, kind: str = "shared") -> Chart:
        """By language, the multiple of perplexity without its set of a kind, beside random draws. Raises UnknownName, a KeyError,
        for a kind that was not measured."""
        effects = effects_of(self._study.variants)
        charts = answer_charts(self._study, effects) if effects is not None else {}
        if kind not in charts:
            raise UnknownName(f"No perplexities without {kind!r}; there are {', '.join(charts) or 'none'}")
        return Chart(f"perplexity without the {kind} neurons", charts[kind])

    def sizes(self) -> Chart:
        """By language, shared and exclusive neurons as shares of all that were measured."""
        return Chart("shared and exclusive neurons by language", fraction_chart(self._study))

    def sharing(self) -> Chart:
        """How many neurons are related to exactly one language, two, and so on."""
        return Chart("neurons by the number of languages they belong to", sharing_chart(self._study))

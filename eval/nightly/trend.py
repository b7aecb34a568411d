"""The page of all nights of a store: every score with its interval, night after night, and the nights that alarmed."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from markupsafe import Markup

from polyneuron.eval.nightly.baseline import SETTINGS, Night, Row, key_of, newest, nights, started_at
from polyneuron.eval.nightly.render import templates_of_nights
from polyneuron.eval.report.charts.frame import Plot
from polyneuron.eval.report.charts.svg import Axis
from polyneuron.eval.report.words.wording import language_name
from polyneuron.eval.store.store import Store
from polyneuron.eval.tables.grid import Cell, Grid, grid
from polyneuron.eval.tables.text import visible
from polyneuron.eval.verdicts.pairing import Key
from polyneuron.eval.verdicts.verdict import NOT_JUDGED, WORSE
from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.neuron_core.common.files import write_text

TREND_FILE = "trend.html"
MOST_NIGHTS = 90
"""Nights in a chart; of more, the latest."""
_LONGEST_TICK = 16
_LOOKS = {WORSE: ("diamond", "alarm"), NOT_JUDGED: ("ring", "hollow")}
_Trends: TypeAlias = Mapping[tuple[str, Key], Sequence["TrendPoint | None"]]
"""By variant, and by benchmark, language, metric and filter: a point for each night that is shown, None where it has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrendPoint:
    """One score of one night."""

    night: str
    """The night's label."""
    score: Row
    """Of the table `scores`; it has a value."""
    verdict: Row | None
    """Of the table `verdicts`; None where the night was compared with nothing."""

    @property
    def ends(self) -> tuple[float, float]:
        """The 95% interval in points of 100; the value twice where there is none."""
        ends = self.score["low"], self.score["high"]
        low, high = (self.score["value"] if end is None else end for end in ends)
        return 100 * low, 100 * high

    @property
    def words(self) -> str:
        """The value, its interval and what became of the comparison."""
        low, high = self.ends
        said = f"{self.night}: {100 * self.score['value']:.2f} ({low:.2f} to {high:.2f}), {self.score['n']} items"
        if self.verdict is None:
            return said
        why = f" ({self.verdict['reason']})" if self.verdict["reason"] else ""
        return f"{said}; {self.verdict['verdict']} against {self.verdict['baseline']}{why}"


def write_trend(store: Store, path: Path) -> Path:
    """Writes the page of all nights to `path`; returns it. Raises StoreError when the store holds no nights, SetError when the
    page cannot be written."""
    return write_text(path, trend_page(store), "page of all nights")


def trend_page(store: Store) -> str:
    """One HTML page that loads nothing: of each model, variant, benchmark and language the primary scores of the latest nights,
    and a table of the nights. Raises StoreError when the store holds no nights."""
    rows = (
        store.read("scores", columns=["model", "night"])
        .group_by(["model", "night"])
        .aggregate([])
        .to_pylist()
    )
    names = sorted({row["model"] for row in rows if row["night"] is not None})
    models = [_of_model(store, model) for model in names]
    if not models:
        raise StoreError(f"{store.root} holds no nights. polyneuron nightly judges one")
    page = templates_of_nights("trend.html.j2", visible).get_template("trend.html.j2")
    return page.render(title="Nightly benchmarks: trend", models=models, most=MOST_NIGHTS).rstrip() + "\n"


def _of_model(store: Store, model: str) -> dict[str, Any]:
    everything = nights(store, model)
    shown = everything[-MOST_NIGHTS:]
    trends = _trends(store, model, shown)
    alarms, labels = _alarms(trends), [night.label for night in shown]
    panels: dict[str, dict[str, Markup]] = defaultdict(dict)
    for (variant, key), points in trends.items():
        panels[variant][_named(key)] = _panel(f"{variant}, {_named(key)}", labels, points)
    return {
        "model": model,
        "n_nights": len(everything),
        "panels": panels,
        "n_worse": sum(map(len, alarms.values())),
        "last_alarm": next((label for label in reversed(labels) if label in alarms), None),
        "nights": _nights_grid(model, shown, trends, alarms),
    }


def _trends(store: Store, model: str, shown: Sequence[Night]) -> _Trends:
    """Of each variant and key, in the order of variants, benchmarks and languages."""
    started, labels = started_at(store), [night.label for night in shown]
    where = [("model", "=", model), ("night", "in", labels)]
    scores, verdicts = _by_night(store, "scores", where), _by_night(store, "verdicts", where)
    trends: dict[tuple[str, Key], list[TrendPoint | None]] = {}
    for at, label in enumerate(labels):
        # a night that was judged again has the verdicts of its newest run
        last = max((started.get(row["run_id"], "") for row in verdicts[label]), default="")
        judged = {
            (row["variant"], key_of(row)): row
            for row in verdicts[label]
            if started.get(row["run_id"], "") == last
        }
        for row in newest(scores[label], started):
            if not row["primary"] or row["value"] is None:
                continue
            place = row["variant"], key_of(row)
            points = trends.setdefault(place, [None] * len(labels))
            points[at] = TrendPoint(night=label, score=row, verdict=judged.get(place))
    return {place: trends[place] for place in sorted(trends, key=lambda p: (p[0] != "base", p))}


def _by_night(store: Store, table: str, where: list[tuple[str, str, Any]]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in store.read(table, where).to_pylist():
        found[row["night"]].append(row)
    return found


def _alarms(trends: _Trends) -> dict[str, list[str]]:
    """By night what became worse, in words."""
    found: dict[str, list[str]] = defaultdict(list)
    for (variant, key), points in trends.items():
        for point in filter(None, points):
            if point.verdict is not None and point.verdict["verdict"] == WORSE:
                found[point.night].append(visible(f"{variant}, {_named(key)}"))
    return found


def _named(key: Key) -> str:
    benchmark, language, metric, answer_filter = key
    how = metric if answer_filter == "none" else f"{metric}, {answer_filter}"
    return f"{benchmark}, {language_name(language)} ({how})"


def _panel(label: str, labels: Sequence[str], points: Sequence[TrendPoint | None]) -> Markup:
    """Nights to the right, points of 100 upwards. The line breaks where a night has no score, or settings changed, so that what
    cannot be compared is not joined."""
    there = [(at, point) for at, point in enumerate(points) if point is not None]
    ends = [end for _, point in there for end in point.ends]
    room = 0.08 * (max(ends) - min(ends)) or 1.0
    y = Axis(max(0.0, min(ends) - room), min(100.0, max(ends) + room), pad_percent=0)
    # the names of the ticks stand left of the first night
    x = Axis(-0.1 * max(1, len(labels) - 1), max(1, len(labels) - 1))
    plot = Plot(label, x, y, top=14, height=130)
    named = sorted({0, len(labels) - 1})
    plot.grid((at, _short(labels[at])) for at in named)
    for run in _comparable(there):
        plot.curve(((at, 100 * point.score["value"]) for at, point in run if len(run) > 1), "line-shared")
    for at, point in there:
        low, high = point.ends
        plot.line(plot.x.at(at), plot.y_at(low), plot.x.at(at), plot.y_at(high), "interval")
        verdict = point.verdict["verdict"] if point.verdict else None
        shape, css = _LOOKS.get(verdict or "", ("disc", "shared"))
        plot.mark(plot.x.at(at), plot.y_at(100 * point.score["value"]), shape, css, visible(point.words))
    plot.name_lines(lambda tick: f"{tick:g}")
    return plot.svg(plot.floor + 22)


def _comparable(there: Sequence[tuple[int, TrendPoint]]) -> list[list[tuple[int, TrendPoint]]]:
    """Neighbouring nights measured under the same settings."""
    runs: list[list[tuple[int, TrendPoint]]] = []
    for at, point in there:
        last = runs[-1][-1] if runs else None
        same = last is not None and all(last[1].score[name] == point.score[name] for name in SETTINGS)
        if same and last is not None and last[0] == at - 1:
            runs[-1].append((at, point))
        else:
            runs.append([(at, point)])
    return runs


def _short(label: str) -> str:
    label = visible(label)
    return label if len(label) <= _LONGEST_TICK else f"{label[: _LONGEST_TICK - 1]}…"


def _nights_grid(
    model: str, shown: Sequence[Night], trends: _Trends, alarms: Mapping[str, Sequence[str]]
) -> Grid:
    """The nights, newest first: how each ended, how many scores it has, and what became worse."""
    n_scores = Counter(point.night for points in trends.values() for point in filter(None, points))
    rows: list[list[Cell | str]] = []
    for night in reversed(shown):
        worse = alarms.get(night.label, ())
        status, n = night.status or "no run recorded", str(n_scores[night.label])
        rows.append([visible(night.label), status, n, Cell(text=str(len(worse) or ""), details=tuple(worse))])
    return grid(visible(f"Nights of {model}"), ["night", "ended", "scores", "worse"], rows, tone="tight")

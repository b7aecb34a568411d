"""Models as lettered points: a figure of Eq. 4 or 6 across models against their ability, better ones higher."""

from markupsafe import Markup

from polyneuron.eval.report.charts.frame import Plot
from polyneuron.eval.report.charts.svg import Axis
from polyneuron.eval.report.words.wording import number, tidy


def scatter(
    points: list[tuple[str, float, float]],
    x_name: str,
    y_name: str,
    better: str,
    reference: float | None,
    *,
    fewer_is_better: bool = False,
) -> Markup:
    """``points``: letter, x, ability. ``better``: what stands above; ``reference``: the x of equal worth."""
    if not points:
        return Markup('<p class="none">No model has both values.</p>')
    xs, ys = [*(x for _, x, _ in points), *([reference] if reference else [])], [y for *_, y in points]
    spread = (max(ys) - min(ys)) or max(ys) * 0.1 or 1.0
    worst, best = min(ys) - 0.15 * spread, max(ys) + 0.15 * spread
    if fewer_is_better:
        worst, best = best, worst
    plot = Plot(
        f"{x_name} across models against {y_name}",
        Axis(min(xs) * 0.95, max(xs) * 1.05 or 1.0, pad_percent=5),
        Axis(worst, best, pad_percent=0),
        top=22,
        height=220,
    )
    plot.text(0, 12, f"↑ {better}", "tick")
    plot.grid((tick, tidy(tick)) for tick in plot.x.ticks(4))
    plot.name_lines(tidy)
    plot.text(100, plot.floor + 33, f"{x_name} →", "tick", "end")
    if reference is not None:
        at = plot.x.at(reference)
        plot.line(at, plot.top, at, plot.floor, "reference")
        plot.text(at, plot.top + 10, "equal worth", "tick halo", dx=5)
    for letter, x, y in points:
        at, height = plot.x.at(x), plot.y_at(y)
        plot.mark(at, height, "disc", "shared", f"{letter}: {number(x)}, {number(y)} {y_name}")
        near = [plot.x.at(a) - at for name, a, b in points if name != letter and abs(b - y) < 0.08 * spread]
        crowded = any(0 <= gap < 8 for gap in near)  # then the letter stands to the left
        anchor, dx = ("end", -9) if crowded else ("start", 9)
        plot.text(at, height + 5, letter, "label halo", anchor, dx=dx)
    return plot.svg(plot.floor + 40)

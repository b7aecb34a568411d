"""Models as lettered points: a figure of Eq. 4 or 6 across models against their ability, better ones higher."""

from markupsafe import Markup

from polyneuron.eval.report.charts.frame import Plot
from polyneuron.eval.report.charts.svg import Axis
from polyneuron.eval.report.words.wording import number, told_apart


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
    width = (max(xs) - min(xs)) or abs(max(xs)) or 1.0
    spread = (max(ys) - min(ys)) or max(ys) * 0.1 or 1.0
    worst, best = min(ys) - 0.15 * spread, max(ys) + 0.15 * spread
    if fewer_is_better:
        worst, best = best, worst
    plot = Plot(
        f"{x_name} across models against {y_name}",
        Axis(
            min(xs) - 0.25 * width, max(xs) + 0.1 * width, pad_percent=0
        ),  # names of the lines stand at the left
        Axis(worst, best, pad_percent=0),
        top=22,
        height=220,
    )
    plot.text(0, 12, f"↑ {better}", "tick")
    ticks = [tick for tick in plot.x.ticks(4) if tick >= min(0.0, *xs)]
    plot.grid(zip(ticks, told_apart(ticks), strict=True))
    plot.text(100, plot.floor + 33, f"{x_name} →", "tick", "end")
    if reference is not None:
        at = plot.x.at(reference)
        plot.line(at, plot.top, at, plot.floor, "reference")
        plot.text(at, plot.top + 10, "equal worth", "tick halo", dx=5)
    plot.name_lines()
    for letter, x, y in points:
        at, height = plot.x.at(x), plot.y_at(y)
        plot.mark(at, height, "disc", "shared", f"{letter}: {number(x)}, {number(y)} {y_name}")
        near = [plot.x.at(a) - at for name, a, b in points if name != letter and abs(b - y) < 0.08 * spread]
        crowded = any(0 <= gap < 8 for gap in near)  # then the letter stands to the left
        anchor, dx = ("end", -9) if crowded else ("start", 9)
        plot.text(at, height + 5, letter, "label halo", anchor, dx=dx)
    return plot.svg(plot.floor + 40)

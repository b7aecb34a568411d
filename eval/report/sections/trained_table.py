"""The form of the paper's Table 1: strategies down, trained languages and their average across.

What is measured comes in as functions, so that benchmark scores and perplexities share one table.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from polyneuron.eval.report.numbers.training import (
    RANDOM,
    ShownTraining,
    arms_of,
    several_seeds,
    trained_languages,
)
from polyneuron.eval.report.sections.benchmarks import MARKS
from polyneuron.eval.report.words.wording import language_name, languages, plural
from polyneuron.eval.tables.grid import Cell, Grid, Line, grid, line
from polyneuron.eval.verdicts.verdict import BETTER, WORSE


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedOutcome:
    """A trained variant in a language. ``value`` and ``change`` are numbers whose mean makes sense."""

    value: float | None = None
    """The variant's own number; None together with a reason, or where the change alone matters."""
    change: float | None = None
    """Against what it is compared with; None where nothing compares it."""
    low: float | None = None
    """Lower end of the change's interval; without a change, of the value's."""
    high: float | None = None
    """Its upper end."""
    verdict: str = ""
    """What the comparison found; empty where nothing was compared."""
    n: int = 0
    """Items or sentences."""
    reason: str = ""
    """Why something is missing."""


Measure = Callable[[ShownTraining, str], TrainedOutcome]


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """What a table measures, and how its numbers are written."""

    base: Callable[[str], TrainedOutcome]
    """The unchanged model in a language."""
    measure: Measure
    """A variant in a language, and its change to the unchanged model."""
    against: Measure
    """Its change to as many random neurons, trained for the same languages."""
    value: Callable[[float], str]
    """How a value is written."""
    change: Callable[[float], str]
    """How a change is written."""
    unit: str
    """What `n` counts, in one word."""
    against_name: str
    """How a row against random neurons is called."""


def trained_grids(trainings: Sequence[ShownTraining], form: Form, title: str) -> tuple[Grid, Grid | None]:
    """Table 1, and each seed on its own where the table holds means over several."""
    codes = trained_languages(trainings)
    average, seeds = len(codes) > 1, several_seeds(trainings)
    base = [_base_cell(form.base(code), form) for code in codes]
    none = Cell(text="none", details=("the unchanged model",))
    rows = [line(none, *base, *([Cell()] * average), tone="base")]
    seed_rows: list[Line] = []
    for arms in arms_of(trainings):
        first = next(iter(next(iter(arms.values())).values()))
        kinds = ((form.measure, first.label, ""), (form.against, form.against_name, "draws"))
        for measure, name, tone in kinds:
            if tone and first.strategy == RANDOM:
                continue
            found = {seed: [_outcome(arm.get(c), c, measure) for c in codes] for seed, arm in arms.items()}
            if tone and not any(o.change is not None or o.verdict for row in found.values() for o in row):
                continue
            if len(arms) > 1:
                by_language = list(zip(*found.values(), strict=True))
                pooled = [_mean(o.change for o in outcomes) for outcomes in by_language]
                cells = [_over_seeds(outcomes, form) for outcomes in by_language]
                cells += [_average(pooled, form)] * average
                rows.append(line(_name(name, first, f"mean of {len(arms)} seeds"), *cells, tone=tone))
            for seed, row in found.items():
                cells = [_cell(o, form) for o in row] + [_average([o.change for o in row], form)] * average
                own = line(_name(name, first, f"seed {seed}" if seeds else ""), *cells, tone=tone)
                (seed_rows if len(arms) > 1 else rows).append(own)
    heads = ["trained", *map(language_name, codes), *(["average change"] * average)]
    css = "heat scores trained"
    each_seed = grid(f"{title}, each seed", heads, seed_rows, tone=css) if seed_rows else None
    return grid(title, heads, rows, tone=css), each_seed


def _name(name: str, training: ShownTraining, seed: str) -> Cell:
    together = f"{languages(training.languages)} together" if training.scope else ""
    remark = ", ".join(filter(None, (together, seed)))
    return Cell(text=name, details=(remark,) if remark else ())


def _outcome(training: ShownTraining | None, language: str, measure: Measure) -> TrainedOutcome:
    return TrainedOutcome(reason="not trained for it") if training is None else measure(training, language)


def _base_cell(outcome: TrainedOutcome, form: Form) -> Cell:
    if outcome.value is None:
        return _blank(outcome.reason)
    interval = _ends(outcome, form.value)
    return Cell(text=form.value(outcome.value), details=(*interval, plural(outcome.n, form.unit)))


def _cell(outcome: TrainedOutcome, form: Form) -> Cell:
    """A change without a value of its own, as against random neurons, stands alone."""
    if outcome.value is None and outcome.change is None and not outcome.verdict:
        return _blank(outcome.reason)
    text = form.value(outcome.value) if outcome.value is not None else ""
    marks = (MARKS.get(outcome.verdict, outcome.verdict),) if outcome.verdict else ()
    if outcome.change is None:
        details = (outcome.reason,) if outcome.reason else ()
        return Cell(text=text, marks=marks, details=details, tone="quiet")
    change = form.change(outcome.change)
    return Cell(
        text=text or change,
        raised=change if text else "",
        marks=marks,
        details=(*(_ends(outcome, form.change) or ["no interval"]), plural(outcome.n, form.unit)),
        tone=outcome.verdict if outcome.verdict in (BETTER, WORSE) else "quiet",
    )


def _over_seeds(outcomes: Sequence[TrainedOutcome], form: Form) -> Cell:
    """Mean over the seeds that have a value, the range of their changes, and how many were judged how."""
    value, change = _mean(o.value for o in outcomes), _mean(o.change for o in outcomes)
    if value is None and change is None:
        return _blank(outcomes[0].reason)
    changes = [o.change for o in outcomes if o.change is not None]
    known = len(changes) or sum(o.value is not None for o in outcomes)
    reach = " to ".join(form.change(find(changes)) for find in (min, max)) if changes else ""
    details = [f"{reach} over seeds" if reach else "not compared"]
    details += [f"{known} of {len(outcomes)} seeds"] if known < len(outcomes) else []
    verdicts = Counter(o.verdict for o in outcomes if o.verdict)
    order = [*(name for name in MARKS if name in verdicts), *sorted(set(verdicts) - set(MARKS))]
    marks = [f"{MARKS.get(name, name)} {verdicts[name]} of {verdicts.total()}" for name in order]
    text = form.value(value) if value is not None else ""
    changed = form.change(change) if change is not None else ""
    return Cell(
        text=text or changed,
        raised=changed if text else "",
        marks=tuple(marks),
        details=(*details, plural(max(o.n for o in outcomes), form.unit)),
        tone=order[0] if len(order) == 1 and order[0] in (BETTER, WORSE) else "quiet",
    )


def _average(changes: Sequence[float | None], form: Form) -> Cell:
    """The mean change over the languages that have one; how many these are, when not all."""
    mean, known = _mean(changes), sum(change is not None for change in changes)
    if mean is None:
        return _blank("nothing to average")
    details = (f"over {known} of {len(changes)}",) if known < len(changes) else ()
    return Cell(text=form.change(mean), details=details)


def _blank(reason: str) -> Cell:
    return Cell(details=(reason,), tone="blank")


def _ends(outcome: TrainedOutcome, form: Callable[[float], str]) -> list[str]:
    ends = [form(end) for end in (outcome.low, outcome.high) if end is not None]
    return [" to ".join(ends)] if ends else []


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None

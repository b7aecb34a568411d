"""The form of the paper's Table 1: strategies down, trained languages and their average across.

What is measured comes in as functions, so that benchmark scores and perplexities share one table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from polyneuron.eval.report.numbers.training import RANDOM, Arm, Training, arms_of, several_seeds
from polyneuron.eval.report.sections.benchmark_tables import MARKS
from polyneuron.eval.report.words.wording import language_name, listing, plural


@dataclass(frozen=True)
class Outcome:
    """A trained variant in a language. ``value`` and ``change`` are numbers whose mean makes sense.

    ``value`` is None together with a reason; ``change`` is None where nothing compares it.
    """

    value: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: str = ""
    n: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Form:
    """How numbers are written. ``unit``: what ``n`` counts, in one word; ``against``: how a row against random
    neurons is called."""

    value: Callable[[float], str]
    change: Callable[[float], str]
    unit: str
    against: str


@dataclass(frozen=True)
class Cell:
    """``text`` with its ``change`` raised beside it, the verdict's mark, and small print under them."""

    text: str = ""
    change: str = ""
    marks: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    css: str = ""


@dataclass(frozen=True)
class Line:
    name: str
    remark: str
    cells: list[Cell]
    css: str = ""


@dataclass(frozen=True)
class TrainedTable:
    """``seed_lines``: each seed on its own, where ``lines`` hold the means over several."""

    columns: list[str]
    lines: list[Line]
    seed_lines: list[Line]


Measure = Callable[[Training, str], Outcome]


def trained_table(
    trainings: Sequence[Training],
    languages: Sequence[str],
    base: Callable[[str], Outcome],
    measure: Measure,
    against: Measure,
    form: Form,
) -> TrainedTable:
    """``base``: the unchanged model in a language; ``measure``: a variant and its change to it; ``against``: its change
    to the random neurons trained for the same languages."""
    average = len(languages) > 1
    unchanged = [_base_cell(base(language), form) for language in languages]
    lines = [Line("none", "the unchanged model", unchanged + [Cell()] * average, "base")]
    seed_lines: list[Line] = []
    for arms in arms_of(trainings):
        for how, css in ((measure, ""), (against, "draws")):
            if how is against and arms[0].strategy == RANDOM:
                continue
            found = [[_outcome(arm, language, how) for language in languages] for arm in arms]
            if how is against and all(one.change is None and not one.verdict for row in found for one in row):
                continue
            name = form.against if how is against else arms[0].strategy
            if len(arms) > 1:
                by_language = list(zip(*found, strict=True))
                cells = [_over_seeds(outcomes, form) for outcomes in by_language]
                pooled = [_mean([one.change for one in outcomes]) for outcomes in by_language]
                cells += [_average(pooled, form)] * average
                lines.append(Line(name, _remark(arms[0], f"mean of {len(arms)} seeds"), cells, css))
            for arm, row in zip(arms, found, strict=True):
                cells = [_cell(one, form) for one in row]
                cells += [_average([one.change for one in row], form)] * average
                seed = f"seed {arm.seed}" if several_seeds(trainings) else ""
                line = Line(name, _remark(arm, seed), cells, css)
                (seed_lines if len(arms) > 1 else lines).append(line)
    columns = [language_name(language) for language in languages] + ["average change"] * average
    return TrainedTable(columns, lines, seed_lines)


def trained_languages(trainings: Sequence[Training]) -> list[str]:
    """Every language that a variant was trained for, once."""
    return list(dict.fromkeys(code for one in trainings for code in one.languages))


def joint_words(arm: Arm) -> str:
    codes = next(iter(arm.trained.values())).languages
    return f"{listing([language_name(code) for code in codes])} together" if arm.scope else ""


def _remark(arm: Arm, seed: str) -> str:
    return ", ".join(words for words in (joint_words(arm), seed) if words)


def _outcome(arm: Arm, language: str, measure: Measure) -> Outcome:
    if language not in arm.trained:
        return Outcome(reason="not trained for it")
    return measure(arm.trained[language], language)


def _base_cell(one: Outcome, form: Form) -> Cell:
    if one.value is None:
        return Cell(details=(one.reason,), css="blank")
    ends = [form.value(end) for end in (one.low, one.high) if end is not None]
    return Cell(
        form.value(one.value), details=(*([" to ".join(ends)] if ends else []), plural(one.n, form.unit))
    )


def _cell(one: Outcome, form: Form) -> Cell:
    """A change without a value of its own, as against random neurons, stands alone."""
    if one.value is None and one.change is None and not one.verdict:
        return Cell(details=(one.reason,), css="blank")
    text = form.value(one.value) if one.value is not None else ""
    if one.change is None:
        marks = (MARKS.get(one.verdict, one.verdict),) if one.verdict else ()
        return Cell(text, "", marks, (one.reason,) if one.reason else (), "quiet")
    change = form.change(one.change)
    ends = [form.change(end) for end in (one.low, one.high) if end is not None]
    return Cell(
        text or change,
        change if text else "",
        (MARKS.get(one.verdict, one.verdict),),
        (" to ".join(ends) or "no interval", plural(one.n, form.unit)),
        one.verdict if one.verdict in ("better", "worse") else "quiet",
    )


def _over_seeds(outcomes: Sequence[Outcome], form: Form) -> Cell:
    """Mean over the seeds that have a value, the range of their changes, and how many were judged how."""
    value, change = _mean([one.value for one in outcomes]), _mean([one.change for one in outcomes])
    if value is None and change is None:
        return Cell(details=(outcomes[0].reason,), css="blank")
    changes = [one.change for one in outcomes if one.change is not None]
    known = len(changes) or sum(one.value is not None for one in outcomes)
    details = (
        f"{form.change(min(changes))} to {form.change(max(changes))} over seeds"
        if changes
        else "not compared",
        *([f"{known} of {len(outcomes)} seeds"] if known < len(outcomes) else []),
        plural(max(one.n for one in outcomes), form.unit),
    )
    verdicts = [one.verdict for one in outcomes if one.verdict]
    marks = tuple(
        f"{MARKS.get(name, name)} {verdicts.count(name)} of {len(verdicts)}"
        for name in sorted(set(verdicts), key=_mark_place)
    )
    text = form.value(value) if value is not None else ""
    changed = form.change(change) if change is not None else ""
    alike = set(verdicts) if len(set(verdicts)) == 1 else set()
    css = next((name for name in ("better", "worse") if alike == {name}), "quiet")
    return Cell(text or changed, changed if text else "", marks, details, css)


def _average(changes: Sequence[float | None], form: Form) -> Cell:
    """The mean change over the languages that have one; how many these are, when not all."""
    mean, known = _mean(changes), sum(change is not None for change in changes)
    if mean is None:
        return Cell(details=("nothing to average",), css="blank")
    return Cell(
        form.change(mean), details=(f"over {known} of {len(changes)}",) if known < len(changes) else ()
    )


def _mark_place(verdict: str) -> tuple[int, str]:
    names = list(MARKS)
    return names.index(verdict) if verdict in names else len(names), verdict


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None

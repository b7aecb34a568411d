"""What a summary says of one model in a night: a headline, a sentence, a table, and a case for each of its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from polyneuron.eval.nightly.first import FirstNight, Score
from polyneuron.eval.nightly.judge import Judgement, Outcome, worst
from polyneuron.eval.verdicts.verdict import BETTER, NO_EVIDENCE, NOT_JUDGED, WORSE, Verdict

ModelNight: TypeAlias = Judgement | FirstNight
"""One model in a night, compared or not."""
Escape: TypeAlias = Callable[[str], str]

NOT_SCORED = "not scored"
_ORDER = (WORSE, NOT_JUDGED, BETTER, NO_EVIDENCE)
"""What needs attention comes first."""
_COMPARED = {
    Outcome.OK: "No regression found",
    Outcome.REGRESSION: "Regression",
    Outcome.NOT_JUDGED: "Could not judge everything",
}
_FIRST = {
    Outcome.OK: "Nothing to compare with, scores recorded",
    Outcome.NOT_JUDGED: "Could not score everything",
}
_COLUMNS: tuple[str, ...] = (
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
_FIRST_COLUMNS: tuple[str, ...] = (
    "variant",
    "benchmark",
    "language",
    "metric",
    "items",
    "tonight",
    "95% interval",
    "remark",
)


@dataclass(frozen=True)
class Case:
    """One comparison or score in words. kind: a verdict, or `NOT_SCORED`, or "" for a score of a first night."""

    owner: str
    name: str
    kind: str
    words: str


@dataclass(frozen=True)
class NightSection:
    """All that is said of one model, escaped. rows: what needs attention first, as long as `columns`; cases: at
    least one, since a test suite without cases would pass for a good night."""

    model: str
    night: str
    outcome: Outcome
    headline: str
    sentence: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    rule: str
    cases: tuple[Case, ...]


def headline(nights: Sequence[ModelNight]) -> str:
    """Of all models together."""
    outcome = worst(night.outcome for night in nights)
    first = bool(nights) and all(isinstance(night, FirstNight) for night in nights)
    return f"Nightly benchmarks: {(_FIRST if first else _COMPARED)[outcome].lower()}"


def section(night: ModelNight, escape: Escape) -> NightSection:
    """The section on one model. escape: makes a text from outside safe for the format that is written."""
    if isinstance(night, FirstNight):
        scores = sorted(night.scores, key=lambda score: score.complete)
        words, sentence, rule = _FIRST, _first_sentence(night, escape), _FIRST_RULES[night.outcome]
        columns, rows = _FIRST_COLUMNS, [_score_cells(score) for score in scores]
        cases = [_score_case(night.model, score) for score in night.scores]
    else:
        verdicts = sorted(night.verdicts, key=lambda verdict: _ORDER.index(verdict.verdict))
        words, sentence, rule = _COMPARED, _sentence(night, escape), _rule(night)
        columns, rows = _COLUMNS, [_cells(verdict) for verdict in verdicts]
        cases = [_case(verdict) for verdict in night.verdicts]
    escaped = [Case(escape(c.owner), escape(c.name), c.kind, escape(c.words)) for c in cases]
    return NightSection(
        escape(night.model),
        escape(night.night),
        night.outcome,
        words[night.outcome],
        sentence,
        columns,
        tuple(tuple(escape(cell) for cell in row) for row in rows),
        rule,
        tuple(escaped) or (Case(escape(night.model), "anything", NOT_JUDGED, sentence),),
    )


def _sentence(judgement: Judgement, escape: Escape) -> str:
    counts = Counter(verdict.verdict for verdict in judgement.verdicts)
    listed = ", ".join(f"{counts[name]} {name}" for name in _ORDER if counts[name])
    baseline = judgement.baseline_night
    against = "" if baseline is None else f" against night {escape(baseline)}"
    return f"Night {escape(judgement.night)}{against}: {listed or 'there was nothing to compare'}."


def _first_sentence(night: FirstNight, escape: Escape) -> str:
    n_items = sum(score.n + score.n_unscored for score in night.scores)
    n_unscored = sum(score.n_unscored for score in night.scores)
    start = f"Night {escape(night.night)} had nothing to be compared with"
    if not night.scores:
        return f"{start}, and it has no scores."
    if night.outcome is not Outcome.OK:
        return f"{start}. It is not accepted as a baseline: {n_unscored} of {n_items} items were not scored."
    n = len(night.scores)
    return (
        f"{start}. {n} score{'s' if n > 1 else ''} of {n_items} items are recorded, which later nights can be compared "
        "with."
    )


_FIRST_RULES = {
    Outcome.OK: "If all models of this night were scored, the next night is compared with it.",
    Outcome.NOT_JUDGED: "What is not scored could not be compared later. Mend the cause and run the night again, or name "
    "this night as the baseline, and only the items that both nights scored are compared.",
}


def _rule(judgement: Judgement) -> str:
    return (
        f"Worse: one-sided p, adjusted over all comparisons of the model by Holm's method, at most "
        f"{judgement.alpha:g}, and a loss of at least {100 * judgement.min_effect:g} points. A night on which "
        f"nothing has changed alarms with probability {judgement.alpha:g} at most. Better: the same with two-sided p."
    )


def _cells(verdict: Verdict) -> tuple[str, ...]:
    return (
        verdict.verdict,
        verdict.variant,
        verdict.benchmark,
        verdict.language,
        _metric(verdict),
        str(verdict.n_pairs),
        _points(verdict.value),
        _points(verdict.baseline_value),
        _points(verdict.delta, signed=True),
        _interval(verdict, signed=True),
        "–" if verdict.p_adjusted is None else f"{verdict.p_adjusted:.2g}",
        verdict.reason or "",
    )


def _score_cells(score: Score) -> tuple[str, ...]:
    return (
        score.variant,
        score.benchmark,
        score.language,
        _metric(score),
        str(score.n),
        _points(score.value),
        _interval(score),
        _remark(score),
    )


def _case(verdict: Verdict) -> Case:
    """The numbers and the test, or the reason why there are none."""
    owner = f"{verdict.model}.{verdict.variant}"
    if verdict.verdict == NOT_JUDGED:
        return Case(owner, _named(verdict), NOT_JUDGED, verdict.reason or NOT_JUDGED)
    *_, tonight, before, difference, interval, p_adjusted, remark = _cells(verdict)
    words = (
        f"{tonight} against {before} in night {verdict.baseline}: {difference} points (95% interval {interval}), "
        f"{verdict.n_pairs} items, {verdict.test}, adjusted p {p_adjusted}"
        + (f"; {remark}" if remark else "")
    )
    return Case(owner, _named(verdict), verdict.verdict, words)


def _score_case(model: str, score: Score) -> Case:
    owner = f"{model}.{score.variant}"
    if not score.complete:
        return Case(owner, _named(score), NOT_SCORED, _remark(score))
    words = (
        f"{_points(score.value)} (95% interval {_interval(score)}), {score.n} items, compared with nothing"
    )
    return Case(owner, _named(score), "", words)


def _remark(score: Score) -> str:
    if score.complete:
        return ""
    return score.reason or f"{score.n_unscored} of {score.n + score.n_unscored} items not scored"


def _named(row: Verdict | Score) -> str:
    return f"{row.benchmark} {row.language} {row.metric} {row.filter}"


def _metric(row: Verdict | Score) -> str:
    return row.metric if row.filter == "none" else f"{row.metric}, {row.filter}"


def _interval(row: Verdict | Score, signed: bool = False) -> str:
    if row.low is None or row.high is None:
        return "–"
    return f"{_points(row.low, signed)} to {_points(row.high, signed)}"


def _points(value: float | None, signed: bool = False) -> str:
    """A share as points of 100."""
    if value is None:
        return "–"
    return f"{100 * value:+.2f}" if signed else f"{100 * value:.2f}"

"""The benchmark results of one model's study: its primary scores and paired verdicts, found by name."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from polyneuron.eval.report.numbers.study import ModelStudy, Row
from polyneuron.eval.tasks.benchmarks import BENCHMARKS

BASE = "base"
TUNED = "tuned"
SAMPLE = "sample"
_KINDS = ("base", "shared", "exclusive", "strict_exclusive")


@dataclass(frozen=True)
class Judged:
    """A variant that was put to the benchmarks."""

    name: str
    kind: str
    set_language: str | None
    control_of: str | None
    n_neurons: int


@dataclass(frozen=True)
class Results:
    """Rows of the tables scores and verdicts.

    ``scores[benchmark, language, variant]``: primary metric only, where there is one. ``verdicts[benchmark,
    language, variant, baseline]``. ``family``: how many comparisons were tested together, and adjusted for it.
    ``n_stale``: verdicts left out because they speak of other scores than those shown. ``trained_apart``: the
    trained variants have a section of their own and are not among these.
    """

    benchmarks: tuple[str, ...]
    languages: tuple[str, ...]
    variants: tuple[Judged, ...]
    scores: dict[tuple[str, str, str], Row]
    verdicts: dict[tuple[str, str, str, str], Row]
    family: int = 0
    n_stale: int = 0
    trained_apart: bool = False

    def of_variants(self, variants: Iterable[Judged], trained_apart: bool = False) -> Results:
        """The part that speaks of some variants only."""
        chosen = tuple(variants)
        names = {variant.name for variant in chosen}
        return replace(
            self,
            variants=chosen,
            scores={key: row for key, row in self.scores.items() if key[2] in names},
            verdicts={key: row for key, row in self.verdicts.items() if names >= {key[2], key[3]}},
            trained_apart=trained_apart,
        )

    @property
    def base(self) -> Judged | None:
        return next((v for v in self.variants if v.kind == BASE), None)

    @property
    def changed(self) -> list[Judged]:
        """All but the base model."""
        return [v for v in self.variants if v.kind != BASE]

    def of_kind(self, kind: str) -> list[Judged]:
        return [v for v in self.variants if v.kind == kind]

    def controls_of(self, name: str) -> list[Judged]:
        return [v for v in self.variants if v.control_of == name]

    def scored(self, benchmark: str, language: str, variant: str) -> Row | None:
        """The row of a score that has a value."""
        row = self.scores.get((benchmark, language, variant))
        return None if row is None or row["value"] is None else row

    def verdict(self, benchmark: str, language: str, variant: str, baseline: str = BASE) -> Row | None:
        return self.verdicts.get((benchmark, language, variant, baseline))

    def rows(self, benchmark: str | None = None) -> list[Row]:
        """Score rows, of one benchmark or of all, in the order of languages and variants."""
        names = self.benchmarks if benchmark is None else (benchmark,)
        keys = [(b, lang, v.name) for b in names for lang in self.languages for v in self.variants]
        return [self.scores[key] for key in keys if key in self.scores]


def results_of(study: ModelStudy) -> Results | None:
    """None when nothing was put to a benchmark."""
    primary = [row for row in study.scores if row["primary"]]
    if not primary:
        return None
    found = {row["language"] for row in primary}
    scores = {(row["benchmark"], row["language"], row["variant"]): row for row in primary}
    verdicts = {
        (row["benchmark"], row["language"], row["variant"], row["baseline"]): row for row in study.verdicts
    }
    fitting = {key: row for key, row in verdicts.items() if _fits(row, scores)}
    names = {row["benchmark"] for row in primary}
    languages = (*study.languages, *sorted(found - set(study.languages)))
    return Results(
        benchmarks=(*(n for n in BENCHMARKS if n in names), *sorted(names - set(BENCHMARKS))),
        languages=languages,
        variants=_ordered(primary, languages),
        scores=scores,
        verdicts=fitting,
        family=sum(row["p_value"] is not None for row in study.verdicts),
        n_stale=len(verdicts) - len(fitting),
    )


def title_of(benchmark: str) -> str:
    """The benchmark's title; its name when it is not one we know."""
    return BENCHMARKS[benchmark].title if benchmark in BENCHMARKS else benchmark


def points(fraction: float) -> float:
    """A score as points of a hundred, without a negative zero in print."""
    return round(100 * fraction, 1) + 0.0


def _fits(verdict: Row, scores: dict[tuple[str, str, str], Row]) -> bool:
    """Whether a verdict can be about the scores shown: a newer evaluation may have replaced them."""
    for name, value in (
        (verdict["variant"], verdict["value"]),
        (verdict["baseline"], verdict["baseline_value"]),
    ):
        row = scores.get((verdict["benchmark"], verdict["language"], name))
        if row is None and verdict["n_pairs"] == 0:
            continue
        if row is None or verdict["n_pairs"] > row["n"]:
            return False
        whole = verdict["n_pairs"] == row["n"] and value is not None and row["value"] is not None
        if whole and not math.isclose(value, row["value"], abs_tol=1e-6):
            return False
    return True


def _ordered(rows: list[Row], languages: tuple[str, ...]) -> tuple[Judged, ...]:
    """The base model, then each set with its random draws behind it."""
    named = {
        row["variant"]: Judged(
            row["variant"], row["kind"], row["set_language"], row["control_of"], row["n_neurons"] or 0
        )
        for row in rows
    }

    def place(variant: Judged) -> tuple[int, int, str, bool, int, str]:
        owner = named.get(variant.control_of or "", variant)
        kind = _KINDS.index(owner.kind) if owner.kind in _KINDS else len(_KINDS)
        own = languages.index(owner.set_language) if owner.set_language in languages else -1
        return kind, own, owner.name, variant is not owner, len(variant.name), variant.name

    return tuple(sorted(named.values(), key=place))

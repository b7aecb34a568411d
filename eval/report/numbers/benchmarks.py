"""The benchmark results of one model's study: its primary scores and paired verdicts, found by name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from polyneuron.eval.report.numbers.study import Row, ShownStudy
from polyneuron.eval.report.numbers.variants import BASE, ShownVariant, Variants
from polyneuron.eval.tasks.benchmarks import BENCHMARKS

TUNED = "tuned"
SAMPLE = "sample"
NO_DATA = "none"
"""Data of the row that stands for a benchmark a language does not have."""
_KINDS = (BASE, "shared", "exclusive", "strict_exclusive")


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """Rows of the tables scores and verdicts."""

    benchmarks: tuple[str, ...]
    """Names, those we know first."""
    languages: tuple[str, ...]
    """Those of the study, then others that have scores."""
    variants: Variants
    """The base model, then each set with its random draws behind it."""
    scores: dict[tuple[str, str, str], Row]
    """Rows of the primary metric by benchmark, language and variant."""
    verdicts: dict[tuple[str, str, str, str], Row]
    """By benchmark, language, variant and baseline."""
    family: int
    """How many comparisons were tested together, and adjusted for it."""

    def of_training(self, trained: bool) -> Self:
        """The part on trained variants and the base model, or the part on all but trained variants."""
        chosen = Variants(v for v in self.variants if v.kind == BASE or (v.kind == TUNED) is trained)
        names = {variant.name for variant in chosen}
        return replace(
            self,
            variants=chosen,
            scores={key: row for key, row in self.scores.items() if key[2] in names},
            verdicts={key: row for key, row in self.verdicts.items() if names >= {key[2], key[3]}},
        )

    def on(self, benchmarks: Sequence[str]) -> Self:
        """The part on these benchmarks."""
        return replace(
            self,
            benchmarks=tuple(benchmarks),
            scores={key: row for key, row in self.scores.items() if key[0] in benchmarks},
            verdicts={key: row for key, row in self.verdicts.items() if key[0] in benchmarks},
        )

    @property
    def samples(self) -> tuple[str, ...]:
        """The benchmarks all of whose items are samples, whose scores are no finding."""
        return tuple(name for name in self.benchmarks if self.data(name) == {SAMPLE})

    @property
    def real(self) -> Self:
        """The part on all other benchmarks."""
        return self.on([name for name in self.benchmarks if name not in self.samples])

    @property
    def changed(self) -> list[ShownVariant]:
        """All but the base model."""
        return [v for v in self.variants if v.kind != BASE]

    def scored(self, benchmark: str, language: str, variant: str = BASE) -> Row | None:
        """The row of a score that has a value."""
        row = self.scores.get((benchmark, language, variant))
        return None if row is None or row["value"] is None else row

    def verdict(self, benchmark: str, language: str, variant: str, baseline: str = BASE) -> Row | None:
        """The row that compares two variants, where there is one."""
        return self.verdicts.get((benchmark, language, variant, baseline))

    def rows(self, benchmark: str | None = None) -> list[Row]:
        """Score rows, of one benchmark or of all, in the order of languages and variants."""
        names = self.benchmarks if benchmark is None else (benchmark,)
        keys = [(b, lang, v.name) for b in names for lang in self.languages for v in self.variants]
        return [self.scores[key] for key in keys if key in self.scores]

    def data(self, benchmark: str | None = None) -> set[str]:
        """Where the items come from: hub, local or sample."""
        return {row["data"] for row in self.rows(benchmark)} - {NO_DATA}


def results_of(study: ShownStudy) -> Results | None:
    """None when nothing was put to a benchmark."""
    primary = [row for row in study.rows["scores"] if row["primary"]]
    if not primary:
        return None
    scores = {(row["benchmark"], row["language"], row["variant"]): row for row in primary}
    names = {row["benchmark"] for row in primary}
    languages = (*study.languages, *sorted({row["language"] for row in primary} - set(study.languages)))
    return Results(
        benchmarks=(*(n for n in BENCHMARKS if n in names), *sorted(names - set(BENCHMARKS))),
        languages=languages,
        variants=_ordered(primary, languages),
        scores=scores,
        verdicts={
            (r["benchmark"], r["language"], r["variant"], r["baseline"]): r for r in study.rows["verdicts"]
        },
        family=sum(row["p_value"] is not None for row in study.rows["verdicts"]),
    )


def title_of(benchmark: str) -> str:
    """The benchmark's title; its name when it is not one we know."""
    return BENCHMARKS[benchmark].title if benchmark in BENCHMARKS else benchmark


def points(fraction: float) -> float:
    """A score as points of a hundred, without a negative zero in print."""
    return round(100 * fraction, 1) + 0.0


def _ordered(rows: list[Row], languages: Sequence[str]) -> Variants:
    columns = ("kind", "set_language", "control_of")
    named = {
        row["variant"]: ShownVariant(
            name=row["variant"], n_neurons=row["n_neurons"] or 0, **{name: row[name] for name in columns}
        )
        for row in rows
    }

    def place(variant: ShownVariant) -> tuple[int, int, str, bool, int, str]:
        owner = named.get(variant.control_of or "", variant)
        kind = _KINDS.index(owner.kind) if owner.kind in _KINDS else len(_KINDS)
        own = languages.index(owner.set_language) if owner.set_language in languages else -1
        return kind, own, owner.name, variant is not owner, len(variant.name), variant.name

    return Variants(sorted(named.values(), key=place))

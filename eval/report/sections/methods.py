"""The part of the page on methods other than impact: counts, agreement, layer profiles, perplexity changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from polyneuron.eval.report.charts.methods import agreement_chart, count_chart, profile_chart
from polyneuron.eval.report.numbers.methods import MethodSets, OtherMethods
from polyneuron.eval.report.sections.method_overlap import (
    LanguageMatrix,
    OverlapLine,
    language_matrices,
    overlap_lines,
    pairs_of,
)
from polyneuron.eval.report.sections.method_perplexity import ChangeMatrix, change_matrices
from polyneuron.eval.report.words.method_words import (
    DEGENERATE,
    method_explained,
    method_name,
    site_words,
    threshold_words,
)
from polyneuron.eval.report.words.wording import count, language_name, listing, percent, plural


@dataclass(frozen=True)
class Panel:
    title: str
    chart: Markup


@dataclass(frozen=True)
class Profile:
    """Neurons of a method by layer and language."""

    title: str
    languages: list[str]
    rows: list[tuple[int, list[int]]]


@dataclass(frozen=True)
class MethodsSection:
    introduction: list[str]
    explained: list[tuple[str, str]]
    names: list[str]
    sizes: list[tuple[str, list[str]]]
    counts: list[Panel]
    languages: list[str]
    overlaps: list[OverlapLine]
    agreement: list[Panel]
    agreement_degenerate: list[Panel]
    between_languages: list[LanguageMatrix]
    profiles: list[Panel]
    profile_rows: list[Profile]
    changes: list[ChangeMatrix]
    notes: list[str]


def methods_section(others: OtherMethods | None) -> MethodsSection | None:
    """None when no detector looked at the model."""
    if others is None:
        return None
    pairs = pairs_of(others)
    return MethodsSection(
        introduction=_introduction(others),
        explained=[
            (method_name(each.name, others), f"{method_explained(each)} {threshold_words(each)}".strip())
            for each in others.detectors
        ],
        names=[method_name(sets.name, others) for sets in others.methods],
        sizes=[
            (language_name(code), [_size(sets.size(code), others) for sets in others.methods])
            for code in others.languages
        ],
        counts=[
            Panel(method_name(sets.name, others), count_chart(sets, others.languages, others.n_neurons))
            for sets in others.methods
        ],
        languages=[language_name(code) for code in others.languages],
        overlaps=overlap_lines(others),
        agreement=_agreement(others, [pair for pair in pairs if DEGENERATE not in pair]),
        agreement_degenerate=_agreement(others, [pair for pair in pairs if DEGENERATE in pair]),
        between_languages=language_matrices(others),
        profiles=[
            Panel(method_name(sets.name, others), profile_chart(sets, _asked(sets, others)))
            for sets in others.methods
        ],
        profile_rows=_profile_rows(others),
        changes=change_matrices(others),
        notes=_notes(others),
    )


def _introduction(others: OtherMethods) -> list[str]:
    names = listing([method_name(each.name, others) for each in others.detectors])
    sites = listing(sorted({site_words(each.site) for each in others.detectors}))
    return [
        f"{names} {'reads' if len(others.detectors) == 1 else 'read'} activations of the feed-forward neurons (paper B), "
        f"here {sites}, on the sentences that impacts were measured on. They find sets among "
        f"{plural(others.n_neurons, 'feed-forward neuron')}; of the impact sets only the feed-forward part is set beside "
        "them. None of this enters the sections above."
    ]


def _size(size: int | None, others: OtherMethods) -> str:
    return "not asked for" if size is None else f"{count(size)} ({percent(size / others.n_neurons)})"


def _asked(sets: MethodSets, others: OtherMethods) -> list[str]:
    return [code for code in others.languages if code in sets.members]


def _agreement(others: OtherMethods, pairs: Sequence[tuple[str, str]]) -> list[Panel]:
    found = []
    for a, b in pairs:
        rows = {
            code: others.overlaps[a, b, code] for code in others.languages if (a, b, code) in others.overlaps
        }
        title = f"{method_name(a, others)} and {method_name(b, others)}"
        found.append(Panel(title, agreement_chart(rows, others.n_layers, title)))
    return found


def _profile_rows(others: OtherMethods) -> list[Profile]:
    found = []
    for sets in others.methods:
        codes = _asked(sets, others)
        by_language = [sets.by_layer(code).tolist() for code in codes]
        rows = [(layer, [lane[layer] for lane in by_language]) for layer in range(others.n_layers)]
        found.append(Profile(method_name(sets.name, others), [language_name(code) for code in codes], rows))
    return found


def _notes(others: OtherMethods) -> list[str]:
    """What a reader must know before comparing numbers."""
    found = []
    if any(each.name == DEGENERATE for each in others.detectors):
        found.append(
            f"{method_name(DEGENERATE, others)} is nearly degenerate by construction: agreement with it, or a lack of "
            "it, says next to nothing. The pooled form is the one to read."
        )
    found.append(
        "Sets of very different sizes cannot have a high Jaccard: it is at most the smaller size over the larger. Read the "
        "multiple of chance there."
    )
    if others.contradicted:
        found.append(
            f"Not shown, because their counts are not those of the sets shown: {plural(others.contradicted, 'overlap')}."
        )
    older = [f"{plural(n, 'unit')} of table {name}" for name, n in others.superseded.items()]
    if older:
        found.append(f"Older measurements of these methods are left out: {listing(older)}.")
    return found

"""Benchmarks in sentences: which data, how they were asked and judged, what came out, and what is missing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable

from polyneuron.eval.report.numbers.benchmarks import SAMPLE, Results, points, title_of
from polyneuron.eval.report.numbers.study import Row
from polyneuron.eval.report.words.wording import count, language_name, listing, plural

SAMPLE_WORDS = (
    "are small original samples written for this project, not the benchmarks: they show that the machinery "
    "works, and their scores say nothing about the model’s ability"
)
_SOURCES = {
    SAMPLE: f"The items {SAMPLE_WORDS}.",
    "hub": "The items come from the Hugging Face hub, at the revisions named with each table.",
    "local": "The items come from local files in the benchmark’s layout; whether they are the benchmark’s own "
    "is for whoever placed them to say.",
}
_ENGINES = {"vllm": "vLLM", "hf": "Hugging Face transformers"}


def introduction(results: Results) -> list[str]:
    """Which data, which engine, what the numbers are."""
    apart = ["What training changed is under Training."] if results.trained_apart else []
    if apart and not results.changed:
        return [*data_words(results), _engine_words(results), "Here is the unchanged model alone.", *apart]
    return [*data_words(results), _engine_words(results), *verdict_words(results), *apart]


def data_words(results: Results) -> list[str]:
    """Where the items come from."""
    by_kind: dict[str, dict[str, None]] = {}
    for row in results.rows():
        if row["data"] != "none":
            by_kind.setdefault(row["data"], {})[title_of(row["benchmark"])] = None
    if len(by_kind) == 1:
        kind = next(iter(by_kind))
        return [_SOURCES.get(kind, f"The items’ source is “{kind}”.")]
    return [
        f"{listing(list(titles))}: {words[0].lower()}{words[1:]}"
        for kind, titles in by_kind.items()
        for words in [_SOURCES.get(kind, f"The items’ source is “{kind}”.")]
    ]


def _engine_words(results: Results) -> str:
    rows = [row for row in results.rows() if row["data"] != "none"]
    engines = list(
        dict.fromkeys(f"{_ENGINES.get(row['backend'], row['backend'])} in {row['dtype']}" for row in rows)
    )
    starts = {row["bos"] for row in rows}
    start = (
        ", with a start token" if starts == {True} else ", without a start token" if starts == {False} else ""
    )
    by = f"Answered through {listing(engines)}{start}. " if engines else ""
    return f"{by}Scores are in points of a hundred, with their 95% intervals over items."


def verdict_words(results: Results) -> list[str]:
    """What the differences are and by what they are judged."""
    if not results.changed:
        return ["Only the unchanged model was put to the benchmarks, so there is nothing to compare."]
    stale = plural(results.n_stale, "stored verdict")
    left_out = (
        [f"Not shown: {stale} on other scores than these, of another evaluation."] if results.n_stale else []
    )
    if not results.verdicts:
        return [
            "No paired verdicts on these scores are stored: their differences were not judged.",
            *left_out,
        ]
    some = next(iter(results.verdicts.values()))
    least = (
        f" and the difference is at least {points(some['min_effect'])} points" if some["min_effect"] else ""
    )
    return [
        "Differences are paired, item by item, against the unchanged model. “Better” and “worse” mean that the "
        f"p-value is at most {some['alpha']:g} after Holm’s correction for all {plural(results.family, 'comparison')} "
        f"of this model{least}. “No evidence” does not mean no effect: few items show only large ones.",
        *left_out,
    ]


def heading(results: Results, benchmark: str) -> str:
    """The benchmark's title, marked where all of its items are samples."""
    kinds = {row["data"] for row in results.rows(benchmark)} - {"none"}
    return f"{title_of(benchmark)} (sample, not the benchmark)" if kinds == {SAMPLE} else title_of(benchmark)


def how_asked(results: Results, benchmark: str) -> str:
    """Data set and revision, items, examples, length of answers and metric, in one line."""
    rows = [row for row in results.rows(benchmark) if row["data"] != "none"]
    forms: list[Callable[[Row], str | None]] = [_dataset, _items, _shots, _length, _metric]
    parts = [words for form in forms if (words := _by_language(rows, form))]
    return "; ".join(parts) + "." if parts else ""


def _by_language(rows: list[Row], form: Callable[[Row], str | None]) -> str:
    """What holds for all languages once, what differs with the languages it holds for."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        if (words := form(row)) is not None:
            found.setdefault(words, {})[language_name(row["language"])] = None
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{words} ({listing(list(languages))})" for words, languages in found.items())


def _dataset(row: Row) -> str | None:
    """The hub's name stands alone only where the rows are the hub's."""
    name, revision = row["dataset"], (row["revision"] or "")[:12]
    if not name:
        return None
    if row["data"] == SAMPLE:
        return f"sample in the layout of {name}" if "/" in name else f"sample file {name}"
    if row["data"] == "local":
        return f"local {name}" + (f", content {revision}" if revision else "")
    return f"{name} @ {revision}" if revision else name


def _items(row: Row) -> str | None:
    limit = json.loads(row["settings_json"] or "{}").get("max_items")
    words = f"{plural(row['n'] + row['n_unscored'], 'item')} a language"
    return f"{words} (the study asks {count(limit)} at most)" if limit else words


def _shots(row: Row) -> str | None:
    if row["n_shots"] is None:
        return None
    return (
        plural(row["n_shots"], "solved example") + " before each" if row["n_shots"] else "no solved examples"
    )


def _length(row: Row) -> str | None:
    return None if row["max_gen_toks"] is None else f"answers of up to {plural(row['max_gen_toks'], 'token')}"


def _metric(row: Row) -> str | None:
    if row["metric"] == "none":
        return None
    return f"judged by {row['metric']}" + (f" ({row['filter']})" if row["filter"] != "none" else "")


def notes(results: Results, benchmark: str, gaps_expected: bool = False) -> list[str]:
    """Stand-ins, missing values and what was left out, each with its reason. ``gaps_expected``: not every variant
    was to be judged in every language."""
    rows = results.rows(benchmark)
    stand_ins = {(language_name(r["language"]), r["stand_in"]): None for r in rows if r["stand_in"]}
    found = [f"{language} is a stand-in: {words}." for language, words in stand_ins]
    found += _grouped(
        (r["null_reason"] or "no reason stored", _where(results, r)) for r in rows if r["value"] is None
    )
    stored = {(row["language"], row["variant"]) for row in rows}
    floor = [
        language_name(row["language"])
        for row in rows
        if row["variant"] == (results.base.name if results.base else None) and row["value"] == 0
    ]
    if floor and results.changed:
        found.append(f"Without a point even unchanged, so that nothing could get worse: {listing(floor)}.")
    gaps = Counter(
        language_name(lang)
        for lang in results.languages
        for v in results.variants
        if (lang, v.name) not in stored
    )
    if gaps and not gaps_expected:
        n = len(results.variants)
        where = [lang if k == n else f"{lang} ({k} of {n} variants)" for lang, k in gaps.items()]
        found.append(f"Not in the store: {listing(where)}.")
    unscored = dict.fromkeys(
        f"{_where(results, row)} {count(row['n_unscored'])} of {count(row['n'] + row['n_unscored'])}"
        for row in rows
        if row["n_unscored"] and row["value"] is not None
    )
    if unscored:
        found.append(f"Items that could not be scored and are left out: {listing(list(unscored))}.")
    judged = [row for key, row in results.verdicts.items() if key[0] == benchmark and row["reason"]]
    found += _grouped(
        (
            f"{row['variant']} against {row['baseline']}, {row['verdict']}: {row['reason']}",
            language_name(row["language"]),
        )
        for row in judged
    )
    return found


def _where(results: Results, row: Row) -> str:
    """The language, and the variant unless the gap is in all of them."""
    same = [results.scores.get((row["benchmark"], row["language"], v.name)) for v in results.variants]
    alike = {(r["null_reason"], r["n_unscored"]) for r in same if r is not None}
    language = language_name(row["language"])
    return language if len(alike) == 1 else f"{language}, {row['variant']}:"


def _grouped(pairs: Iterable[tuple[str, str]]) -> list[str]:
    by_reason: dict[str, dict[str, None]] = {}
    for reason, where in pairs:
        by_reason.setdefault(reason, {})[where.rstrip(":")] = None
    return [f"{'; '.join(where)}: {reason.rstrip('.')}." for reason, where in by_reason.items()]

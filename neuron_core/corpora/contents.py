"""Looks whether samples can be of the languages that their names say: no two alike, and each in its own language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any

import langcodes

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.common.memory import recall, remember, versions_of
from polyneuron.neuron_core.corpora.sampling import CorpusSample

_LARGELY_EQUAL = 0.5
"""Share of the smaller sample; from here on two languages cannot have been sampled from texts of their own."""
_RECOGNISED = 0.5
"""A smaller share of sentences in the language of the code is worth a warning."""
_MOST_IDENTIFIED = 200
_SURE = 0.9
"""Of the first 20 characters of the embedded corpus's sentences 43% are named from here on, of the first 40 87%: all rightly."""
_HARDLY_TOLD_APART = (
    {"no", "nb", "nn", "da"},
    {"hr", "sr", "bs", "sh"},
    {"id", "ms"},
    {"cs", "sk"},
    {"hi", "ur"},
)


def check_contents(samples: Sequence[CorpusSample]) -> list[tuple[str, str]]:
    """Doubts about samples of different languages: the code of one, and a sentence with counts.

    A language identifier looks at the sentences too (139 languages, offline; codes that it does not know are not checked).

    Raises:
        CorpusError: two languages have equal or largely equal samples.
    """
    return [*_shared(samples), *_identified_before(samples)]


def identified(sentences: Sequence[str]) -> Counter[str]:
    """How many sentences an offline identifier takes for which language, by code without script and region."""
    identifier = _identifier()
    return Counter(_language(identifier.classify(sentence)[0]) for sentence in sentences)


def language_of(text: str) -> tuple[str, float] | None:
    """The language of a text by code, with the offline identifier's probability; None where that is below 0.9, as in most texts
    of a few words. Text that repeats itself passes for a language too, so a language is no sign of sense."""
    code, probability = _identifier().classify(text)
    return (_language(code), float(probability)) if probability >= _SURE else None


def _shared(samples: Sequence[CorpusSample]) -> Iterator[tuple[str, str]]:
    texts = {sample.language: {*sample.detection, *sample.heldout} for sample in samples}
    for a, b in combinations(samples, 2):
        texts_a, texts_b = texts[a.language], texts[b.language]
        n_shared, n_smaller = len(texts_a & texts_b), min(len(texts_a), len(texts_b))
        if not n_shared:
            continue
        if n_shared >= _LARGELY_EQUAL * n_smaller:
            raise CorpusError(
                f"The languages {a.language!r} and {b.language!r} have {n_shared} of {n_smaller} sentences in common: one "
                f"source was read for both ({a.source}; {b.source}). Give each its own with corpus.sources."
            )
        n_across = len({*a.detection} & {*b.heldout}) + len({*b.detection} & {*a.heldout})
        yield (
            b.language,
            f"{a.language} and {b.language} have {n_shared} of {n_smaller} sentences in common; {n_across} of them detect "
            "neurons of one language and judge the other.",
        )


def _identified_before(samples: Sequence[CorpusSample]) -> list[tuple[str, str]]:
    """The doubts of `_in_other_languages`, remembered: the identifier's model takes longer to load than to ask."""
    about = [[sample.language, sample.source] for sample in samples]
    read: dict[str, Any] = {"sha": [sample.sha for sample in samples]}
    read |= versions_of("py3langid", "langcodes")
    doubts = recall("languages", about, **read)
    if doubts is None:
        doubts = list(_in_other_languages(samples))
        remember("languages", about, doubts, **read)
    return [(language, doubt) for language, doubt in doubts]


def _in_other_languages(samples: Sequence[CorpusSample]) -> Iterator[tuple[str, str]]:
    for sample in samples:
        code = _language(sample.language)
        if code not in _known_codes():
            continue
        accepted = {code}.union(*(group for group in _HARDLY_TOLD_APART if code in group))
        sentences = [*sample.detection, *sample.heldout][:_MOST_IDENTIFIED]
        counts = identified(sentences)
        if sum(counts[known] for known in accepted) < _RECOGNISED * len(sentences):
            most = ", ".join(f"{n} {found}" for found, n in counts.most_common(3))
            yield (
                sample.language,
                f"Of {len(sentences)} sentences of {sample.language} only {counts[code]} look like that language ({most}), "
                f"read from {sample.source}.",
            )


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@lru_cache(maxsize=1)
def _known_codes() -> frozenset[str]:
    return frozenset(map(_language, _identifier().nb_classes))


@lru_cache(maxsize=1024)
def _language(code: str) -> str:
    """The language of a code without script and region, in its shortest form: sw of swh_Latn; the code itself if it is no tag."""
    try:
        return langcodes.Language.get(langcodes.standardize_tag(code, macro=True)).language or code
    except langcodes.LanguageTagError:
        return code

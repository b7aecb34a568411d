"""Every sentence of findings and omissions, in each of its turns, is kept in `golden/sentences.txt`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from polyneuron.eval.report.numbers.effects import Effect
from polyneuron.eval.report.numbers.estimates import ShownEstimate
from polyneuron.eval.report.numbers.specificity import Hits
from polyneuron.eval.report.page import sentences
from polyneuron.eval.report.words.findings import Finding
from tests.golden import assert_golden

SPAN: dict[str, Any] = {"least": ("en", 1.1), "most": ("sw", 3.0)}
DRAWS: dict[str, Any] = {
    "n": 20,
    "few": False,
    "median": 1.01,
    "lost": [],
    "is_more": True,
}
DRAWS |= {"n_won": 2, "n_compared": 2, "p_value": 0.048, "ratio": 0.1, "is_matched": False}
FEW = DRAWS | {"n": 1, "few": True, "p_value": 0.25, "is_more": False}
LIKE = DRAWS | {"ratio": 0.95, "is_matched": True}
LESS = DRAWS | {"ratio": 0.4}
NO_MORE = DRAWS | {"ratio": 0.6, "lost": ["en"], "n_won": 1, "p_value": 0.3, "is_more": False}
UNKNOWN = NO_MORE | {"lost": [], "ratio": None, "p_value": None}
SIZES = {
    "shared": 3,
    "n_measured": 900,
    "languages": ["en", "sw"],
    "chosen": False,
    "lengths": None,
}
BY_CHANCE = {"n_neurons": 9.0, "n_permutations": 200, "chance_size": 4.5, "chance_low": 2, "chance_high": 7}
BY_CHANCE |= {
    "p_value": 0.005,
    "jaccard": 0.5,
    "jaccard_low": 0.4,
    "jaccard_high": 0.6,
    "jaccard_chance": 0.01,
}
UNLIKE = BY_CHANCE | {"p_value": 0.7, "jaccard": None}
NOISE = {
    "n_languages": 2,
    "larger": {"exclusive": ["en", "sw"], "strict_exclusive": ["en"]},
    "means": {"exclusive": BY_CHANCE, "strict_exclusive": BY_CHANCE},
    "shared": BY_CHANCE | {"p_value": None, "chance_size": 7e-6},
}
BESIDE = {"control": DRAWS, "impact_control": LIKE}
SHARED = {"n_neurons": 3, "languages": ["en", "sw"], "beside": BESIDE, "lost": [], "alpha": 0.05, **SPAN}
OWN = {
    "set": "exclusive",
    "unharmed": [],
    "beside": BESIDE | {"language_control": DRAWS},
    "lost": [],
    "alpha": 0.05,
    **SPAN,
}
IMPORTANCE = {"known": 2, "above": 2, "sure": 1, "nulls": []}
VALUE = ShownEstimate(1.5, 1.0, 2.0, None)
OPEN = ShownEstimate(1.5, None, 2.0, "an end is open")
NULL = ShownEstimate(None, None, None, "no value")
SCORE = {"ratio": VALUE, "by_ppl": OPEN, "by_nll": VALUE, "band": (0.5, 1.5)}
WORSE, BETTER = Counter(worse=2), Counter({"better": 1, "not judged": 1})
NO_EVIDENCE, UNJUDGED = Counter({"no evidence": 2}), Counter({"not judged": 1})
NONE: Counter[str] = Counter()
BENCHMARKS = {
    "set": "shared",
    "verdicts": WORSE,
    "reach": 5.0,
    "n_draws": 2,
    "against": WORSE,
    "some_samples": False,
}
NATS = np.zeros(4)
EFFECT = Effect(ppl=9.0, times=0.97, low=0.95, high=0.99, n_sentences=4, differences=NATS, p_adjusted=0.01)
LONE = Effect(ppl=9.0, times=1.2, low=1.2, high=1.2, n_sentences=1, differences=NATS[:1])
BROKEN = Effect(ppl=9.0, times=1.2, low=1.1, high=1.3, n_sentences=4, differences=NATS, p_adjusted=0.01)
TUNED = SimpleNamespace(strategy="shared", languages=("sw", "th"), seed=1, name="tuned-shared-sw")
OTHER = SimpleNamespace(strategy="mine", languages=("en",), seed=0, name="tuned-mine-en")
TRAINED = {
    "verdicts": BETTER,
    "measured": [(TUNED, "sw", EFFECT), (OTHER, "en", LONE)],
    "more": 0,
    "seeds": False,
    "twins": BETTER,
    "others": WORSE,
    "worst": (TUNED, "en", BROKEN),
    "judged": True,
}
ON_BENCHMARKS = {"verdicts": BETTER, "reach": None, "twins": BETTER, "some_samples": False}
PAIR = {
    "names": ["LAPE", "impact (exclusive)"],
    "verdicts": Counter(above=1, within=1),
    "n": 2,
    "language": "sw",
}
ALIKE = {
    "verdicts": Counter(above=1, within=1),
    "jaccard": 0.5,
    "pairs": [PAIR | {"jaccard": 0.5, "ratio": 32.0}],
}
DETECTED = {**SPAN, "verdicts": Counter(above=1, within=1), "hit": 1, "n_rest": 2}
OFF = {"detectors": {"LAPE": DETECTED, "other": None}, "above": 1, "n": 2, "few_draws": 1}

SPECIFIC = {
    "set": "exclusive",
    "victims": {"en": "en", "sw": "sw"},
    "sets": Hits(2, 2, 1.0, 0.02),
    "languages": Hits(2, 1, 1.0, 1.0),
}
SPECIFIC |= {"alpha": 0.05}
FINDINGS: dict[str, list[dict[str, Any]]] = {
    "sizes": [
        SIZES,
        SIZES | {"shared": 0, "languages": list("abcdefghijk"), "chosen": True},
        SIZES | {"lengths": [("en", 16.25), ("sw", 32.0)]},
        SIZES | {"n_measured": None, "languages": ["sw"]},
        {"languages": [], "shared": 0},
    ],
    "noise_unmeasured": [{"reason": None}, {"reason": "too few sentences"}],
    "noise": [
        NOISE,
        NOISE
        | {
            "larger": {"exclusive": [], "strict_exclusive": []},
            "means": {"exclusive": UNLIKE, "strict_exclusive": UNLIKE},
            "shared": BY_CHANCE,
        },
    ],
    "perplexity_unmeasured": [{}],
    "shared_unmeasured": [{}],
    "shared_off": [
        SHARED,
        SHARED | {"beside": {}},
        SHARED | {"beside": {"control": DRAWS}},
        SHARED | {"beside": {"control": DRAWS, "impact_control": LESS}},
        SHARED | {"beside": {"control": DRAWS, "impact_control": NO_MORE}},
        SHARED | {"beside": {"control": DRAWS, "impact_control": UNKNOWN}},
        SHARED | {"beside": BESIDE | {"control": FEW}},
        SHARED | {"beside": {"control": FEW}, "lost": ["en", "sw"]},
    ],
    "own_off": [
        OWN,
        OWN | {"beside": {}},
        OWN | {"beside": {"control": DRAWS, "impact_control": NO_MORE, "language_control": NO_MORE}},
        OWN | {"set": "strict_exclusive", "beside": {"control": NO_MORE}, "lost": ["en"], "unharmed": ["en"]},
        OWN | {"beside": BESIDE | {"control": FEW}},
    ],
    "specificity": [
        SPECIFIC,
        SPECIFIC | {"victims": {"en": "en", "sw": "sw", "de": None}, "sets": Hits(3, 2, 2 / 3, 1 / 6)},
        SPECIFIC
        | {
            "set": "strict_exclusive",
            "victims": {"en": "sw", "sw": "en"},
            "sets": Hits(2, 0, 1.0, 1.0),
        },
    ],
    "importance": [
        IMPORTANCE,
        IMPORTANCE | {"above": 1, "nulls": ["de"]},
        IMPORTANCE | {"above": 0, "sure": 0},
        IMPORTANCE | {"known": 0, "above": 0, "nulls": ["de", "en"]},
    ],
    "score": [
        SCORE,
        SCORE | {"by_nll": NULL, "band": None},
        {"ratio": None, "by_ppl": None, "by_nll": None, "band": None},
    ],
    "benchmark_samples": [{}],
    "benchmarks": [
        BENCHMARKS,
        BENCHMARKS | {"verdicts": WORSE + BETTER, "against": NONE, "some_samples": True, "reach": None},
        BENCHMARKS | {"set": "exclusive", "verdicts": NO_EVIDENCE},
        BENCHMARKS | {"set": "mine", "verdicts": UNJUDGED},
    ],
    "training_mechanics": [{"findings": [Finding("training_perplexity", "yes", TRAINED)]}],
    "training_perplexity_unmeasured": [{"judged": True}, {"judged": False}],
    "training_perplexity": [
        TRAINED,
        TRAINED | {"verdicts": UNJUDGED, "more": 4, "seeds": True, "twins": NONE, "judged": False},
        TRAINED | {"verdicts": NO_EVIDENCE, "worst": None},
        TRAINED | {"verdicts": BETTER + WORSE, "worst": (TUNED, "en", EFFECT)},
    ],
    "training_samples": [{}],
    "training_benchmarks": [
        ON_BENCHMARKS,
        ON_BENCHMARKS | {"verdicts": NO_EVIDENCE, "reach": 2.5, "twins": NONE, "some_samples": True},
        ON_BENCHMARKS | {"verdicts": NONE},
    ],
    "agreement_unjudged": [{}],
    "agreement": [
        ALIKE | {"left_out": None},
        {
            "verdicts": Counter(within=1, below=1),
            "jaccard": 0.0,
            "pairs": [PAIR | {"jaccard": 0.0, "ratio": 0.0, "verdicts": Counter(within=1, below=1)}],
            "left_out": "Act-Prob-90p (as published)",
        },
        ALIKE | {"left_out": None, "pairs": [PAIR | {"jaccard": 0.5, "ratio": 2.0, "n": 1}]},
    ],
    "detected_off": [
        OFF,
        OFF | {"above": 0, "few_draws": None},
        OFF
        | {"n": 0, "detectors": {"LAPE": DETECTED | {"most": ("en", 1.1), "verdicts": NONE, "n_rest": 0}}},
    ],
}
JUMP = ("th", 3.0, "control-shared-0")
OMISSIONS: dict[str, list[dict[str, Any]]] = {
    "texts": [{"n_dropped": 9, "n_read": 99, "dropped": {"en": {"too_short": 7}, "sw": {"a": 1, "b": 1}}}],
    "cut": [{"n_cut": {"en": 1200, "sw": 1}}],
    "doubts": [{"doubts": ["Of 9 sentences of sw only 3 look like that language."]}],
    "short_text": [{"languages": ["en", "sw"], "fewest": 50}],
    "bounds": [{"bounded": {"q": 1200, "k": 3}}],
    "slider": [{"reason": "why"}],
    "shared_empty": [{}],
    "exclusive_empty": [{"languages": ["de"]}],
    "metric": [
        {"metric": "imp_ppl", "null": True, "reason": "why.", "where": ["de", None]},
        {"metric": "mine", "null": False, "reason": None, "where": [None]},
    ],
    "neighbour": [{"label": "σ × 0.5", "reason": "why"}],
    "perplexities": [{}],
    "draws": [{"draws": "random neurons", "variants": ["shared", "exclusive-sw"]}],
    "draws_short": [
        {"draws": "neurons nearest in impact", "sets": [("shared", 46, 47), ("exclusive-sw", 8, 9)]}
    ],
    "unmeasured": [{"variant": "shared", "languages": ["de"]}],
    "unscored": [{"n": 1}, {"n": 2}],
    "jumps": [{"jumps": [JUMP]}, {"jumps": [JUMP] * 8}],
    "other_selections": [{"names": ("a", "b")}],
}


def test_every_sentence_is_kept() -> None:
    templates = sentences()
    said = templates.filters["said"]
    lines = [said(Finding(kind, "note", v)).striptags() for kind, turns in FINDINGS.items() for v in turns]
    lines += [
        said(Finding(kind, "note", v), "omission_words.html.j2").striptags()
        for kind, turns in OMISSIONS.items()
        for v in turns
    ]
    assert_golden("\n".join(lines) + "\n", Path(__file__).parents[1] / "golden" / "sentences.txt")


def test_every_kind_has_its_turns() -> None:
    helpers = {"alike"} | {
        "changes",
        "counts",
        "embedded",
        "unequal",
        "unmatched",
        "multiple",
        "reaches",
        "samples",
        "strategy",
        "tally",
        "unjudged",
    }
    for template, turns in (("findings.html.j2", FINDINGS), ("omission_words.html.j2", OMISSIONS)):
        macros = {name for name in dir(sentences().get_template(template).module) if name[0] != "_"}
        assert macros - helpers - {"metric_names"} == set(turns)

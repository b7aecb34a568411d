"""The page of one neuron, as tables for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from polyneuron.eval.neurons.facts import LensToken, NeuronFacts
from polyneuron.eval.tables.grid import Column, Grid, grid
from polyneuron.eval.tables.text import escape_markdown, markdown

_MOST_NEIGHBOURS = 12
_AROUND = 40
"""Characters that are shown before and after a token."""
_SPREAD = ("minimum", "p5", "p25", "p50", "p75", "p95", "maximum")


def page_json(facts: NeuronFacts) -> str:
    """Everything, as one JSON object."""
    whole = dataclasses.asdict(facts)
    whole["neuron"] = str(facts.neuron)
    whole["neighbours"] = [str(other) for other in facts.neighbours]
    return json.dumps({"neuron": whole.pop("neuron"), **whole}, ensure_ascii=False, indent=1) + "\n"


def page_markdown(facts: NeuronFacts) -> str:
    """A heading, sentences, and the tables under headings of their own."""
    sentences = "\n".join(f"- {escape_markdown(each)}." for each in sentences_of(facts))
    tables = "\n".join(f"## {escape_markdown(each.title)}\n\n{markdown(each)}" for each in grids_of(facts))
    return f"# {facts.neuron} of {escape_markdown(facts.model)}\n\n{sentences}\n\n{tables}"


def sentences_of(facts: NeuronFacts) -> list[str]:
    """Sets, neighbours and notes, a sentence each, without full stops."""
    if not facts.sets:
        return ["It is in no set", *facts.notes]
    n_near, n_same = len(facts.neighbours), facts.n_in_same_sets
    named = ", ".join(map(str, facts.neighbours[:_MOST_NEIGHBOURS]))
    more = f" and {n_near - _MOST_NEIGHBOURS} more" * (n_near > _MOST_NEIGHBOURS)
    near = (
        f"{n_near:,} of them in L{facts.neuron.layer}.{facts.neuron.group}{': ' * bool(named)}{named}{more}"
    )
    return [
        f"It is in {', '.join(facts.sets)}",
        f"Other neurons in exactly these sets: {n_same:,} in the model, {near}",
        *facts.notes,
    ]


def grids_of(facts: NeuronFacts) -> Iterator[Grid]:
    """The tables of the page: impacts, activations of each site, tokens in context, and the logit lens of each direction."""
    yield grid(
        "Impact by language",
        ["language", "impact", "rank", "of"],
        [
            [
                row["language"],
                _number(row["impact"]),
                "" if row["rank"] is None else f"{row['rank']:,}",
                f"{row['n_ranked']:,}",
            ]
            for row in facts.impacts
        ],
    )
    for site, rows in groupby(facts.activations, lambda row: str(row["site"])):
        yield grid(
            f"Activation by language ({site})",
            ["language", "tokens", "positive", "mean", *_SPREAD],
            [
                [
                    row["language"],
                    f"{row['n_tokens']:,}",
                    f"{row['n_positive'] / row['n_tokens']:.1%}",
                    *(f"{row[name]:.3g}" for name in ("mean", *_SPREAD)),
                ]
                for row in rows
            ],
        )
    if facts.contexts:
        yield grid(
            "Tokens on which it is strongest",
            ["language", "value", Column(text="in context", align="left")],
            [[each.language, _number(each.value), _excerpt(each.text)] for each in facts.contexts],
        )
    for direction, tokens in groupby(facts.lens, lambda token: token.direction):
        yield _lens_grid(direction, list(tokens), several=facts.lens[-1].direction > 0)


def _lens_grid(direction: int, tokens: list[LensToken], *, several: bool) -> Grid:
    ends = [[token for token in tokens if token.promoted is promoted] for promoted in (True, False)]
    return grid(
        f"Tokens promoted and suppressed{f', query head {direction + 1} of those that read it' if several else ''}",
        ["promoted", "logit", Column(text="suppressed", align="left"), "logit"],
        [
            [part for token in pair for part in (_shown(token.text), f"{token.logit:+.3g}")]
            for pair in zip(*ends, strict=True)
        ],
    )


def _excerpt(text: Any) -> str:
    before, after = text.before[-_AROUND:], text.after[:_AROUND]
    start, end = "…" * (before != text.before), "…" * (after != text.after)
    return _in_line(f"{start}{before}⟦{text.token}⟧{after}{end}")


def _shown(text: str) -> str:
    """A token in quotes, since many begin with a space."""
    return f"“{_in_line(text)}”"


def _in_line(text: str) -> str:
    return text.replace("\n", "↵")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"

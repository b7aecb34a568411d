"""p-values of draws, by hand and by brute force, and sets beside their draws in worlds whose answer is known."""

import itertools
import math

import numpy as np
import pytest

from polyneuron.eval.report.numbers.chance import (
    BesideDraws,
    beside_all_kinds,
    beside_draws,
    empirical_p,
    tail_of_hits,
)
from polyneuron.eval.report.numbers.effects import ABOVE, effects_of
from polyneuron.eval.report.numbers.variants import ShownVariant, Variants
from polyneuron.eval.verdicts.verdict import NO_EVIDENCE, NOT_JUDGED

LANGUAGES = ("en", "sw", "th")
TOKENS = np.array([2.0, 3.0, 5.0])


def variant(name: str, kind: str, nats: dict[str, float], n_neurons: int = 4, **more: object) -> ShownVariant:
    """Nats per token more than the base model's, by language."""
    nll = {code: (np.arange(3), (2 + value) * TOKENS, TOKENS) for code, value in nats.items()}
    return ShownVariant(name=name, kind=kind, n_neurons=n_neurons, nll=nll, **more)  # type: ignore[arg-type]


def beside_shared(own: dict[str, float], draws: list[dict[str, float]]) -> BesideDraws:
    made = [variant("base", "base", dict.fromkeys(own, 0.0)), variant("shared", "shared", own)]
    made += [
        variant(
            f"d{i}", "impact_control", draw, 3 + i % 2, control_of="shared", impact_ratio=0.25 * 4 ** (i % 2)
        )
        for i, draw in enumerate(draws)
    ]
    return found(Variants(made), "shared")


def found(variants: Variants, set_kind: str) -> BesideDraws:
    effects = effects_of(variants)
    assert effects is not None
    assert beside_draws(variants, effects, LANGUAGES, set_kind, "control") is None
    beside = beside_draws(variants, effects, LANGUAGES, set_kind, "impact_control")
    assert beside is not None and beside_all_kinds(variants, effects, LANGUAGES, set_kind) == {
        "impact_control": beside
    }
    return beside


def test_the_shared_set_beside_draws_by_hand() -> None:
    own = {"en": 1.0, "sw": 0.5, "th": 0.2}
    draws = [
        {"en": 0.1, "sw": 0.6, "th": 0.1},
        {"en": 0.2, "sw": 0.4, "th": 1.5},
        {"en": 0.3, "sw": 0.1, "th": 0.1},
    ]
    beside = beside_shared(own, draws)
    assert beside.p_values == {"en": 1 / 4, "sw": 2 / 4, "th": 2 / 4}
    assert beside.p_adjusted == {"en": 3 / 4, "sw": 1.0, "th": 1.0}
    assert (beside.lost, beside.n_won) == (["sw", "th"], 1)
    # mean changes: 1.7 / 3 of the set; 0.8, 2.1 and 0.5 of the draws
    assert beside.p_all == 2 / 4 and not beside.is_more
    assert (beside.n_neurons, beside.n_asked) == (3, 4)
    assert beside.impact_ratio == pytest.approx(math.exp((2 * math.log(0.25) + math.log(1)) / 3))
    assert beside.by_chance == pytest.approx(3 / 4)
    assert {beside.verdict(code) for code in LANGUAGES} == {NOT_JUDGED}  # three draws: no p below 1/4


def test_a_single_language_is_judged_by_draws_enough_for_holm() -> None:
    own = {"en": 1.0, "sw": 0.5, "th": 0.0}
    generator = np.random.default_rng(0)
    for n, judged in ((58, False), (59, True)):  # 1 / 60 is 0.05 / 3
        beside = beside_shared(own, [{code: generator.random() * 0.1 for code in own} for _ in range(n)])
        assert (beside.judges_each, beside.smallest_p) == (judged, 1 / (n + 1))
    assert [beside.verdict(code) for code in own] == [ABOVE, ABOVE, NO_EVIDENCE]


def test_own_sets_are_judged_together_as_all_ways_to_swap_them_with_a_draw() -> None:
    """Each language's own set and its draws in that language alone; p by going through all exchanges."""
    own = {"en": 1.0, "sw": 0.5, "th": 0.2}
    draws = {"en": [0.1, 0.2], "sw": [0.7, 0.1, 0.1], "th": [0.1]}
    made = [variant("base", "base", dict.fromkeys(own, 0.0))]
    for code, value in own.items():
        name = f"exclusive-{code}"
        made.append(variant(name, "exclusive", dict.fromkeys(own, value), set_language=code))
        more = {"set_language": code, "control_of": name}
        made += [
            variant(f"{name}{i}", "impact_control", {code: v}, **more) for i, v in enumerate(draws[code])
        ]
    beside = found(Variants(made), "exclusive")
    groups = [[own[code], *draws[code]] for code in LANGUAGES]
    hits = [
        sum(group[i] == max(group) for i, group in zip(which, groups, strict=True))
        for which in itertools.product(*(range(len(group)) for group in groups))
    ]
    assert beside.lost == ["sw"] and beside.p_all == pytest.approx(np.mean([n >= 2 for n in hits]))
    assert beside.n_draws == 1 and beside.impact_ratio is None
    assert {code: len(values) for code, values in beside.draws.items()} == {"en": 2, "sw": 3, "th": 1}


@pytest.mark.parametrize("explained", [0.0, 1.0])
def test_where_impact_explains_all_the_set_is_one_of_its_draws(explained: float) -> None:
    """Planted: a neuron's damage is its impact. Draws of equal impact do what the set does; random ones hardly anything."""
    generator, p_values = np.random.default_rng(1), []
    for _ in range(60):
        noise = generator.normal(0, 0.05, (21, 3))
        damage = np.r_[1.0, np.full(20, explained)][:, None] + noise
        rows = [dict(zip(LANGUAGES, row, strict=True)) for row in damage.tolist()]
        p_values.append(beside_shared(rows[0], rows[1:]).p_all)
    small = np.mean([p is not None and p <= 0.05 for p in p_values])
    assert small <= 0.15 if explained else small == 1.0


def test_few_draws_have_no_small_p_value() -> None:
    assert empirical_p(5.0, [1.0, 2.0, 3.0]) == 1 / 4
    assert empirical_p(2.0, [1.0, 2.0, 3.0]) == 3 / 4  # a tie counts
    assert empirical_p(2.0, []) == 1.0


def test_hits_of_several_sets() -> None:
    assert tail_of_hits([0.25] * 6, 6) == pytest.approx(0.25**6)
    assert tail_of_hits([0.25] * 6, 0) == pytest.approx(1.0)
    assert tail_of_hits([0.5, 0.25], 1) == pytest.approx(1 - 0.5 * 0.75)
    assert tail_of_hits([], 0) == 1.0


def test_a_set_that_is_a_draw_is_seldom_called_more_than_one() -> None:
    values = np.random.default_rng(0).random((4000, 20))
    small = np.mean([empirical_p(row[0], row[1:]) <= 0.05 for row in values])
    assert small == pytest.approx(0.05, abs=0.011)

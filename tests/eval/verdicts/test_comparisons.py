"""Which test is used, the family, and what is not judged."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from polyneuron.eval.store.store import Store
from polyneuron.eval.verdicts.comparisons import (
    Pair,
    Sided,
    decide,
    measure,
    verdict_table,
    verdicts_of,
)
from polyneuron.eval.verdicts.pairing import grouped
from polyneuron.eval.verdicts.verdict import Verdict
from tests.eval.store_rows import samples


def pair(left: pa.Table, right: pa.Table, **names: Any) -> Pair:
    """Two tables of one model, called by their variants where no names are given."""
    given = {"model": "org/model", "night": None} | names
    for name, side in (("variant", left), ("baseline_name", right)):
        given.setdefault(name, side["variant"][0].as_py() if len(side) else "")
    return Pair(samples=grouped(left), baseline=grouped(right), **given)


def compared(left: pa.Table, right: pa.Table, **changed: Any) -> list[Verdict]:
    """Everything the two hold, as one family."""
    primary = {(key[0], key[2], key[3]) for side in (left, right) for key in grouped(side)}
    return verdicts_of([pair(left, right)], primary, **({"alpha": 0.05, "min_effect": 0.0} | changed))


def one(left: pa.Table, right: pa.Table, **changed: Any) -> Verdict:
    (found,) = compared(left, right, **changed)
    return found


def sided(left: pa.Table, right: pa.Table, alternative: Sided) -> Verdict:
    measured = measure([(pair(left, right), grouped(left).keys())], alpha=0.05, min_effect=0.0)
    (found,) = decide(measured, alternative)
    return found


def test_right_or_wrong_values_get_mcnemars_test() -> None:
    # 6 items only the baseline has right, none only the variant.
    found = one(samples([0.0] * 6 + [1.0] * 14, "edited"), samples([1.0] * 20))
    assert (found.variant, found.baseline, found.verdict, found.n_pairs) == ("edited", "base", "worse", 20)
    assert found.p_value == pytest.approx(2 / 2**6) == found.p_adjusted
    assert (found.value, found.baseline_value, found.delta) == pytest.approx((0.7, 1.0, -0.3))
    assert found.test == "McNemar's exact test, two-sided" and found.reason is None
    assert one(samples([0.0] * 6, "edited"), samples([1.0] * 6), alpha=2 / 2**6).verdict == "worse"
    assert found.low is not None and found.high is not None and found.low < -0.3 < found.high < 0


def test_other_values_get_the_sign_flip_test() -> None:
    base = [0.1 * (i % 8) for i in range(40)]
    found = one(samples([value + 0.2 for value in base], "edited", metric="f1"), samples(base, metric="f1"))
    assert found.test == "sign-flip test, two-sided" and found.verdict == "better"
    assert found.delta == pytest.approx(0.2) and found.p_value == pytest.approx(2 / 2**40)


def test_the_metric_decides_the_test_and_not_the_values() -> None:
    right_or_wrong = samples([1.0, 0.0] * 10, "edited", metric="f1"), samples([1.0] * 20, metric="f1")
    assert str(one(*right_or_wrong).test).startswith("sign-flip test")
    graded = one(samples([0.5, 0.0] * 10, "edited"), samples([1.0] * 20))
    assert (graded.verdict, graded.reason) == ("not judged", "acc is 0 or 1, but not for 10 items")


def test_one_item_is_never_a_verdict() -> None:
    found = one(samples([0.0], "edited", metric="f1"), samples([0.5], metric="f1"))
    assert (found.verdict, found.p_value, found.n_family) == ("not judged", None, None)
    assert str(found.reason).startswith("too few items: 1 ")
    assert (
        found.delta == -0.5
        and found.low is not None
        and found.high is not None
        and found.low < -0.9 < 0 < found.high
    )


def test_what_has_too_few_items_does_not_weaken_the_others() -> None:
    parts = [
        (samples([0.0] * n, "edited", language=f"l{n}"), samples([1.0] * n, language=f"l{n}"))
        for n in (2, 3, 7)
    ]
    left, right = (pa.concat_tables(side) for side in zip(*parts, strict=True))
    found = {v.n_pairs: v for v in compared(left, right)}
    assert [found[n].verdict for n in (2, 3, 7)] == ["not judged", "not judged", "worse"]
    assert found[7].n_family == 1 and found[7].p_adjusted == found[7].p_value == 2 / 2**7
    assert found[2].delta == -1.0


def test_a_test_for_a_loss_finds_no_gain() -> None:
    up, down = samples([1.0] * 10, "edited"), samples([0.0] * 10)
    assert sided(up, down, "two-sided").verdict == "better"
    none = sided(up, down, "worse")
    assert none.verdict == "no evidence" and none.p_value == 1.0
    lost = sided(down, up, "worse")
    assert lost.verdict == "worse" and lost.p_value == pytest.approx(1 / 2**10)
    assert lost.test == "McNemar's exact test, one-sided (worse)"


def test_a_loss_below_the_smallest_that_counts_is_no_evidence() -> None:
    left, right = samples([0.0] * 10 + [1.0] * 90, "edited"), samples([1.0] * 100)
    assert one(left, right, min_effect=0.1).verdict == "worse"
    assert one(left, right, min_effect=0.11).verdict == "no evidence"


def test_the_order_of_rows_does_not_matter() -> None:
    left = samples([0.0, 1.0, 0.5, 0.25, 1.0], "edited")
    right = samples([1.0, 1.0, 0.0, 0.5, 0.75])
    assert one(left, right) == one(left.take([4, 2, 0, 1, 3]), right.take([3, 4, 1, 0, 2]))


def test_items_that_do_not_pair_are_not_judged() -> None:
    found = one(samples([1.0] * 5, "edited"), samples([1.0] * 3))
    assert (found.verdict, found.n_pairs, found.p_value, found.delta) == ("not judged", 0, None, None)
    assert found.reason == "2 items are in one of the two only (2 here, 0 in the baseline)"


def test_pairs_with_a_null_are_dropped_and_counted() -> None:
    found = one(samples([None, *[1.0, 0.0] * 4], "edited"), samples([1.0, None, *[1.0] * 7]))
    assert (found.n_pairs, found.value, found.baseline_value) == (7, 3 / 7, 1.0)
    assert (found.verdict, found.reason) == ("no evidence", "2 of 9 items left out: not scored on both sides")
    few = one(samples([None, 1.0, 0.0, 1.0], "edited"), samples([1.0, None, 1.0, 1.0]))
    assert str(few.reason).startswith("too few items: 2 ") and str(few.reason).endswith(
        str(found.reason).replace("9", "4")
    )
    nothing = one(samples([None, None], "edited"), samples([1.0, None]))
    assert nothing.verdict == "not judged" and nothing.reason == "none of 2 items is scored on both sides"


def test_a_benchmark_of_one_side_only_is_not_judged() -> None:
    left = pa.concat_tables([samples([1.0] * 9, "edited"), samples([1.0], "edited", language="th")])
    judged, missing = compared(left, samples([1.0] * 9))  # in the order of the languages
    assert missing.language == "th" and missing.reason == "base holds no items of it"
    assert judged.language == "sw" and judged.verdict == "no evidence"
    night = pair(samples([]), samples([1.0]), night="tue", variant="base", baseline_name="mon")
    (gone,) = verdicts_of([night], {("xnli", "acc", "none")}, alpha=0.05, min_effect=0.0)
    assert (gone.night, gone.reason) == ("tue", "base of night tue holds no items of it")


def test_the_family_is_all_primary_metrics_of_all_pairs() -> None:
    worse = samples([0.0] * 7 + [1.0] * 13, "a"), samples([1.0] * 20)
    other = samples([1.0] * 9, "a", metric="acc_norm"), samples([1.0] * 9, metric="acc_norm")
    both = [pa.concat_tables([side, more]) for side, more in zip(worse, other, strict=True)]
    same = samples([1.0] * 20, "b")
    pairs = [pair(both[0], both[1], variant="a"), pair(same, both[1], variant="b")]
    found = verdicts_of(pairs, {("xnli", "acc", "none")}, alpha=0.05, min_effect=0.0)
    assert [(v.variant, v.metric, v.verdict) for v in found] == [
        ("a", "acc", "worse"),
        ("b", "acc", "no evidence"),
    ]
    assert found[0].p_adjusted == pytest.approx(2 * 2 / 2**7)
    # The other metric, which b lacks, is part of the family only where it is primary.
    both_metrics = {("xnli", "acc", "none"), ("xnli", "acc_norm", "none")}
    everything = verdicts_of(pairs, both_metrics, alpha=0.05, min_effect=0.0)
    assert [v.verdict for v in everything] == ["worse", "no evidence", "no evidence", "not judged"]
    assert everything[0].p_adjusted == pytest.approx(3 * 2 / 2**7)


def test_draws_are_enough_for_a_large_family_to_find_anything() -> None:
    """With 10,000 draws no p-value is below 1/10,001, and 1001 times that is above 0.05."""
    parts = [
        (samples([1.0] * 20, "edited", language=f"l{i}"), samples([1.0] * 20, language=f"l{i}"))
        for i in range(1000)
    ]
    sizes = [0.3 + 0.01 * i for i in range(20)]
    parts.append(
        (samples([0.1] * 20, "edited", metric="f1"), samples([0.1 + size for size in sizes], metric="f1"))
    )
    left, right = (pa.concat_tables(side) for side in zip(*parts, strict=True))
    verdicts = compared(left, right)
    assert [v.language for v in verdicts] == [*sorted(f"l{i}" for i in range(1000)), "sw"]
    (found,) = [v for v in verdicts if v.metric == "f1"]
    assert found.verdict == "worse" and found.p_adjusted is not None and found.p_adjusted < 0.01


def test_the_same_seed_gives_the_same_p_value_in_any_company() -> None:
    sizes = [0.01 * i * (-1) ** (i // 3) for i in range(20)]
    left = samples([0.5 + size for size in sizes], "edited", metric="f1")
    right = samples([0.5] * 20, metric="f1")
    alone = one(left, right)
    more = [
        pa.concat_tables([side, samples([1.0] * 20, side["variant"][0].as_py(), language="th", metric="f1")])
        for side in (left, right)
    ]
    among = [v for v in compared(*more) if v.language == "sw"]
    assert [v.p_value for v in among] == [alone.p_value]
    assert one(left, right, seed=1).p_value != alone.p_value


def test_verdicts_fit_the_store(tmp_path: Path) -> None:
    left, right = samples([1.0, 0.0, None], "edited"), samples([1.0, 1.0, 1.0])
    verdicts = [one(left, right), one(samples([1.0, 0.0], "edited"), right)]
    store = Store(tmp_path)
    store.write("verdicts", verdict_table(verdicts), "u", {"model": "org/model"}, run_id="r")
    stored = store.read("verdicts").drop_columns(["run_id", "unit"]).to_pylist()
    assert stored == [asdict(verdict) for verdict in verdicts]

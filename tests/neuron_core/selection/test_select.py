"""Selection rules against sets worked out by hand and against plain loops; certification; thresholds that
pass their own neuron.
"""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyneuron.neuron_core.common.errors import ConfigError, NotCertified, SetError
from polyneuron.neuron_core.impacts.detect import measure_impacts
from polyneuron.neuron_core.impacts.schema import IMPACTS_SCHEMA, SUMMARY_SCHEMA
from polyneuron.neuron_core.selection.grid import ImpactGrid
from polyneuron.neuron_core.selection.rules import Quantile, ScaledSigma, Sigma, TopRatio
from polyneuron.neuron_core.selection.select import Selection, select
from polyneuron.neuron_core.selection.sensitivity import OWN_RULE, sensitivity
from tests.tiny_models import tiny_model, token_ids

# Per-token minima, layers x neurons; the Frobenius minima are ten times as large.
EXAMPLE = {
    "en": {"q": [[8.0, 1.0], [4.0, 2.0]], "ffn": [[0.9, 0.5, 0.1], [0.7, 0.2, 0.3]]},
    "sw": {"q": [[6.0, 5.0], [1.0, 2.0]], "ffn": [[0.8, 0.1, 0.6], [0.7, 0.1, 0.3]]},
}


def tables(
    example: dict = EXAMPLE, bounded: Any = (), floors: Any = None, squares: Any = None
) -> tuple[pa.Table, pa.Table]:
    """The two tables of an ImpactTable. `bounded` holds (language, layer, group, neuron)."""
    rows, cells = [], []
    for language, groups in example.items():
        for group, layers in groups.items():
            for layer, values in enumerate(layers):
                for neuron, value in enumerate(values):
                    pruned = (language, layer, group, neuron) in bounded
                    rank = (sorted(values, reverse=True).index(value) + 1) / len(values)
                    rows.append({
                        "language": language, "layer": layer, "group": group, "neuron": neuron,
                        "impact_min": 10 * value, "impact_mean": None if pruned else 20 * value,
                        "impact_max": None if pruned else 30 * value, "impact_rms_min": value, "impact_seed": 5 * value,
                        "impact_smallest": None if pruned else [value, 2 * value, 3 * value],
                        "rank_worst": None if floors and group == "q" else rank, "bounded": pruned,
                    })  # fmt: skip
            floor = (floors or {}).get((language, group))
            cells.append({
                "language": language, "group": group, "n_sentences": 3, "n_tokens": 30, "floor_rms": floor,
                "seed_mean_square": (squares or {"q": 16.0, "ffn": 0.25})[group],
                "floor_raw": None if floor is None else 10 * floor, "n_bounded": 0,
                "mode": "certified" if floors else "full",
            })  # fmt: skip
    return pa.Table.from_pylist(rows, IMPACTS_SCHEMA), pa.Table.from_pylist(cells, SUMMARY_SCHEMA)


def neurons(found) -> set:
    return set(found)


def test_sigma_by_hand() -> None:
    found = select(*tables(), Sigma(0.7), model="m")
    q_en, q_sw = (
        {(0, "q", 0), (0, "q", 1), (1, "q", 0), (1, "q", 1)},
        {(0, "q", 0), (0, "q", 1), (1, "q", 0), (1, "q", 1)},
    )
    # 0.7 is stored as float32 0.69999999, which is below 0.7
    assert neurons(found.related["en"]) == q_en | {(0, "ffn", 0)}
    assert neurons(found.related["sw"]) == q_sw | {(0, "ffn", 0)}
    found = select(*tables(), Sigma(0.5), model="m")
    assert neurons(found.related["en"]) == q_en | {(0, "ffn", 0), (0, "ffn", 1), (1, "ffn", 0)}
    assert neurons(found.related["sw"]) == q_sw | {(0, "ffn", 0), (0, "ffn", 2), (1, "ffn", 0)}
    assert neurons(found.shared) == q_en | {(0, "ffn", 0), (1, "ffn", 0)}
    assert neurons(found.exclusive["en"]) == {(0, "ffn", 1)} and neurons(found.exclusive["sw"]) == {
        (0, "ffn", 2)
    }
    assert found.exclusive == found.strict_exclusive and found.n_exclusive() == {"en": 1, "sw": 1}
    assert (found.n_measured, found.shared.model, dict(found.shared.widths)) == (10, "m", {"q": 2, "ffn": 3})
    assert found.thresholds == {"q": 0.5, "ffn": 0.5}


def test_pooled_impacts_are_root_mean_squares_over_languages() -> None:
    impacts, summaries = tables()
    pooled = ImpactGrid(impacts, summaries).pooled()
    assert {place: len(values) for place, values in pooled.items()} == {
        (layer, group): width for layer in range(2) for group, width in (("q", 2), ("ffn", 3))
    }
    for (layer, group), values in pooled.items():
        of_languages = np.array([EXAMPLE[code][group][layer] for code in ("en", "sw")])
        np.testing.assert_allclose(values, 5 * np.sqrt(np.square(of_languages).mean(axis=0)), rtol=1e-6)


def test_frobenius_norm_is_another_column() -> None:
    assert select(*tables(), Sigma(5.0, per_token=False)).related == select(*tables(), Sigma(0.5)).related


def test_scaled_sigma_by_hand() -> None:
    """Scales 4 (q) and 0.5 (ffn). Scaled minima: q 1.5 .25 .25 .5; ffn 1.6 .2 .2 1.4 .2 .6."""
    found = select(*tables(), ScaledSigma(target_shared=0.3))
    assert found.setting == pytest.approx(1.4) and neurons(found.shared) == {
        (0, "q", 0),
        (0, "ffn", 0),
        (1, "ffn", 0),
    }
    assert found.thresholds == pytest.approx({"q": 5.6, "ffn": 0.7})
    assert neurons(found.exclusive["en"]) == set() and neurons(found.exclusive["sw"]) == set()
    lower = select(*tables(), ScaledSigma(sigma=1.0))
    assert neurons(lower.exclusive["en"]) == {(1, "q", 0), (0, "ffn", 1)}
    assert neurons(lower.exclusive["sw"]) == {(0, "q", 1), (0, "ffn", 2)}


def test_a_chosen_sigma_gives_the_same_sets_when_given() -> None:
    chosen = select(*tables(), ScaledSigma(target_shared=0.3))
    given_ = select(*tables(), ScaledSigma(sigma=chosen.setting))
    assert (given_.related, given_.thresholds) == (chosen.related, chosen.thresholds)
    assert chosen.describe() == {
        "name": "scaled_sigma", "sigma": chosen.setting, "target_shared": 0.3, "per_token": True, "share": 1.0
    }  # fmt: skip
    assert given_.describe()["target_shared"] is None


def test_scale_is_the_root_of_the_mean_square_over_languages() -> None:
    impacts, summaries = tables()
    rows = summaries.to_pylist()
    for row in rows:
        row["seed_mean_square"] = {("en", "q"): 1.0, ("sw", "q"): 49.0}.get(
            (row["language"], row["group"]), 1.0
        )
    found = select(impacts, pa.Table.from_pylist(rows, SUMMARY_SCHEMA), ScaledSigma(sigma=1.0))
    assert found.thresholds == {"q": 5.0, "ffn": 1.0}
    assert neurons(found.related["sw"]) == {(0, "q", 0), (0, "q", 1)}


def test_quantile_by_hand() -> None:
    found = select(*tables(), Quantile(0.5))
    assert neurons(found.related["en"]) == {
        (0, "q", 0),
        (1, "q", 0),
        (0, "ffn", 0),
        (0, "ffn", 1),
        (1, "ffn", 0),
    }
    assert neurons(found.related["sw"]) == {
        (0, "q", 0),
        (0, "q", 1),
        (0, "ffn", 0),
        (0, "ffn", 2),
        (1, "ffn", 0),
    }
    assert found.thresholds["q"] == 4.0


def test_top_ratio_is_by_layer() -> None:
    found = select(*tables(), TopRatio(0.5))
    assert neurons(found.related["en"]) == {(0, "q", 0), (1, "q", 0), (0, "ffn", 0), (1, "ffn", 0)}
    third = select(*tables(), TopRatio(1 / 3))
    assert neurons(third.shared) == {(0, "ffn", 0), (1, "ffn", 0)}, "1/3 must survive its rounding to float32"


def test_share_uses_the_later_smallest_values() -> None:
    """Two of three sentences suffice: the second smallest value, 2 v, decides."""
    assert select(*tables(), Sigma(1.0, share=2 / 3)).related == select(*tables(), Sigma(0.5)).related
    assert select(*tables(), Sigma(1.0, share=0.7)).related == select(*tables(), Sigma(1.0)).related
    with pytest.raises(SetError, match="lets 10 of the 30 sentences of en fail.*larger share"):
        impacts, summaries = tables()
        rows = [{**row, "n_sentences": 30} for row in summaries.to_pylist()]
        select(impacts, pa.Table.from_pylist(rows, SUMMARY_SCHEMA), Sigma(1.0, share=2 / 3))
    with pytest.raises(SetError, match="per_token"):
        select(*tables(), Sigma(1.0, per_token=False, share=0.5))


def test_strict_exclusive_excludes_what_any_other_language_has() -> None:
    example = {"en": {"q": [[1, 1, 1, 1]]}, "fr": {"q": [[1, 1, 0, 0]]}, "th": {"q": [[1, 0, 0, 1]]}}
    found = select(*tables(example), Sigma(0.5))
    assert neurons(found.shared) == {(0, "q", 0)}
    assert neurons(found.exclusive["en"]) == {(0, "q", 1), (0, "q", 2), (0, "q", 3)}
    assert neurons(found.strict_exclusive["en"]) == {(0, "q", 2)}
    assert len(found.strict_exclusive["fr"]) == 0
    pair = select(*tables(example), Sigma(0.5), languages=["fr", "en"])
    assert pair.languages == ("fr", "en") and neurons(pair.shared) == {(0, "q", 0), (0, "q", 1)}
    alone = select(*tables(example), Sigma(0.5), languages=["fr"])
    assert (
        alone.shared == alone.related["fr"]
        and len(alone.exclusive["fr"]) == len(alone.strict_exclusive["fr"]) == 0
    )


FLOORS = {("en", "q"): 3.0, ("sw", "q"): 1.5}
PRUNED = {("en", 0, "q", 1), ("en", 1, "q", 1), ("sw", 1, "q", 0)}


def test_thresholds_below_the_floor_are_not_certified() -> None:
    pruned = tables(bounded=PRUNED, floors=FLOORS)
    assert select(*pruned, Sigma(3.0)).related == select(*tables(), Sigma(3.0)).related
    with pytest.raises(NotCertified, match=r"group q, en: threshold 2.9, floor 3.0\)"):
        select(*pruned, Sigma(2.9))
    with pytest.raises(NotCertified, match="group q, en.*group q, sw"):
        select(*pruned, Sigma(1.0))
    select(*pruned, Sigma(30.0, per_token=False))
    with pytest.raises(NotCertified):
        select(*pruned, Sigma(29.0, per_token=False))
    select(*pruned, ScaledSigma(sigma=0.75))
    with pytest.raises(NotCertified, match="threshold 2.8"):
        select(*pruned, ScaledSigma(sigma=0.7))
    with pytest.raises(NotCertified, match="needs the rank"):
        select(*pruned, TopRatio(0.5))
    with pytest.raises(NotCertified, match="share of 0.5"):
        select(*pruned, Sigma(3.0, share=0.5))


def test_a_floor_counts_only_where_something_was_pruned() -> None:
    pruned = tables(bounded={("sw", 1, "q", 0)}, floors=FLOORS)
    assert select(*pruned, Sigma(2.0)).related == select(*tables(), Sigma(2.0)).related


def loop_selection(example: dict, passes: Any) -> tuple[set, dict]:
    related = {
        language: {
            (layer, group, n)
            for group, layers in groups.items()
            for layer, values in enumerate(layers)
            for n, value in enumerate(values)
            if passes(language, group, float(np.float32(value)))
        }
        for language, groups in example.items()
    }
    return set.intersection(*related.values()), related


VALUES = st.floats(0.0009765625, 100, width=32)
EXAMPLES = st.fixed_dictionaries({
    language: st.fixed_dictionaries({
        "q": st.lists(st.lists(VALUES, min_size=3, max_size=3), min_size=2, max_size=2),
        "ffn": st.lists(st.lists(VALUES, min_size=4, max_size=4), min_size=2, max_size=2),
    })
    for language in ("en", "fr", "sw")
})  # fmt: skip


@settings(max_examples=40)
@given(EXAMPLES, st.floats(0.01, 0.9), st.floats(0.01, 50), st.integers(0, 2**32))
def test_rules_agree_with_plain_loops_in_any_row_order(
    example: dict, target: float, sigma: float, seed: int
) -> None:
    impacts, summaries = tables(example, squares={"q": 3.7, "ffn": 0.11})
    impacts = impacts.take(pa.array(np.random.default_rng(seed).permutation(len(impacts))))
    shared, related = loop_selection(example, lambda language, group, value: value >= sigma)
    found = select(impacts, summaries, Sigma(sigma))
    assert neurons(found.shared) == shared
    assert {language: neurons(own) for language, own in found.related.items()} == related
    assert {language: neurons(own) for language, own in found.exclusive.items()} == {
        k: v - shared for k, v in related.items()
    }

    scales = {"q": math.sqrt(3.7), "ffn": math.sqrt(0.11)}
    scaled = select(impacts, summaries, ScaledSigma(target_shared=target))
    shared, related = loop_selection(
        example, lambda language, group, value: value / scales[group] >= scaled.setting
    )
    assert neurons(scaled.shared) == shared
    wanted = max(1, round(target * 14))
    assert len(shared) >= wanted, "the neuron that set sigma must pass it"
    stricter, _ = loop_selection(
        example, lambda language, group, value: value / scales[group] > scaled.setting
    )
    assert len(stricter) < wanted


def test_certified_detection_of_a_model_selects_what_full_detection_does() -> None:
    model, corpora = (
        tiny_model("qwen2"),
        {"aa": token_ids([5, 9, 7, 12, 6], seed=1), "bb": token_ids([6, 8, 10, 7], seed=2)},
    )
    full = measure_impacts(model, None, corpora, mode="full")
    pruned = measure_impacts(model, None, corpora, mode="certified", floor_fraction=0.7)
    assert any(pruned.impacts["bounded"].to_pylist())
    rule = ScaledSigma(target_shared=0.05)
    expected, found = (select(table.to_arrow(), table.summaries, rule, model="m") for table in (full, pruned))
    assert len(expected.shared) == round(0.05 * expected.n_measured) > 5
    assert (found.related, found.shared, found.exclusive) == (
        expected.related,
        expected.shared,
        expected.exclusive,
    )
    for ratio in (0.1, 0.25):
        ranked = select(full.to_arrow(), full.summaries, TopRatio(ratio)).related["aa"].counts_by_layer()
        assert all(
            n <= ratio * {"q": 32, "k": 16, "v": 16, "ffn": 40}[group] for (_, group), n in ranked.items()
        )


def test_bad_tables_are_refused() -> None:
    impacts, summaries = tables()
    with pytest.raises(SetError, match="No impacts of th; detected languages: en, sw"):
        select(impacts, summaries, Sigma(1), languages=["en", "th"])
    with pytest.raises(SetError, match="en have 9 rows where 10"):
        select(impacts.slice(1), summaries, Sigma(1))
    with pytest.raises(SetError, match="stored twice"):
        select(pa.concat_tables([impacts, impacts]), summaries, Sigma(1))
    with pytest.raises(SetError, match="No summary of en, q"):
        select(impacts, summaries.slice(1), Sigma(1))
    with pytest.raises(SetError, match="at least one language"):
        select(impacts, summaries, Sigma(1), languages=[])
    named = impacts.append_column("model", pa.array(["m"] * 19 + ["n"]))
    with pytest.raises(SetError, match="one model at a time"):
        select(named, summaries, Sigma(1))
    with pytest.raises(SetError, match="seed_mean_square_raw"):
        select(impacts, summaries, ScaledSigma(per_token=False))


def test_columns_of_the_store_are_read() -> None:
    """Chunked, dictionary-encoded text and a model column, as Hive-partitioned Parquet comes back."""
    impacts, summaries = tables()
    stored = impacts.append_column("model", pa.array(["m"] * 20))
    at = stored.column_names.index("language")
    stored = stored.set_column(at, "language", stored["language"].dictionary_encode())
    stored = pa.concat_tables([stored.slice(0, 3), stored.slice(3)])
    found = select(stored, summaries.append_column("model", pa.array(["m"] * 4)), Sigma(0.5))
    assert found.related == select(impacts, summaries, Sigma(0.5), model="m").related


def test_dead_groups_and_dead_models() -> None:
    with pytest.raises(SetError, match="group q have scale 0"):
        select(*tables(squares={"q": 0.0, "ffn": 1.0}), ScaledSigma())
    silent = {lang: {"q": [[0.0, 0.0]]} for lang in ("en", "sw")}
    with pytest.raises(SetError, match="Every impact is 0"):
        select(*tables(silent), ScaledSigma())
    one = {lang: {"q": [[0.0, 0.0, 0.0, 2.0]]} for lang in ("en", "sw")}
    assert neurons(select(*tables(one), Quantile(0.75)).shared) == {(0, "q", 3)}, (
        "a neuron without impact is not related"
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sigma(0), lambda: Sigma(math.nan), lambda: ScaledSigma(sigma=-1),
        lambda: ScaledSigma(target_shared=0),
        lambda: Quantile(1.5), lambda: TopRatio(0), lambda: Sigma(1, share=1.1),
    ],
)  # fmt: skip
def test_impossible_rules_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError, match="must be"):
        make()


def test_sensitivity_by_hand() -> None:
    rows = sensitivity(*tables(), Sigma(0.5), factors=(2.0,)).to_pylist()
    own, twice = [[row for row in rows if row["neighbour"] == name] for name in (OWN_RULE, "sigma x2")]
    assert [row["language"] for row in own] == ["en", "sw"] and all(
        row["jaccard_related"] == 1.0 for row in own
    )
    assert (own[0]["n_related"], own[0]["n_shared"], own[0]["n_exclusive"], own[0]["shared_ratio"]) == (
        7,
        6,
        1,
        6.0,
    )
    # sigma 1: four q neurons in each language, no ffn
    assert (twice[0]["sigma"], twice[0]["n_related"], twice[0]["n_shared"], twice[0]["n_exclusive"]) == (
        1.0,
        4,
        4,
        0,
    )
    assert twice[0]["jaccard_related"] == 4 / 7 and twice[0]["jaccard_shared"] == 4 / 6
    assert twice[0]["shared_ratio"] is None and twice[0]["null_reason"] == "every exclusive set is empty"


def test_sensitivity_starts_from_the_chosen_sigma() -> None:
    own = select(*tables(), ScaledSigma(target_shared=0.3))
    rows = sensitivity(*tables(), ScaledSigma(target_shared=0.3)).to_pylist()
    by_name = {row["neighbour"]: row for row in rows}
    assert len(rows) == 10 and by_name["sigma x0.5"]["sigma"] == own.setting / 2
    halved: Selection = select(*tables(), ScaledSigma(sigma=own.setting / 2))
    assert by_name["sigma x0.5"]["n_shared"] == len(halved.shared)
    common, union = halved.shared & own.shared, halved.shared | own.shared
    assert by_name["sigma x0.5"]["jaccard_shared"] == len(common) / len(union)


def test_sensitivity_says_why_a_neighbour_is_null() -> None:
    rows = sensitivity(*tables(bounded=PRUNED, floors=FLOORS), Sigma(4.0)).to_pylist()
    halved = next(row for row in rows if row["neighbour"] == "sigma x0.5")
    assert halved["n_related"] is None and "floor" in halved["null_reason"] and halved["sigma"] == 2.0
    assert next(row for row in rows if row["neighbour"] == "sigma x1.41")["n_related"] is not None
    above = sensitivity(*tables(), Quantile(0.6), factors=(2.0,)).to_pylist()[-1]
    assert above["n_related"] is None and "at most 1" in above["null_reason"]

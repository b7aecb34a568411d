"""A lowered floor gives what detection at that floor gives, and measures only what was bounded."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.impacts.detect import (
    Accumulated,
    Candidates,
    detect_language,
    detection_pass,
    measure_impacts,
)
from polyneuron.neuron_core.impacts.extend import extend_language, proving_fraction
from polyneuron.neuron_core.impacts.modes import DetectionMode
from polyneuron.neuron_core.impacts.table import LanguageImpacts
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.passes.batches import MicroBatch, as_sentences
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from tests.tiny_models import tiny_model, token_ids

LENGTHS = [9, 5, 7, 12, 6, 8, 11, 5]


class Passes:
    """Passes over one tiny model, each with what was asked of it."""

    def __init__(self, name: str, lengths: list[int] = LENGTHS, seed: int = 0) -> None:
        self.runner = LayerMajor(tiny_model(name, seed=seed))
        self.sentences = as_sentences(None, "aa", token_ids(lengths, seed=seed + 1))
        self.asked: list[tuple[int, Candidates | None]] = []

    def of(self, groups: Sequence[str]):
        @torch.no_grad()
        def run_pass(batches: list[MicroBatch], candidates: Candidates | None) -> Accumulated:
            self.asked.append((sum(len(batch.sentences) for batch in batches), candidates))
            return detection_pass(self.runner, batches, groups, candidates)

        return run_pass

    def detected(self, fraction: float, groups: Sequence[str] = GROUPS, mode: DetectionMode = "certified"):
        return detect_language(
            self.of(groups), self.sentences, groups, mode, batch_size=3, floor_fraction=fraction
        )

    def lowered(self, measured: LanguageImpacts, fraction: float) -> LanguageImpacts:
        return extend_language(
            self.of(("q", "k")), self.sentences, measured, batch_size=3, floor_fraction=fraction
        )


def require_same(found: LanguageImpacts, direct: LanguageImpacts) -> None:
    """Floors, flags, upper bounds and what the seed gave are equal; impacts up to rounding, those of ffn, v and o too, since
    layers without candidates run another attention kernel."""
    assert found.summary.equals(direct.summary)
    seed = ("impact_seed", "impact_seed_min", "impact_seed_rms_min")
    for name in ("language", "layer", "group", "neuron", "bounded", *seed):
        assert found.impacts[name].equals(direct.impacts[name]), name
    bounded = direct.impacts["bounded"]
    assert found.impacts.filter(bounded).equals(direct.impacts.filter(bounded))
    assert found.impacts["rank_worst"].is_null().equals(direct.impacts["rank_worst"].is_null())
    for name in ("impact_min", "impact_mean", "impact_max", "impact_rms_min"):
        one, other = (table.impacts[name].to_numpy() for table in (found, direct))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-6, err_msg=name)
    one, other = (table.impacts["impact_smallest"].combine_chunks() for table in (found, direct))
    assert one.value_lengths().equals(other.value_lengths())
    np.testing.assert_allclose(one.flatten().to_numpy(), other.flatten().to_numpy(), rtol=1e-4, atol=2e-6)


@given(
    st.sampled_from(["llama-gqa-tied", "llama-mha-untied", "qwen3", "gemma2", "olmo2", "phi3-partial-rope"]),
    st.lists(st.floats(0.01, 1), min_size=2, max_size=4, unique=True),
    st.lists(st.integers(2, 14), min_size=4, max_size=9),
    st.integers(0, 100),
)
@settings(max_examples=25)
def test_a_lowered_floor_is_that_of_detection(
    name: str, fractions: list[float], lengths: list[int], seed: int
) -> None:
    passes = Passes(name, lengths, seed)
    first, *further = sorted(fractions)
    found = passes.detected(first)
    for fraction in further:
        found = passes.lowered(found, fraction)
    require_same(found, passes.detected(further[-1]))


def test_all_neurons_at_last_are_those_of_full_measurement() -> None:
    passes = Passes("llama-gqa-tied")
    found, full = passes.lowered(passes.detected(0.1), 1.0).impacts, passes.detected(1, mode="full").impacts
    assert not any(found["bounded"].to_pylist())
    for name in ("impact_min", "impact_mean", "impact_max", "impact_rms_min"):
        np.testing.assert_allclose(found[name], full[name], rtol=1e-4, atol=2e-6)


def test_only_neurons_between_the_floors_are_measured() -> None:
    """By the minima of the seed: q and k neurons at or above either new floor that were below both old ones."""
    passes = Passes("llama-gqa-tied")
    first = passes.detected(0.1)
    del passes.asked[:]
    found = passes.lowered(first, 0.3)
    ((n_sentences, candidates),) = passes.asked
    assert n_sentences == len(LENGTHS) and candidates is not None
    seed = detect_language(
        passes.of(("q", "k")),
        sorted(passes.sentences, key=lambda s: len(s.token_ids))[:3],
        ("q", "k"),
        "full",
    ).impacts.to_pylist()
    asked = {(layer, g, n) for (layer, g), neurons in candidates.items() for n in neurons.tolist()}
    expected = set()
    for group in ("q", "k"):
        (old, new) = (
            next(row for row in each.summary.to_pylist() if row["group"] == group) for each in (first, found)
        )
        for row in (row for row in seed if row["group"] == group):
            reaches = [
                row["impact_min"] >= of["floor_raw"] or row["impact_rms_min"] >= of["floor_rms"]
                for of in (old, new)
            ]
            if reaches == [False, True]:
                expected.add((row["layer"], group, row["neuron"]))
    assert asked == expected and 0 < len(asked) < len(seed) / 2
    assert first.n_bounded - found.n_bounded == len(asked)
    kept = ~np.array([(r["layer"], r["group"], r["neuron"]) in asked for r in first.impacts.to_pylist()])
    assert found.impacts.filter(pa.array(kept)).equals(first.impacts.filter(pa.array(kept))), "not touched"


def test_floors_that_nobody_new_reaches_cost_no_pass() -> None:
    passes = Passes("llama-gqa-tied")
    first = passes.detected(0.3)
    del passes.asked[:]
    assert passes.lowered(first, 0.3).impacts.equals(first.impacts) and not passes.asked


@pytest.mark.parametrize(("mode", "n"), [("full", 8), ("certified", 3)])
def test_what_has_no_floor_stays(mode: DetectionMode, n: int) -> None:
    """Measured in full, or nothing beside the seed."""
    passes = Passes("qwen2", LENGTHS[:n])
    first = passes.detected(0.1, mode=mode)
    assert passes.lowered(first, 0.5).impacts.equals(first.impacts)
    assert first.impacts["impact_seed_min"].null_count == first.impacts.num_rows


def test_groups_that_were_not_detected_are_not_measured() -> None:
    passes = Passes("llama-gqa-tied")
    require_same(passes.lowered(passes.detected(0.1, ("k", "ffn")), 0.4), passes.detected(0.4, ("k", "ffn")))
    assert not any(len(neurons) for (_, group), neurons in passes.asked[2][1].items() if group == "q")  # type: ignore[union-attr]


def test_other_sentences_and_higher_floors_are_refused() -> None:
    passes = Passes("qwen2")
    first = passes.detected(0.3)
    with pytest.raises(ValueError, match=r"floor_fraction=0\.1"):
        passes.lowered(first, 0.1)
    passes.sentences = passes.sentences[1:]
    with pytest.raises(CorpusError, match="8 sentences"):
        passes.lowered(first, 0.5)


def test_the_fraction_that_proves_a_threshold() -> None:
    """Twice and twice again until the floor, counted on the seed's minima of all neurons, is low enough."""
    passes = Passes("llama-gqa-tied")
    first = passes.detected(0.05)
    floors = {
        fraction: next(
            row["floor_rms"] for row in passes.detected(fraction).summary.to_pylist() if row["group"] == "q"
        )
        for fraction in (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
    }
    for fraction, floor in floors.items():
        if fraction > 0.05:
            assert proving_fraction(first, {("q", "floor_rms"): floor}, 0.05) == fraction
            assert proving_fraction(first, {("q", "floor_rms"): floor * 1.0001}, 0.05) == fraction
    assert proving_fraction(first, {("q", "floor_rms"): 0.0}, 0.05) == 1.0
    table = measure_impacts(
        passes.runner.model, None, {"aa": token_ids(LENGTHS, seed=1)}, GROUPS, batch_size=3
    )
    assert table.impacts.schema == first.impacts.schema

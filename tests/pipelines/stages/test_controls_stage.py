"""Controls of every kind through a study without Ray: what is drawn, where it is measured, and what the store says of it."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from polyneuron.neuron_core.selection.grid import ImpactGrid
from polyneuron.neuron_core.sets.variant_name import SHARED, exclusive, strict_exclusive
from polyneuron.pipelines.stages import variants
from polyneuron.pipelines.stages.variants import ControlSource, with_controls
from tests.pipelines.in_process import TinyStudy, tiny_config
from tests.tiny_models import save_tiny_model

LANGUAGES = ("en", "sw", "de")
SEEDS = {"shared": 3, "exclusive": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny", intermediate_size=200)


def study_of(model: Path, folder: Path, **sections: Any) -> TinyStudy:
    given = {
        "languages": list(LANGUAGES),
        "detection": {"mode": "full"},
        "selection": {"target_shared": 0.02},
        "ablation": {f"{name}_control_seeds": n for name, n in SEEDS.items()},
    }
    study = TinyStudy(tiny_config(model, folder, **given | sections), model)
    study.do("corpora", "detection", "ablation", "metrics")
    return study


@pytest.fixture(scope="module")
def study(model: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyStudy:
    return study_of(model, tmp_path_factory.mktemp("study") / "store")


def sets_of(study: TinyStudy) -> dict[Any, Any]:
    sets = study.selected.selection
    own = {exclusive(code): neurons for code, neurons in sets.exclusive.items()}
    strict = {strict_exclusive(code): neurons for code, neurons in sets.strict_exclusive.items()}
    return {SHARED: sets.shared} | own | strict


def test_every_set_is_switched_off_beside_every_kind_of_control(study: TinyStudy) -> None:
    by_name = {variant.name: variant for variant in study.selected.variants}
    for name, neurons in sets_of(study).items():
        assert by_name[name].neurons == neurons and by_name[name].measured_in is None
        drawn = [variant for variant in by_name.values() if variant.name.control_of == name]
        counts = Counter(variant.name.kind for variant in drawn)
        if not len(neurons):
            assert not drawn
        elif name == SHARED:
            assert counts == {"control": 3, "impact_control": 3}
        else:
            assert counts["impact_control"] == 2 and counts["language_control"] in (1, 2)
        assert {variant.measured_in for variant in drawn} <= {name.language}
    assert sum(len(neurons) > 0 for neurons in sets_of(study).values()) == 7


def test_controls_of_a_language_are_measured_in_it_alone(study: TinyStudy) -> None:
    rows = (
        study.store.read("perplexities").select(["variant", "language", "kind", "set_language"]).to_pylist()
    )
    seen: dict[str, Counter[str]] = {}
    for row in rows:
        seen.setdefault(row["variant"], Counter())[row["language"]] += 1
    variants_measured = {str(v.name): v for v in study.selected.variants if v.neurons}
    assert set(seen) == {"base", *variants_measured}
    for name, languages in seen.items():
        home = variants_measured[name].measured_in if name != "base" else None
        assert languages == dict.fromkeys([home] if home else LANGUAGES, 3), name


def test_the_store_says_how_controls_match(study: TinyStudy) -> None:
    rows = study.store.read("controls").to_pylist()
    by_name = {str(variant.name): variant for variant in study.selected.variants}
    drawn = {name for name, variant in by_name.items() if variant.name.control_of is not None}
    assert {row["variant"] for row in rows} == drawn
    pooled = ImpactGrid(study.store.read("impacts"), study.store.read("detections")).pooled()

    def logs(variant: str) -> np.ndarray:
        return np.log([pooled[layer, group][n] for layer, group, n in by_name[variant].neurons])

    for row in rows:
        assert row["n_asked"] == by_name[row["control_of"]].n_neurons
        assert row["n_neurons"] == by_name[row["variant"]].n_neurons
        ratio = np.exp(logs(row["variant"]).mean() - logs(row["control_of"]).mean())
        assert row["impact_ratio"] == pytest.approx(ratio, rel=1e-6)
    of_shared = [row for row in rows if row["control_of"] == "shared"]
    mean = {
        kind: np.mean([row["impact_ratio"] for row in of_shared if row["kind"] == kind])
        for kind in ("control", "impact_control")
    }
    assert mean["control"] < mean["impact_control"] < 1  # the shared set has the largest impacts there are


def test_a_second_run_does_nothing_again(study: TinyStudy, model: Path) -> None:
    again = study_of(model, Path(study.config.store))
    assert again.group.n_passes == 0 and again.listed() == study.listed()
    drawn = [[(v.name, v.neurons) for v in each.selected.variants] for each in (again, study)]
    assert drawn[0] == drawn[1]


def test_another_draw_of_a_language_leaves_its_sets(study: TinyStudy, model: Path, tmp_path: Path) -> None:
    """A unit of a control holds the sentences of its own language alone."""
    name = next(n for n, neurons in sets_of(study).items() if n.language == "sw" and len(neurons))
    rows = study.store.read("perplexities")
    units = rows.filter(pc.equal(rows["variant"], str(name.control(0, "impact_control"))))["unit"].unique()
    assert len(units) == 1
    other = study_of(
        model,
        tmp_path / "store",
        languages=["sw", "en", "de"],
        corpus={"n_detection": 6, "n_heldout": 2, "max_tokens": 12},
    )
    assert not set(units.to_pylist()) & set(other.store.read("perplexities")["unit"].to_pylist())


def test_too_few_free_neurons_are_said_and_the_comparison_stays(
    study: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(variants, "say", said.append)
    sets = study.selected.selection
    whole = ImpactGrid(study.store.read("impacts"), study.store.read("detections"))
    everything = whole.to_set(np.ones(whole.n_neurons, bool))
    most = everything - sets.shared
    source = ControlSource(n_draws=4, outside=sets.shared, pooled=whole.pooled(), others=sets.shared)
    found = list(with_controls(exclusive("sw"), most, source))
    kinds = [variant.name.kind for variant in found]
    assert kinds == ["exclusive", "impact_control", "language_control"]
    assert [variant.n_neurons for variant in found[1:]] == [len(sets.shared)] * 2
    assert all(variant.control.n_asked == len(most) for variant in found[1:])
    assert len(said) == 3 and f"0 different draws of 4, with 0 of {len(most)} neurons" in said[0]

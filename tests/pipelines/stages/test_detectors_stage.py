"""Activations, detectors and their perplexities in a study without Ray: what is stored, once, and beside the report."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from polyneuron.eval.report.numbers.study import read_report
from polyneuron.eval.store.query import query
from polyneuron.eval.store.schemas import TABLES
from polyneuron.neuron_core.activations.measure import measure_activations
from polyneuron.neuron_core.activations.schema import ACTIVATIONS_SCHEMA
from polyneuron.neuron_core.activations.table import ActivationTable
from polyneuron.neuron_core.detectors.act_prob import ActProbPooled
from polyneuron.neuron_core.detectors.lape import Lape
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from tests.pipelines.in_process import TinyStudy, tiny_config
from tests.tiny_models import save_tiny_model

LAYERS, WIDTH = 3, 400
ACTIVATIONS = {"detectors": ["lape", "act_prob", "act_prob_pooled"], "sites": ["matched", "pre_activation"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny", intermediate_size=WIDTH)


class Study(TinyStudy):
    """A tiny model with detection, selection, detectors and ablation done in this process."""

    def __init__(self, model: Path, folder: Path, **activations: Any) -> None:
        sections = {"selection": {"target_shared": 0.02}, "activations": ACTIVATIONS | activations}
        super().__init__(tiny_config(model, folder, **sections), model)
        n_passes = {}
        for stage in ("corpora", "detection", "activations", "ablation", "metrics"):
            before = self.group.n_passes
            self.do(stage)
            n_passes[stage] = self.group.n_passes - before
        self.activation_passes, self.ablation_passes = n_passes["activations"], n_passes["ablation"]


@pytest.fixture(scope="module")
def study(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(model, tmp_path_factory.mktemp("study") / "store")


def test_the_schema_of_the_store_is_that_of_the_table() -> None:
    names = [n for n in TABLES["activations"].schema.names if n not in ("run_id", "unit", "model")]
    assert names == ACTIVATIONS_SCHEMA.names


def test_statistics_are_stored_a_site_and_read_back_as_measured(study: Study, model: Path) -> None:
    stored = study.store.read("activations")
    assert stored.num_rows == 2 * 2 * LAYERS * WIDTH and study.activation_passes == 2
    live, _ = load_model(model)
    for site in ("matched", "pre_activation"):
        found = ActivationTable.from_arrow(stored.filter(pc.field("site") == site))
        assert (found.model, found.languages) == ("tiny", ("en", "sw"))
        corpora = {
            name: [list(s.token_ids) for s in listed] for name, listed in study.sentences.detection.items()
        }
        direct = measure_activations(live, None, corpora, site, model_name="tiny")  # type: ignore[arg-type]
        assert found.to_arrow().equals(direct.to_arrow())


def test_sets_are_what_the_detectors_find(study: Study) -> None:
    table = ActivationTable.from_arrow(study.store.read("activations", [("site", "=", "matched")]))
    by_name = {each.detector: each for each in study.detected}
    assert by_name["lape"].sets == Lape().detect(table).sets
    assert by_name["act_prob_pooled"].sets == ActProbPooled().detect(table).sets
    assert len(by_name["act_prob"].sets["sw"]) == round(0.00125 * LAYERS * WIDTH)
    for each in study.detected:
        rows = study.store.read("neuron_sets", [("selection", "=", each.name)])
        assert set(rows["kind"].to_pylist()) == {"detected", "control"}
        mine = rows.filter(pc.field("variant") == f"{each.detector}-sw")
        stored = NeuronSet.from_arrow(mine, "tiny", {"ffn": WIDTH}, LAYERS)
        assert stored == each.sets["sw"] and set(mine["language"].to_pylist()) == {"sw"}
        control = next(v for v in each.variants if str(v.name) == f"control-{each.detector}-sw-0")
        assert control.neurons.counts_by_layer() == each.sets["sw"].counts_by_layer()
        assert not len(control.neurons & (each.sets["sw"] | each.sets["en"]))
    described = {row["detector"]: row for row in study.store.read("detectors").to_pylist()}
    assert described["lape"]["n_neurons"] == LAYERS * WIDTH and described["lape"]["site"] == "matched"
    assert json.loads(described["lape"]["rule_json"]) == Lape().describe()
    assert json.loads(described["lape"]["thresholds_json"]).keys() == {"filter", "activation_bar", "entropy"}


def test_overlaps_compare_all_methods(study: Study) -> None:
    rows = study.store.read("set_overlaps", [("selection", "=", study.selected.name)]).to_pylist()
    pairs = {(row["method_a"], row["method_b"]) for row in rows}
    # of five methods' ten pairs all but related with its part, exclusive
    assert len(pairs) == 9 and ("impact_related", "impact_exclusive") not in pairs
    assert len(rows) == 9 * 2 * (1 + LAYERS)
    lape = next(each for each in study.detected if each.detector == "lape").sets["sw"]
    related = study.selected.selection.related["sw"].restrict(["ffn"])
    row = next(
        row
        for row in rows
        if (row["method_a"], row["method_b"], row["language"], row["layer"])
        == ("impact_related", "lape", "sw", None)
    )
    assert (row["n_a"], row["n_b"]) == (len(related), len(lape))
    assert row["n_common"] == sum(neuron in lape for neuron in related)


def test_perplexity_without_each_set_in_every_language(study: Study) -> None:
    lape = next(each for each in study.detected if each.detector == "lape")
    rows = study.store.read("perplexities", [("selection", "=", lape.name)])
    names = {"base"} | {str(variant.name) for variant in lape.variants if variant.neurons}
    assert set(rows["variant"].to_pylist()) == names and len(rows) == len(names) * 2 * 3
    impacts = study.store.read("perplexities", [("selection", "=", study.selected.name)])
    columns = ["language", "sentence", "nll_nats", "n_tokens", "kind", "n_neurons"]
    base = [table.filter(pc.field("variant") == "base").select(columns) for table in (rows, impacts)]
    assert base[0].equals(base[1])
    found = [v for each in study.detected for v in each.variants if v.neurons]
    of_impacts = [v for v in study.selected.variants if v.neurons]
    # four variants of the same sentences a pass, selection by selection; the base model only once
    n_alike = Counter([None, *(variant.measured_in for variant in of_impacts)])
    at_most = sum(math.ceil(n / 4) for n in n_alike.values()) + len(found)
    assert len(found) > 3 and study.ablation_passes <= at_most
    _, matrix = query(
        study.store,
        "select p.set_language, p.language, sum(p.nll_nats - b.nll_nats) / sum(p.n_tokens) from perplexities p "
        "join perplexities b using (selection, language, sentence) where b.variant = 'base' and p.kind = 'detected' "
        "and p.selection like 'act_prob_pooled-%' group by all",
    )
    assert len(matrix) == 4 and all(change != 0 for *_, change in matrix)


def test_a_second_run_does_nothing_again(study: Study, model: Path) -> None:
    listed = study.listed()
    again = Study(model, Path(study.config.store))
    assert again.group.n_passes == 0 and again.listed() == listed
    assert [each.sets for each in again.detected] == [each.sets for each in study.detected]


def test_another_detector_reuses_the_statistics(model: Path, tmp_path: Path) -> None:
    first = Study(model, tmp_path / "store", detectors=["lape"], sites=["matched"])
    second = Study(model, tmp_path / "store", detectors=["lape", "act_prob_pooled"], sites=["matched"])
    assert (first.activation_passes, second.activation_passes) == (1, 0)
    assert first.detected[0].unit == second.detected[0].unit
    third = Study(
        model, tmp_path / "store", detectors=["lape"], sites=["pre_activation", "matched"], controls=0
    )
    assert third.activation_passes == 1 and third.detected[0].name != first.detected[0].name
    assert not any(variant.name.kind == "control" for variant in third.detected[0].variants)
    # SiLU keeps the sign, and LAPE counts signs
    assert third.detected[0].sets == first.detected[0].sets


def test_the_report_shows_the_impact_selection_alone(study: Study) -> None:
    for run in ("run", None):
        (shown,) = read_report(study.store, run).studies
        assert shown.selection == study.selected.name and not shown.other_selections
        assert not any("lape" in variant.name or "act_prob" in variant.name for variant in shown.variants)
        assert {kind for kind, _ in shown.sets.counts} <= {
            "related",
            "shared",
            "exclusive",
            "strict_exclusive",
        }
        assert shown.sets.total("exclusive", "sw") == len(study.selected.selection.exclusive["sw"])

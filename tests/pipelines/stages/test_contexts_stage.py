"""Contexts in a study without Ray: every neuron in a set has its tokens, once, and a part that is missing is all that is done."""

from __future__ import annotations

import functools
import operator
import shutil
from pathlib import Path

import pytest
import torch

from polyneuron.neuron_core.activations.table import ActivationTable
from polyneuron.neuron_core.activations.top_tokens import TopTokens
from polyneuron.neuron_core.passes.batches import Sentence
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.pipelines.stages.contexts import context_rows
from polyneuron.pipelines.stages.order import stages_of
from tests.pipelines.in_process import TinyStudy, tiny_config
from tests.tiny_models import save_tiny_model

STAGES = ("corpora", "detection", "activations", "contexts")
SECTIONS = {
    "selection": {"target_shared": 0.05},
    "activations": {"detectors": ["lape"]},
    "contexts": {"top_tokens": 4},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny", intermediate_size=400)


@pytest.fixture(scope="module")
def study(model: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyStudy:
    folder = tmp_path_factory.mktemp("study") / "store"
    return TinyStudy(tiny_config(model, folder, **SECTIONS), model).do(*STAGES)


def test_every_neuron_in_a_set_has_its_strongest_tokens_in_every_language(study: TinyStudy) -> None:
    sets = [
        *study.selected.selection.related.values(),
        *(own for found in study.detected for own in found.sets.values()),
    ]
    neurons = functools.reduce(operator.or_, sets)
    rows = study.store.read("contexts").to_pylist()
    places = {(row["language"], row["layer"], row["group"], row["neuron"], row["place"]) for row in rows}
    assert places == {(code, *n, place) for code in ("en", "sw") for n in neurons for place in (1, 2, 3, 4)}
    assert len(rows) == len(places) and {row["group"] for row in rows} >= {"q", "ffn"}
    tokenizer = study.model.tokenizer
    for row in rows:
        read = study.sentences.detection[row["language"]][row["sentence"]].token_ids
        assert row["text"] == tokenizer.decode(read)  # sentences are short enough to be kept whole
        token = tokenizer.decode([read[row["position"]]])
        assert row["text"][row["start"] : row["end"]] == token or "\ufffd" in token


def test_a_long_sentence_is_kept_in_texts_that_its_tokens_have_in_common(study: TinyStudy) -> None:
    tokenizer = study.model.tokenizer
    ids = tuple(tokenizer("the quick brown fox jumps over the lazy dog. " * 4)["input_ids"])
    sentence, n = Sentence("xx", 0, ids), len(ids)
    places = torch.arange(n)[:, None]
    one = NeuronSet.from_indices("tiny", {"ffn": 400}, 1, {(0, "ffn"): [7]})
    found = {(0, "ffn"): TopTokens(torch.zeros(n, 1), torch.zeros_like(places), places)}
    rows = context_rows(found, one, [sentence], tokenizer).to_pylist()
    whole = tokenizer.decode(ids)
    assert n > 100 and len({row["text"] for row in rows}) <= n / 15
    for at, row in enumerate(rows):
        kept = len(tokenizer(row["text"])["input_ids"])
        assert row["text"] in whole and kept <= 48 and row["text"][row["start"] : row["end"]] == whole[at]
        before, after = min(at, 16), min(n - 1 - at, 16)
        assert row["start"] >= before and len(row["text"]) - row["end"] >= after


def test_the_strongest_value_of_an_ffn_neuron_is_the_maximum_of_its_statistics(study: TinyStudy) -> None:
    table = ActivationTable.from_arrow(study.store.read("activations")).to_arrow().to_pylist()
    largest = {(row["language"], row["layer"], row["neuron"]): row["maximum"] for row in table}
    rows = study.store.read("contexts", [("group", "=", "ffn"), ("place", "=", 1)]).to_pylist()
    assert len(rows) > 4
    assert all(row["value"] == largest[row["language"], row["layer"], row["neuron"]] for row in rows)


def test_what_is_missing_is_all_that_is_done_and_comes_out_the_same(
    study: TinyStudy, model: Path, tmp_path: Path
) -> None:
    shutil.copytree(study.store.root, tmp_path / "store")
    (lost,) = (tmp_path / "store" / "contexts").glob("*/language=sw/*.parquet")
    before = lost.read_bytes()
    lost.unlink()
    again = TinyStudy(tiny_config(model, tmp_path / "store", **SECTIONS), model).do(*STAGES)
    assert again.group.n_passes == 1 and lost.read_bytes() == before
    assert {unit for table, unit in again.listed() if table == "contexts"} == set(
        again.store.read("contexts")["unit"].to_pylist()
    )


def test_only_so_many_sentences_are_read_for_them(study: TinyStudy, model: Path, tmp_path: Path) -> None:
    shutil.copytree(study.store.root, tmp_path / "store")
    sections = SECTIONS | {"contexts": {"top_tokens": 4, "n_sentences": 2}}
    again = TinyStudy(tiny_config(model, tmp_path / "store", **sections), model).do(*STAGES)
    units = {unit for table, unit in again.listed() if table == "contexts"}
    fresh = units - set(study.store.read("contexts")["unit"].to_pylist())
    rows = again.store.read("contexts", [("unit", "in", list(fresh))]).to_pylist()
    assert {row["sentence"] for row in rows} == {0, 1}


def test_the_lens_of_every_neuron_that_writes_is_kept(study: TinyStudy) -> None:
    rows = study.store.read("lens").to_pylist()
    written = {(row["layer"], row["group"], row["neuron"]) for row in rows}
    in_sets = {(r["layer"], r["group"], r["neuron"]) for r in study.store.read("contexts").to_pylist()}
    assert written == {place for place in in_sets if place[1] in ("v", "ffn", "o")} and written
    directions = {row["direction"] for row in rows if row["group"] == "v"}
    assert directions == {0, 1} and {row["place"] for row in rows} == {1, 2, 3, 4}


def test_other_sets_or_more_tokens_are_other_units(study: TinyStudy, model: Path, tmp_path: Path) -> None:
    shutil.copytree(study.store.root, tmp_path / "store")
    sections = SECTIONS | {"contexts": {"top_tokens": 5}}
    again = TinyStudy(tiny_config(model, tmp_path / "store", **sections), model).do(*STAGES)
    assert again.group.n_passes == 2 and max(again.store.read("contexts")["place"].to_pylist()) == 5


def test_a_study_without_contexts_has_none(model: Path, tmp_path: Path) -> None:
    config = tiny_config(model, tmp_path / "store")
    assert "contexts" not in [stage.name for stage in stages_of("study", config)]
    asking = tiny_config(model, tmp_path / "store", **SECTIONS)
    assert "contexts" in [stage.name for stage in stages_of("detect", asking)]

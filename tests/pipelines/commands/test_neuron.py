"""`polyneuron neuron`: each part of a page beside what the tables and the whole model say; and what is said where a part is
missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from polyneuron.eval.neurons.listing import StoredNeurons, studied
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.sets.neuron_name import NeuronName
from polyneuron.pipelines import cli
from polyneuron.pipelines.run.record import Run
from tests.eval.report.synthetic import Plan, list_units, store_with
from tests.pipelines.in_process import TinyStudy, tiny_config
from tests.tiny_models import save_tiny_model

LANGUAGES = ("en", "sw", "th")
PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
BYTES = dict(enumerate([*PRINTABLE, *(byte for byte in range(256) if byte not in PRINTABLE)], 3))
"""The byte of each token: the alphabet follows three special tokens, bytes that are printed first."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny", intermediate_size=200)


@pytest.fixture(scope="module")
def store(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that kept everything."""
    folder = tmp_path_factory.mktemp("study") / "store"
    config = tiny_config(
        model,
        folder,
        languages=list(LANGUAGES),
        detection={"mode": "full"},
        selection={"target_shared": 0.02},
        activations={"detectors": ["lape"]},
        contexts={"top_tokens": 4},
    )
    run = Run(Store(folder), config)
    TinyStudy(config, model, run.id).do("corpora", "detection", "activations", "contexts")
    run.record("finished")
    return folder


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """The exit code, and what is printed to standard output and to standard error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        cli.main(["neuron", *map(str, arguments)])
    said = capsys.readouterr()
    return left.value.code or 0, said.out, said.err  # type: ignore[return-value]


def page(capsys: pytest.CaptureFixture[str], neuron: NeuronName, store: Path, *more: object) -> Any:
    code, printed, said = asked(capsys, neuron, "--store", store, "--format", "json", *more)
    assert code == 0, said
    return json.loads(printed)


def in_sets(store: Path) -> Mapping[NeuronName, tuple[str, ...]]:
    return StoredNeurons(studied(Store(store))).sets_of()


def one_of(store: Path, group: str) -> NeuronName:
    return next(neuron for neuron in in_sets(store) if neuron.group == group)


@pytest.mark.parametrize("group", ["q", "v", "ffn"])
def test_impacts_ranks_sets_and_neighbours_are_those_of_the_tables(
    store: Path, capsys: pytest.CaptureFixture[str], group: str
) -> None:
    neuron = one_of(store, group)
    found = page(capsys, neuron, store)
    assert (found["neuron"], found["model"]) == (str(neuron), "tiny")
    rows = [row for row in Store(store).read("impacts").to_pylist() if row["group"] == group]
    for code, shown in zip(LANGUAGES, found["impacts"], strict=True):
        impacts = {(r["layer"], r["neuron"]): r["impact_rms_min"] for r in rows if r["language"] == code}
        own = impacts[neuron.layer, neuron.neuron]
        larger = sum(impact > own for impact in impacts.values())
        wanted = {"language": code, "impact": own, "rank": 1 + larger, "n_ranked": len(impacts)}
        assert shown == wanted
    (listed,) = StoredNeurons(studied(Store(store))).described([neuron]).to_pylist()
    assert listed["rank"] == max(row["rank"] for row in found["impacts"])
    assert listed["sets"] == found["sets"]
    same = [n for n, names in in_sets(store).items() if list(names) == found["sets"] and n != neuron]
    assert found["n_in_same_sets"] == len(same)
    assert found["neighbours"] == [str(n) for n in same if (n.layer, n.group) == (neuron.layer, group)]


def test_activations_and_contexts_are_those_of_the_tables(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    neuron = one_of(store, "ffn")
    found = page(capsys, neuron, store, "--top", 3)
    own = [("layer", "=", neuron.layer), ("neuron", "=", neuron.neuron)]
    stored = {row["language"]: row for row in Store(store).read("activations", own).to_pylist()}
    assert [row["language"] for row in found["activations"]] == list(LANGUAGES)
    assert all(stored[row["language"]].items() >= row.items() for row in found["activations"])
    rows = Store(store).read("contexts", [*own, ("group", "=", "ffn"), ("place", "<=", 3)]).to_pylist()
    by_place = {(row["language"], row["place"]): row for row in rows}
    assert [(each["language"], each["place"]) for each in found["contexts"]] == sorted(by_place)
    for each in found["contexts"]:
        row = by_place[each["language"], each["place"]]
        assert (each["value"], each["sentence"], each["position"]) == tuple(
            row[name] for name in ("value", "sentence", "position")
        )
        assert "".join(each["text"].values()) == row["text"]
        assert each["text"]["token"] == row["text"][row["start"] : row["end"]]


@pytest.mark.parametrize("group", ["v", "ffn"])
def test_the_lens_has_the_ends_of_a_whole_sort(
    store: Path, model: Path, capsys: pytest.CaptureFixture[str], group: str
) -> None:
    neuron = one_of(store, group)
    found = page(capsys, neuron, store, "--top", 5)["lens"]  # the store has four
    whole, tokenizer = load_model(model)
    layer = whole.model.layers[neuron.layer]
    columns = [neuron.neuron]
    if group == "v":  # two query heads of eight neurons read each key-value head
        columns = [16 * (neuron.neuron // 8) + head * 8 + neuron.neuron % 8 for head in (0, 1)]
    written = layer.mlp.down_proj if group == "ffn" else layer.self_attn.o_proj
    for direction, column in enumerate(columns):
        with torch.no_grad():
            logits = whole.lm_head.weight @ (whole.model.norm.weight * written.weight[:, column])
        logits -= logits.mean()
        for promoted in (True, False):
            order = sorted(range(len(logits)), key=lambda t, sign=1 - 2 * promoted: sign * float(logits[t]))
            shown = [t for t in found if (t["direction"], t["promoted"]) == (direction, promoted)]
            assert [token["token"] for token in shown] == order[:5]
            assert [token["place"] for token in shown] == [1, 2, 3, 4, 5]
            for token in shown:
                assert token["logit"] == pytest.approx(float(logits[token["token"]]), abs=1e-4)
                text = tokenizer.decode([token["token"]])
                byte = BYTES.get(token["token"], 0)
                assert token["text"] == (f"<0x{byte:02X}>" if "�" in text else text)
    assert len(found) == 10 * len(columns)


def test_a_q_neuron_has_no_direction_and_no_statistics(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = page(capsys, one_of(store, "q"), store)
    assert found["lens"] == found["activations"] == [] and found["contexts"]
    assert any("no output direction" in note for note in found["notes"])


def test_a_neuron_in_no_set_has_impacts_and_a_lens(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = in_sets(store)
    outside = next(n for i in range(200) if (n := NeuronName(0, "ffn", i)) not in members)
    found = page(capsys, outside, store)
    assert len(found["impacts"]) == 3 and len(found["lens"]) == 20 and found["activations"]
    assert found["sets"] == found["contexts"] == found["neighbours"] == []
    assert any("neurons in sets alone" in note for note in found["notes"])


@pytest.mark.parametrize("form", ["terminal", "md"])
def test_people_get_the_same_parts(store: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    neuron = one_of(store, "ffn")
    whole = page(capsys, neuron, store, "--top", 3)
    code, printed, _ = asked(capsys, neuron, "--store", store, "--top", 3, "--format", form)
    assert code == 0 and str(neuron) in printed
    titles = ["Impact by language", "Activation by language", "Tokens on which", "Tokens promoted"]
    at = [printed.index(title) for title in titles]
    assert at == sorted(at) and printed.count("⟦") == 9 == len(whole["contexts"])
    for row in whole["impacts"]:
        assert f"{row['impact']:.4g}" in printed


def test_what_a_store_lacks_is_said_and_a_bound_is_no_impact(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bare = list_units(store_with(tmp_path / "store", Plan(languages=LANGUAGES)))
    rows = bare.read("impacts").to_pylist()
    bounded = next(row for row in rows if row["bounded"])
    neuron = NeuronName(bounded["layer"], bounded["group"], bounded["neuron"])
    found = page(capsys, neuron, Path(bare.root))
    shown = next(row for row in found["impacts"] if row["language"] == bounded["language"])
    assert (shown["impact"], shown["rank"]) == (None, None)
    assert found["activations"] == found["contexts"] == found["lens"] == []
    notes = " ".join(page(capsys, NeuronName(0, "ffn", 0), Path(bare.root))["notes"])
    for how in ("activations.detectors=lape", "contexts.top_tokens=10", "no run has its configuration"):
        assert how in notes


def test_a_model_that_has_moved_leaves_out_its_parts_until_it_is_named(
    store: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    neuron, moved = one_of(store, "ffn"), tmp_path / "moved"
    shutil.move(model, moved)
    try:
        found = page(capsys, neuron, store)
        assert len(found["lens"]) == 8 and found["contexts"]  # what the store has
        assert any("--weights" in note for note in found["notes"])
        stored = page(capsys, neuron, store, "--top", 4)
        read = page(capsys, neuron, store, "--weights", moved)
        assert stored["lens"] == found["lens"] and not any("--weights" in note for note in stored["notes"])
        named = [[token["token"] for token in each["lens"] if token["promoted"]] for each in (stored, read)]
        assert len(named[1]) == 10 and named[0] == named[1][:4]
        outside = next(n for i in range(200) if (n := NeuronName(0, "ffn", i)) not in in_sets(store))
        assert page(capsys, outside, store)["lens"] == []
    finally:
        shutil.move(moved, model)


@pytest.mark.parametrize(
    ("name", "words"),
    [("L0.ffn.200", ("L0.ffn.200", "L0.ffn.0 to L2.ffn.199")), ("L0.o.1", ("L0.v.0",)), ("11", ("as in",))],
)
def test_a_neuron_that_is_not_there_is_answered_with_those_that_are(
    store: Path, capsys: pytest.CaptureFixture[str], name: str, words: tuple[str, ...]
) -> None:
    code, printed, said = asked(capsys, name, "--store", store)
    assert (code, printed) == (2, "") and all(word in " ".join(said.split()) for word in words)

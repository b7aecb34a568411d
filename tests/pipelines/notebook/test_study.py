"""`pn.open`: what a stored study gives is what its run selected, and a change to the model ends with its block."""

import html
import json
import shutil
from pathlib import Path

import lxml.html
import pytest
import torch

import polyneuron as pn
from polyneuron.eval.report.words.wording import language_name
from polyneuron.neuron_core.common.errors import ConfigError, ModelError, SetError, StoreError, UnknownName
from polyneuron.neuron_core.selection.rules import ScaledSigma
from polyneuron.pipelines import cli
from polyneuron.pipelines.notebook.study import OpenedStudy
from tests.tiny_models import save_tiny_model

LANGUAGES = ("en", "sw", "th")


def weights(study: OpenedStudy) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in study.base.model.state_dict().items()}


def test_it_is_found_by_its_public_name(store: Path, study: OpenedStudy) -> None:
    assert pn.open is type(study).__init__.__globals__["open_study"]
    opened = pn.open(store, "tiny")
    assert (opened.model, opened.languages, opened.selection) == ("tiny", LANGUAGES, study.selection)


def test_its_sets_are_those_that_the_rule_selects_from_its_impacts(study: OpenedStudy) -> None:
    rule = ScaledSigma(target_shared=0.02)
    selection = pn.select(study.impacts, rule=rule)
    apart = pn.select(study.impacts.to_arrow(), study.impacts.summaries, rule)
    assert dict(selection.named) == dict(apart.named)
    assert {name: study.sets[name] for name in selection} == dict(selection.named)
    assert study.sets.sizes["shared"] == len(study.sets["shared"]) > 0
    assert selection["shared"] == selection.shared and selection["related-th"] == selection.related["th"]


def test_names_that_are_not_there_are_answered_with_those_that_are(study: OpenedStudy) -> None:
    for ask in (study.sets.__getitem__, study.control, study.edit):
        with pytest.raises(UnknownName, match="'xx'.*shared, exclusive-en"):
            ask("xx")
    with pytest.raises(KeyError, match="exclusive-sw"), study.off("shared", "xx"):
        pass
    with pytest.raises(UnknownName, match="related-sw"):
        pn.select(study.impacts)["xx"]
    with pytest.raises(SetError, match="Selection; it holds shared, exclusive-en"):
        pn.WeightEdit.zero(pn.select(study.impacts))
    with pytest.raises(SetError, match="not str$"):
        pn.WeightEdit.zero("shared")


def test_the_control_is_the_studys_own_or_drawn_alike(study: OpenedStudy) -> None:
    shared, related = study.sets["shared"], [study.sets[f"related-{code}"] for code in LANGUAGES]
    stored = next(
        row["variant"] for row in study.controls.to_arrow().to_pylist()
        if (row["control_of"], row["kind"], row["seed"]) == ("shared", "control", 0)
    )  # fmt: skip
    assert study.control("shared") == study.sets[stored]
    for control in (study.control("shared"), study.control("shared", seed=99)):
        assert {place: len(control.indices(*place)) for place in control.places()} == {
            place: len(shared.indices(*place)) for place in shared.places()
        }
        assert not any(control & own for own in related)
    assert study.control("shared", seed=99) != study.control("shared")


def test_tables_come_in_three_shapes_and_read_nothing_to_say_what_they_are(study: OpenedStudy) -> None:
    for name in ("impacts", "perplexities", "scores", "noise_floor", "controls"):
        table = getattr(study, name)
        assert not {"run_id", "unit"} & set(table.columns)
        assert table.to_arrow().column_names == list(table.columns)
        assert len(table) == table.to_arrow().num_rows == len(table.to_pandas())
        assert f"{name}: {len(table)} rows" in table._repr_html_()
    frame = study.perplexities.to_pandas()
    assert set(frame["variant"]) >= {"base", "shared"} and (frame["nll_nats"] > 0).all()


def test_polars_takes_a_table_or_is_named(study: OpenedStudy) -> None:
    try:
        import polars
    except ModuleNotFoundError:
        with pytest.raises(ModuleNotFoundError, match="pip install polars"):
            study.controls.to_polars()
    else:
        assert isinstance(study.controls.to_polars(), polars.DataFrame)


def test_what_is_shown_is_short(study: OpenedStudy) -> None:
    selection = pn.select(study.impacts)
    shown = [
        study,
        study.sets,
        study.sets["shared"],
        study.impacts,
        study.perplexities,
        selection,
        selection.named,
    ]
    shown += [study.base, study.edit("shared")]
    for each in shown:
        assert len(repr(each)) < 400, type(each)
        assert not hasattr(each, "_repr_html_") or 0 < len(each._repr_html_()) < 8000


def test_a_set_is_off_inside_its_block_alone(study: OpenedStudy) -> None:
    before, answer = weights(study), study.base.generate("Habari", 8)
    with study.off("shared", study.sets["exclusive-sw"]) as model, torch.no_grad():
        both = study.sets["shared"] | study.sets["exclusive-sw"]
        without = model.model.state_dict()
        for layer, group in both.places():
            part = "mlp.gate_proj" if group == "ffn" else f"self_attn.{group}_proj"
            rows = without[f"model.layers.{layer}.{part}.weight"][both.indices(layer, group).tolist()]
            assert not rows.any()
    with pytest.raises(ZeroDivisionError), study.applied(study.edit("shared")):
        raise ZeroDivisionError
    after = weights(study)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert study.base.generate("Habari", 8) == answer
    with study.off() as model:
        assert model is study.base


def test_the_models_files_are_those_that_the_study_read(
    store: Path, model: Path, tmp_path: Path, study: OpenedStudy
) -> None:
    moved = shutil.copytree(model, tmp_path / "moved")
    assert pn.open(store, weights=moved).base.generate("a", 4) == study.base.generate("a", 4)
    other = save_tiny_model(tmp_path / "other", intermediate_size=200, seed=1)
    with pytest.raises(ModelError, match="are not those that the study of tiny read"):
        _ = pn.open(store, weights=other).base
    with pytest.raises(ModelError, match="say where its weights are"):
        _ = pn.open(store, weights=tmp_path / "nowhere").base


def test_code_that_comes_with_a_model_needs_a_word_of_ones_own(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import polyneuron.pipelines.notebook.study as notebook

    class Trusting(notebook.ModelConfig):
        @classmethod
        def model_validate(cls, section: dict) -> notebook.ModelConfig:  # type: ignore[override]
            return notebook.ModelConfig(**section | {"trust_remote_code": True})

    untouched = pn.open(store)
    monkeypatch.setattr(notebook, "ModelConfig", Trusting)
    with pytest.raises(ConfigError, match="trust_remote_code=True"):
        _ = untouched.base
    assert pn.open(store, trust_remote_code=True).base


def test_a_store_that_cannot_be_opened_says_what_there_is(store: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        pn.open(tmp_path / "nothing")
    with pytest.raises(StoreError, match="no study of 'gemma'; it holds tiny"):
        pn.open(store, "gemma")


def test_its_charts_are_the_reports(study: OpenedStudy, tmp_path: Path) -> None:
    for chart in (study.plot.perplexities(), study.plot.sizes(), study.plot.sharing()):
        assert len(repr(chart)) < 100 and chart.drawing.startswith("<svg")
        frame, page = chart._repr_html_(), chart.save(tmp_path / "chart.html").read_text("utf-8")
        assert html.unescape(frame.split('srcdoc="')[1].split('"')[0]) == page and chart.drawing in page
    assert all(f">{language_name(code)}<" in study.plot.perplexities().drawing for code in LANGUAGES)
    with pytest.raises(UnknownName, match="'xx'; there are shared"):
        study.plot.perplexities("xx")


def test_a_neurons_page_is_that_of_the_command(
    store: Path, study: OpenedStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    neuron = next(iter(study.sets["related-th"]))
    name = f"L{neuron[0]}.{neuron[1]}.{neuron[2]}"
    page = study.neuron(name, top=3)
    with pytest.raises(SystemExit):
        cli.main(["neuron", name, "--store", str(store), "--top", "3", "--format", "json"])
    assert json.loads(page.to_json()) == json.loads(capsys.readouterr().out)
    assert page.facts == study.neuron(page.facts.neuron, top=3).facts
    assert name in repr(page) and len(repr(page)) < 200 and name in page.to_markdown()
    shown = lxml.html.fromstring(page._repr_html_())
    assert len(shown.findall(".//table")) >= 1 and name in shown.text_content()
    with pytest.raises(SetError, match="as in L11.ffn.1229"):
        study.neuron("11")

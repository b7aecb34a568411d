"""A tiny study, made once, with all that the pages ask of a store."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import polyneuron as pn
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.corpora.embedded_corpus import embedded
from polyneuron.pipelines.notebook.study import open_study
from polyneuron.pipelines.run.record import Run
from polyneuron.pipelines.study import write_study_report
from tests.pages.stand_ins import known
from tests.pages.visitor import Visitor
from tests.pipelines.in_process import TinyStudy, tiny_config
from tests.pipelines.sharing.hub_double import TOKEN, HubDouble
from tests.pipelines.test_every_door import nightly, study, transfer
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("pages") / "tiny", intermediate_size=200)


@pytest.fixture(scope="session")
def place(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which blocks run."""
    place = tmp_path_factory.mktemp("place")
    config = tiny_config(
        model,
        place / "stores" / "smollm2",
        languages=["en", "sw", "th"],
        detection={"mode": "full"},
        selection={"target_shared": 0.02},
        activations={"detectors": ["lape"], "controls": 1},
        contexts={"top_tokens": 3},
    )
    store = Store(config.store)
    run = Run(store, config)
    TinyStudy(config, model, run.id, keeps_sentences=True).do(
        "corpora", "detection", "activations", "contexts", "ablation", "metrics"
    )
    run.record("finished")
    write_study_report(config, store)
    opened = open_study(config.store)
    edit = pn.WeightEdit.capture(opened.sets["shared"], pn.load_model(model)[0])
    edit.save(place / "edit.safetensors")
    for kind in (study, nightly, transfer):
        written = kind(model, Path("stores/new")) | ({"variants": []} if kind is nightly else {})
        (place / f"{kind.__name__}.yaml").write_text(yaml.safe_dump(written), "utf-8")
    return place


@pytest.fixture(scope="session")
def names(model: Path) -> dict[str, Any]:
    texts = embedded()
    loaded, tokenizer = pn.load_model(model)
    table = pn.measure_activations(
        loaded, tokenizer, {code: texts[code][:20] for code in ("en", "sw")}, site="matched", max_tokens=64
    )
    return known(texts, table)


@pytest.fixture(scope="session")
def hub() -> Iterator[HubDouble]:
    with HubDouble().running() as made:
        yield made


@pytest.fixture
def visitor(
    model: Path,
    place: Path,
    names: dict[str, Any],
    hub: HubDouble,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Visitor:
    """Somebody who types what a page shows, in a folder of their own, with a hub on this machine."""
    folder = shutil.copytree(place, tmp_path / "here")
    shutil.copytree(folder / "stores" / "smollm2", folder / "stores" / "Qwen2.5-0.5B")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "220")
    monkeypatch.setenv("POLYNEURON_CACHE", str(place / "cache"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    of_files = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    reached = {"ENDPOINT": hub.url, "HUGGINGFACE_CO_URL_TEMPLATE": of_files}
    reached |= {"HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}
    for name, value in reached.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    related = open_study("stores/smollm2").sets["related-th"]
    layer = next(layer for layer, group in related.places() if group == "ffn")
    neuron = f"L{layer}.ffn.{related.indices(layer, 'ffn')[0]}"
    languages = {"languages": ["en", "sw", "th", "zh"]}
    of_yaml = study(model, Path("stores/new")) | languages
    return Visitor(model=model, neuron=neuron, names=dict(names), study=of_yaml, capfd=capfd)

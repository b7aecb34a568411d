"""A hub on loopback, and a tiny study with a trained edit and a report to share through it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.load import load_model
from polyneuron.pipelines.notebook.study import open_study
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.record import Run
from polyneuron.pipelines.run.stored_study import stored_study
from polyneuron.pipelines.stages.training_job import edit_file
from tests.pipelines.notebook.conftest import model, store  # noqa: F401
from tests.pipelines.sharing.hub_double import TOKEN, HubDouble

VARIANT = "tuned-shared-sw"


@pytest.fixture(scope="session")
def hub() -> Iterator[HubDouble]:
    with HubDouble().running() as made:
        yield made


@pytest.fixture
def api(hub: HubDouble, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(
        "huggingface_hub.constants.HF_HUB_OFFLINE", False
    )  # the tests' hub is on this machine
    return HfApi(hub.url, TOKEN)


@pytest.fixture(scope="module")
def shared(model: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A copy of the store of a tiny study, to which a run adds a trained edit and a report."""
    folder = tmp_path_factory.mktemp("shared") / "store"
    shutil.copytree(store, folder)
    opened = Store(folder)
    run = Run(opened, stored_study(str(folder)))
    run.record("finished")
    ledger, unit = Ledger(opened, "tiny", run.id), "e" * 32
    for row in opened.read("studies").to_pylist():
        ledger.missing(row["table"], [row["unit"]])
    captured = WeightEdit.capture(open_study(folder).sets["shared"], load_model(model)[0])
    assert captured.values is not None
    edit = WeightEdit.from_values(
        captured.neuron_set, {key: 2 * value for key, value in captured.values.items()}, VARIANT
    )
    edit_file(ledger, unit).parent.mkdir()
    edit.save(edit_file(ledger, unit))
    step = {
        "strategy": "shared",
        "control_of": None,
        "reason": "asked for",
        "language": "sw",
        "seed": 0,
        "step": 0,
    }
    sizes = {"n_neurons": len(edit.neuron_set), "n_trainable": 1, "n_tokens": 1}
    numbers = {"loss_nats": 1.0, "learning_rate": 0.1, "gradient_norm": 1.0}
    row = step | sizes | numbers | {"edit": edit.fingerprint(), "variant": VARIANT}
    ledger.put("training", unit, [row], variant=VARIANT)
    ledger.close_stage()
    for name in ("report.html", "results.json"):
        (folder / name).write_text(f"{name} of tiny", encoding="utf-8")
    return folder

"""One input is changed at a time, and exactly the work that depends on it is done again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.corpora.embedded_corpus import embedded
from tests.pipelines.in_process import TinyStudy, tiny_config
from tests.tiny_models import save_tiny_model

STAGES = ("corpora", "detection", "noise_floor", "activations", "ablation", "metrics")
OF_THE_RULE = {
    "neuron_sets",
    "controls",
    "selections",
    "sensitivity",
    "noise_floor",
    "set_overlaps",
    "perplexities",
    "metrics",
}
OF_SENTENCES = {"impacts", "detections", "activations", "detectors", *OF_THE_RULE}
ALL = {"corpora", *OF_SENTENCES}
Change = Callable[[Path, dict[str, Any]], None]


class Inputs:
    """A model, two corpus files, and the settings of a study on them, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        save_tiny_model(folder / "model")
        (folder / "corpus").mkdir()
        for code in ("en", "sw"):
            (folder / "corpus" / f"{code}.txt").write_text("\n".join(embedded()[code][:12]), encoding="utf-8")
        self.settings: dict[str, Any] = {
            "corpus": {"source": str(folder / "corpus"), "n_detection": 8, "n_heldout": 4, "max_tokens": 12},
            "detection": {"floor_fraction": 0.5},
            "selection": {"target_shared": 0.05},
            "activations": {"detectors": ["lape"]},
            "ablation": {"shared_control_seeds": 1, "exclusive_control_seeds": 1, "n_bootstrap": 20},
        }

    def run(self, store: Path, run_id: str, settings: dict[str, Any]) -> dict[str, set[str]]:
        """The languages of the rows that this run wrote, by table."""
        with TinyStudy(
            tiny_config(self.folder / "model", store, **settings), self.folder / "model", run_id
        ) as study:
            study.do(*STAGES)
        redone: dict[str, set[str]] = {}
        for table in ALL:
            rows = Store(store).read(table, [("run_id", "=", run_id)]).to_pylist()
            if rows:
                redone[table] = {str(row.get("language")) for row in rows}
        return redone


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    inputs = Inputs(tmp_path_factory.mktemp("inputs"))
    assert set(inputs.run(inputs.folder / "store", "first", inputs.settings)) == ALL
    return inputs


def _one_weight(folder: Path, settings: dict[str, Any]) -> None:
    file = folder / "model" / "model.safetensors"
    weights = load_file(file)
    weights["model.layers.1.mlp.down_proj.weight"][3, 5] += 1.0
    save_file(weights, file, metadata={"format": "pt"})


def _config_of_the_model(folder: Path, settings: dict[str, Any]) -> None:
    file = folder / "model" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rms_norm_eps": 1e-4}))


def _tokenizer(folder: Path, settings: dict[str, Any]) -> None:
    file = folder / "model" / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    a, b = sorted(vocabulary, key=vocabulary.__getitem__)[-2:]
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]
    file.write_text(json.dumps(tokenizer))


def _touched(folder: Path, settings: dict[str, Any]) -> None:
    (folder / "model" / "README.md").write_text("Nothing that decides anything.")
    for file in (*(folder / "model").iterdir(), *(folder / "corpus").iterdir()):
        file.touch()


def _one_sentence(folder: Path, settings: dict[str, Any]) -> None:
    file = folder / "corpus" / "sw.txt"
    file.write_text(
        file.read_text(encoding="utf-8").replace(embedded()["sw"][0], embedded()["sw"][20]), encoding="utf-8"
    )


def _other_files(folder: Path, settings: dict[str, Any]) -> None:
    (folder / "corpus" / "de.txt").write_text("\n".join(embedded()["de"][:12]), encoding="utf-8")
    (folder / "corpus" / "LICENSE.txt").write_text("Free.")


def _set(section: str, **values: Any) -> Change:
    def change(folder: Path, settings: dict[str, Any]) -> None:
        settings[section] = {**settings.get(section, {}), **values}

    return change


def _top(**values: Any) -> Change:
    return lambda folder, settings: settings.update(values)


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "tables"),
    [
        # the table corpora says which files its sentences were cut for
        pytest.param(_one_weight, ALL, id="one weight"),
        pytest.param(_config_of_the_model, ALL, id="the model's config"),
        pytest.param(_tokenizer, ALL, id="the tokenizer"),
        pytest.param(_touched, set(), id="times of files, a readme"),
        pytest.param(_other_files, set(), id="files of nobody in the study"),
        pytest.param(_one_sentence, ALL, id="one sentence"),
        pytest.param(_top(seed=1), ALL, id="the seed"),
        pytest.param(_set("corpus", max_tokens=10), ALL, id="the length of sentences"),
        pytest.param(_set("detection", batch_size=4), OF_SENTENCES, id="batches of detection"),
        pytest.param(_set("selection", target_shared=0.1), OF_THE_RULE, id="the rule"),
        pytest.param(_set("detection", noise_floor="on"), set(), id="a noise floor that is asked for"),
        pytest.param(_set("ablation", n_bootstrap=30), {"metrics"}, id="resamples"),
        pytest.param(_set("ablation", variants_per_pass=1), set(), id="variants a pass"),
        pytest.param(_set("cluster", world_size=2, threads_per_worker=1), set(), id="workers"),
        pytest.param(_set("cluster", gpus_per_worker=1), OF_SENTENCES, id="the device of the workers"),
        pytest.param(_top(title="Another", report="elsewhere.html"), set(), id="title and place of the report"),
    ],
)  # fmt: skip
def test_what_depends_on_an_input_is_done_again_and_nothing_else(
    measured: Inputs, tmp_path: Path, change: Change, tables: set[str]
) -> None:
    inputs = Inputs.__new__(Inputs)
    inputs.folder = measured.folder  # paths are in the settings; what is changed in the folder is put back
    before = {
        file: file.read_bytes()
        for file in measured.folder.rglob("*")
        if file.is_file() and "store" not in file.parts
    }
    shutil.copytree(measured.folder / "store", tmp_path / "store")
    settings = json.loads(json.dumps(measured.settings))
    try:
        change(measured.folder, settings)
        redone = inputs.run(tmp_path / "store", "again", settings)
    finally:
        for file in measured.folder.rglob("*"):
            if file.is_file() and "store" not in file.parts:
                file.write_bytes(before[file]) if file in before else file.unlink()
    assert set(redone) == tables
    if change is _one_sentence:
        assert redone["detections"] == redone["corpora"] == {"sw"}

"""Nights in this process: what a first night says and accepts, and models that fail beside models that do not."""

import uuid
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import torch

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.neuron_core.edits.intervention import Intervention
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.pipelines.config.study import NightlyConfig
from polyneuron.pipelines.nights.judging import run_nightly
from tests.edits import random_neurons
from tests.pipelines.in_process import judge_locally
from tests.pipelines.test_secrets import everything_in
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny", max_position_embeddings=8192)


@pytest.fixture(autouse=True)
def no_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    judge_locally(monkeypatch)


class Nights:
    """Nights of one store."""

    def __init__(self, model: Path, folder: Path) -> None:
        self._model, self.folder = model, folder
        self.store = Store(folder)

    def run(
        self,
        night: str,
        baseline: str,
        max_model_len: int = 8192,
        out: Path | None = None,
        **sections: Any,
    ) -> int:
        values: dict[str, Any] = {
            "models": [{"path": str(self._model), "name": "tiny"}],
            "languages": ["en", "sw"],
            "evaluation": {
                "data": "sample",
                "benchmarks": [
                    {"name": "xnli", "max_items": 8},
                    {"name": "xquad", "max_items": 6, "max_gen_toks": 2},
                ],
                "engine": {"backend": "hf", "max_model_len": max_model_len},
            },
            "store": str(self.folder),
            "night": night,
        }
        return run_nightly(NightlyConfig.model_validate(values | sections), baseline, out)

    def summary(self, night: str, suffix: str = "md") -> str:
        return (self.folder / f"nightly-{night}.{suffix}").read_text(encoding="utf-8")

    def suite(self, night: str, number: int = 0) -> ElementTree.Element:
        return ElementTree.fromstring(self.summary(night, "xml"))[number]

    def statuses(self) -> list[str]:
        rows = self.store.read("runs").to_pylist()
        return [row["status"] for row in sorted(rows, key=lambda row: row["config_json"])]


@pytest.fixture
def nights(model: Path, tmp_path: Path) -> Nights:
    return Nights(model, tmp_path)


def test_a_first_night_is_recorded_and_the_next_is_compared_with_it(nights: Nights) -> None:
    assert nights.run("n1", "none") == 0
    for suffix in ("md", "html"):
        assert "othing to compare with" in nights.summary("n1", suffix)
        assert "judge" not in nights.summary("n1", suffix).partition("</style>")[2]
    assert "3 scores of 22 items are recorded" in nights.summary("n1")
    value = next(
        row["value"]
        for row in nights.store.read("scores").to_pylist()
        if (row["benchmark"], row["language"], row["primary"]) == ("xnli", "sw", True)
    )
    assert f"| base | xnli | sw | acc | 8 | {100 * value:.2f} | " in nights.summary("n1")
    assert {name: nights.suite("n1").get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "3",
        "failures": "0",
        "errors": "0",
    }
    assert len(nights.store.read("verdicts")) == 0
    assert nights.run("n2", "last-good") == 0
    assert "Night n2 against night n1: 3 no evidence." in nights.summary("n2")
    assert {row["baseline"] for row in nights.store.read("verdicts").to_pylist()} == {"n1"}
    assert nights.statuses() == ["ok", "ok"]


def test_a_first_night_with_unscored_items_is_not_accepted(nights: Nights) -> None:
    # XQuAD's paragraphs do not fit.
    assert nights.run("n1", "none", max_model_len=400) == 2
    assert "not accepted as a baseline: 6 of 22 items were not scored" in nights.summary("n1")
    assert "none of 6 prompts fits" in nights.summary("n1").replace("\\", "")
    assert (nights.suite("n1").get("tests"), nights.suite("n1").get("errors")) == ("3", "1")
    assert nights.run("n2", "last-good", max_model_len=400) == 2  # there is no good night
    assert "Night n2: 1 not judged." in nights.summary("n2") and "holds no good night" in nights.summary("n2")
    # Named, it can be compared with, as far as it goes.
    assert nights.run("n3", "n1", max_model_len=400) == 2
    assert "Night n3 against night n1: 1 not judged, 2 no evidence." in nights.summary("n3")
    # The cause mended, the same night is a good one.
    assert nights.run("n1", "none") == 0 and "3 scores of 22 items" in nights.summary("n1")
    assert sorted(nights.statuses()) == ["not judged"] * 3 + ["ok"]


def test_variants_from_files_are_judged_beside_their_own_model(nights: Nights, model: Path) -> None:
    live = load_model(model)[0]
    anatomy, neurons = anatomy_of(live), random_neurons(live, 2, ("ffn",))
    folder = nights.folder / "files"
    folder.mkdir()
    zero = WeightEdit.zero(neurons).save(folder / "zero")
    constants = {layer: torch.ones(2) for layer in range(anatomy.n_layers)}
    held = Intervention(neuron_set=neurons, constants=constants, name="held").save(folder / "held")
    models = [{"path": str(model), "name": name} for name in ("tiny", "twin")]
    variants = [
        {"name": "dead", "file": str(zero), "model": "tiny"},
        {"name": "held", "file": str(held), "model": "tiny"},
    ]
    benchmarks = {
        "data": "sample",
        "benchmarks": [{"name": "xnli", "max_items": 8}],
        "engine": {"backend": "hf"},
    }
    sections: dict[str, Any] = {"models": models, "variants": variants, "evaluation": benchmarks}
    assert nights.run("n1", "none", out=nights.folder / "new" / "out", **sections) == 0
    found = {
        (row["model"], row["variant"], row["kind"], row["n_neurons"])
        for row in nights.store.read("scores").to_pylist()
    }
    assert found == {
        ("tiny", "base", "base", 0),
        ("tiny", "dead", "edit", len(neurons)),
        ("tiny", "held", "intervention", len(neurons)),
        ("twin", "base", "base", 0),
    }
    responses = {
        name: nights.store.read("samples", [("model", "=", "tiny"), ("variant", "=", name)])[
            "response"
        ].to_pylist()
        for name in ("base", "dead", "held")
    }
    assert responses["base"] != responses["dead"] != responses["held"] != responses["base"]
    assert sorted(file.suffix for file in (nights.folder / "new" / "out").iterdir()) == [
        ".html",
        ".html",
        ".md",
        ".xml",
    ]
    # A file of another model is that model's failure alone.
    other = NeuronSet.from_indices("other", {"ffn": 48}, 1, {(0, "ffn"): [47]})
    WeightEdit.zero(other).save(zero)
    assert nights.run("n2", "n1", **sections) == 2
    assert [(nights.suite("n2", i).get("tests"), nights.suite("n2", i).get("errors")) for i in (0, 1)] == [
        ("1", "1"),
        ("2", "0"),
    ]


def test_other_settings_cannot_be_judged_and_name_the_field(nights: Nights) -> None:
    benchmarks = [{"name": "mgsm_direct", "n_shots": n, "max_gen_toks": 4, "max_items": 2} for n in (1, 2)]
    first, second = (
        {"data": "sample", "benchmarks": [benchmark], "engine": {"backend": "hf", "max_model_len": 8192}}
        for benchmark in benchmarks
    )
    assert nights.run("n1", "none", evaluation=first) == 0
    assert nights.run("n2", "last-good", evaluation=second) == 2
    message = str(nights.suite("n2")[0][0].get("message"))
    assert (
        "mgsm_direct in en" in message
        and "n_shots = 2 in night n2 and with n_shots = 1 in night n1" in message
    )
    assert nights.suite("n2").get("errors") == "1"


def test_a_store_elsewhere_needs_a_folder_for_the_summaries(nights: Nights) -> None:
    store = f"memory://{uuid.uuid4().hex}"
    with pytest.raises(ConfigError, match="--out"):
        nights.run("n1", "none", store=store)
    assert not Store(store).exists()


@pytest.mark.parametrize("baseline", ["none", "n1"])
def test_a_model_that_fails_is_not_judged_and_the_others_go_on(
    nights: Nights, model: Path, baseline: str
) -> None:
    assert nights.run("n1", "none") == 0
    models = [
        {"path": str(model / "nowhere"), "name": "broken"},
        {"path": str(model), "name": "tiny"},
    ]
    assert nights.run("n2", baseline, models=models) == 2
    text = nights.summary("n2")
    assert text.startswith("# Nightly benchmarks: could not judge everything")
    assert "nowhere" in text and "## tiny" in text
    broken, tiny = nights.suite("n2"), nights.suite("n2", 1)
    assert broken[0][0].tag == "error" and "nowhere" in str(broken[0][0].get("message"))
    assert (tiny.get("tests"), tiny.get("errors")) == ("3", "0")
    rows = nights.store.read("verdicts", [("model", "=", "broken")]).to_pylist()
    assert [(row["verdict"], row["baseline"]) for row in rows] == [("not judged", baseline)]
    assert nights.statuses()[-1] == "not judged"


def test_a_night_is_announced_kept_in_the_trend_and_ends_as_it_ended(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nothing listens at the webhook's port, and its URL is nowhere in the store or its log."""
    secret, step = "T000-B000-hunter2Secret", tmp_path_factory.mktemp("github") / "step"
    monkeypatch.setenv("POLYNEURON_WEBHOOK_URL", f"http://127.0.0.1:9/services/{secret}")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    assert [nights.run(night, baseline) for night, baseline in (("n1", "none"), ("n2", "n1"))] == [0, 0]
    assert step.read_text() == f"{nights.summary('n1')}\n{nights.summary('n2')}"
    page = (nights.folder / "trend.html").read_text(encoding="utf-8")
    assert "2 nights; no score became worse" in page and "running" not in page
    assert page.count("no evidence against n1") == 3
    assert secret not in everything_in(nights.folder)

"""Nights in this process: what a first night says and accepts, and models that fail beside models that do not."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from eval.store import Store
from pipelines.config import NightlyConfig
from pipelines.nightly_run import run_nightly
from pipelines.subject import Subject
from tests.pipelines.in_process import LocalJudge
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny", max_position_embeddings=8192)


@pytest.fixture(autouse=True)
def no_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Subject, "_start_judge", lambda subject: LocalJudge(subject))


class Nights:
    """Nights of one store."""

    def __init__(self, model: Path, folder: Path) -> None:
        self._model, self.folder = model, folder
        self.store = Store(folder)

    def run(self, night: str, baseline: str, max_model_len: int = 8192, **sections: Any) -> int:
        values: dict[str, Any] = {
            "models": [{"path": str(self._model), "name": "tiny"}],
            "languages": ["en", "sw"],
            "evaluation": {
                "data": "sample",
                "benchmarks": [
                    {"name": "xnli", "max_items": 4},
                    {"name": "xquad", "max_items": 3, "max_gen_toks": 2},
                ],
                "engine": {"backend": "hf", "max_model_len": max_model_len},
            },
            "store": str(self.folder),
            "night": night,
        }
        return run_nightly(NightlyConfig.model_validate(values | sections), baseline)

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
    assert "3 scores of 11 items are recorded" in nights.summary("n1")
    value = next(
        row["value"]
        for row in nights.store.read("scores").to_pylist()
        if (row["benchmark"], row["language"], row["primary"]) == ("xnli", "sw", True)
    )
    assert f"| base | xnli | sw | acc | 4 | {100 * value:.2f} | " in nights.summary("n1")
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
    assert "not accepted as a baseline: 3 of 11 items were not scored" in nights.summary("n1")
    assert "none of 3 prompts fits" in nights.summary("n1").replace("\\", "")
    assert (nights.suite("n1").get("tests"), nights.suite("n1").get("errors")) == ("3", "1")
    assert nights.run("n2", "last-good", max_model_len=400) == 2  # there is no good night
    assert "Night n2: 1 not judged." in nights.summary("n2") and "holds no good night" in nights.summary("n2")
    # Named, it can be compared with, as far as it goes.
    assert nights.run("n3", "n1", max_model_len=400) == 2
    assert "Night n3 against night n1: 1 not judged, 2 no evidence." in nights.summary("n3")
    # The cause mended, the same night is a good one.
    assert nights.run("n1", "none") == 0 and "3 scores of 11 items" in nights.summary("n1")
    assert sorted(nights.statuses()) == ["not judged"] * 3 + ["ok"]


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

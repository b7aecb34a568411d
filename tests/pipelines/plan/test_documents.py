"""How many documents a plan counts with."""

from pathlib import Path

import pytest

from polyneuron.neuron_core.training.data.documents import documents, mixture_of
from polyneuron.pipelines.config.training import TrainingConfig
from polyneuron.pipelines.plan import stages
from polyneuron.pipelines.plan.stages import ASSUMED_DOCUMENTS, assumptions, n_documents
from tests.pipelines.in_process import tiny_config


def training(**more: object) -> TrainingConfig:
    return TrainingConfig.model_validate({"languages": ["sw"], "n_documents": "all", **more})


def test_documents_at_hand_are_counted() -> None:
    whole = len(list(documents(mixture_of("embedded"), "sw", "all")))
    assert n_documents(training(mixture="embedded")) == whole != ASSUMED_DOCUMENTS
    assert n_documents(training(mixture="embedded", n_documents=7)) == 7


def test_a_large_corpus_is_counted_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sw.txt").write_text(
        "\n".join(f"Hati ya {n} inaeleza jambo moja." for n in range(50)), encoding="utf-8"
    )
    mine = training(mixture=str(tmp_path))
    assert n_documents(mine) == 50
    monkeypatch.setattr(stages, "MOST_COUNTED", 20)
    assert n_documents(mine) == 20


def test_only_a_corpus_elsewhere_is_assumed(tmp_path: Path) -> None:
    for mixture, is_assumed in (("embedded", False), ("wikipedia", True)):
        config = tiny_config(
            tmp_path,
            tmp_path,
            training={"languages": ["sw"], "n_documents": "all", "mixture": mixture},
        )
        assert any("n_documents" in line for line in assumptions(config)) == is_assumed
    assert n_documents(training(mixture="wikipedia")) == ASSUMED_DOCUMENTS

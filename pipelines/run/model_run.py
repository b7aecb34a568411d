"""One model of a study on its way through the stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.sets.variant_name import VariantName
from polyneuron.pipelines.config.study import ModelConfig, StudyConfig
from polyneuron.pipelines.run.judging_engine import JudgingEngine
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.sentences import Sentences
from polyneuron.pipelines.run.slot import Slot
from polyneuron.pipelines.run.studied_model import StudiedModel
from polyneuron.pipelines.run.workers import Workers

if TYPE_CHECKING:
    from polyneuron.pipelines.stages.detectors import DetectedSets
    from polyneuron.pipelines.stages.selection import Selected
    from polyneuron.pipelines.stages.variants import Variant


class ModelRun:
    """The parts of one model's study, and what each stage hands on to those after it. Leaving it as a context ends the
    workers and the engine."""

    sentences: Sentences
    """Of the stage corpora."""
    selected: Selected
    """Of the stage detection."""
    detected: list[DetectedSets]
    """Of the stage activations; empty where no detector is asked for."""
    perplexities: dict[VariantName, str]
    """Of the stage ablation: the unit of each variant that was measured."""
    metrics: str | None
    """Of the stage metrics: its unit; None where it did not run."""
    tuned: list[Variant]
    """Of the stage training."""

    def __init__(self, config: StudyConfig, model: ModelConfig, store: Store, run_id: str) -> None:
        """Raises ModelError when the model cannot be opened."""
        self.config = config
        self.model = StudiedModel.open(model)
        self.ledger = Ledger(store, model.label, run_id)
        self.slot = Slot()
        self.workers = Workers(self.model, config.cluster, self.slot)
        evaluation = config.evaluation
        self.engine = JudgingEngine(
            self.model,
            evaluation.engine,
            self.slot,
            data=evaluation.data,
            revisions=evaluation.revisions,
            seed=config.seed,
        )
        self.detected, self.metrics, self.tuned = [], None, []

    def __enter__(self) -> ModelRun:
        return self

    def __exit__(self, *exc: object) -> None:
        self.slot.clear()

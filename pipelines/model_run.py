"""One model of a study on its way through the stages."""

import functools
import operator

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.sets.variant_name import BASE, VariantName
from polyneuron.pipelines.config.study import ModelConfig, StudyConfig
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.models import cores_of
from polyneuron.pipelines.run.slot import JudgingEngine, Slot, Workers
from polyneuron.pipelines.run.studied_model import StudiedModel
from polyneuron.pipelines.stages.ablation import Ablation
from polyneuron.pipelines.stages.activations import (
    DetectedSets,
    find_sets,
    measure_activations,
    store_overlaps,
)
from polyneuron.pipelines.stages.contexts import store_contexts
from polyneuron.pipelines.stages.corpora import Sentences, prepare_corpora
from polyneuron.pipelines.stages.detection import PerSentence, Selected, detect_and_select
from polyneuron.pipelines.stages.evaluation import benchmark_tasks, evaluate
from polyneuron.pipelines.stages.metrics import compute_metrics
from polyneuron.pipelines.stages.noise_floor import measure_noise_floor
from polyneuron.pipelines.stages.training import train
from polyneuron.pipelines.stages.variants import Variant, variants_named
from polyneuron.pipelines.stages.verdicts import comparisons, store_verdicts


class ModelRun:
    """The parts of one model's study, and what each stage hands on to those after it.

    There is a method for each stage, which gives it the parts and the section of the configuration that it uses. `slot` is
    to be entered as a context, and ends the workers and the engine.
    """

    sentences: Sentences
    selected: Selected
    perplexities: dict[VariantName, str]
    """The unit of each variant whose perplexity was measured."""

    def __init__(
        self, config: StudyConfig, model: ModelConfig, store: Store, run_id: str, *, keeps_sentences: bool
    ) -> None:
        """`keeps_sentences`: whether a noise floor comes after detection. Raises ModelError when the model cannot be opened."""
        uses_engine = config.evaluation.benchmarks or config.ablation.through == "engine"
        self.config = config
        self.slot = Slot(cores_of(config.cluster, config.evaluation.engine if uses_engine else None))
        self.model = StudiedModel.open(model, config.cluster.device)
        self.ledger = Ledger(store, model.label, run_id)
        self.workers = Workers(self.model, config.cluster, self.slot)
        self.engine = JudgingEngine(self.model, config.evaluation, self.slot, seed=config.seed)
        self.per_sentence: PerSentence | None = {} if keeps_sentences else None
        self.detected: list[DetectedSets] = []
        self.metrics_unit: str | None = None
        self.tuned: list[Variant] = []

    def corpora(self) -> None:
        """Reads the sentences and turns them into tokens."""
        corpus, languages, seed = self.config.corpus, self.config.languages, self.config.seed
        self.sentences = prepare_corpora(self.ledger, self.model, corpus, languages, seed)

    def detection(self) -> None:
        """Measures impacts and selects sets by them."""
        self.selected = detect_and_select(
            self.ledger,
            self.sentences,
            self.workers,
            detection=self.config.detection,
            selection=self.config.selection,
            n_controls=self.config.ablation.n_controls,
            kept=self.per_sentence,
        )

    def noise_floor(self) -> None:
        """Draws how large the sets are by chance, and how stable."""
        measure_noise_floor(
            self.ledger,
            self.sentences,
            self.workers,
            self.selected,
            detection=self.config.detection,
            seed=self.config.seed,
            kept=self.per_sentence,
        )
        self.per_sentence = None  # which is large

    def activations(self) -> None:
        """Measures activations and lets detectors find sets in them."""
        config, batch_size = self.config.activations, self.config.detection.batch_size
        units = measure_activations(self.ledger, self.sentences, self.workers, config.sites, batch_size)
        measured = (config.sites[0], units[config.sites[0]])
        languages = self.sentences.languages
        self.detected = find_sets(self.ledger, languages, config.detectors, measured, config.controls)
        store_overlaps(self.ledger, self.selected, self.detected)

    def contexts(self) -> None:
        """Keeps the tokens on which the neurons in sets are strongest."""
        related = self.selected.selection.related.values()
        found = (sets for detected in self.detected for sets in detected.sets.values())
        store_contexts(
            self.ledger,
            self.sentences,
            self.workers,
            functools.reduce(operator.or_, (*related, *found)),
            config=self.config.contexts,
            batch_size=self.config.detection.batch_size,
        )

    def ablation(self) -> None:
        """Measures perplexity without each set."""
        ablation = self._ablation()
        self.perplexities = ablation.without_sets(self.selected)
        ablation.without_detected(self.detected, self.perplexities[BASE])

    def metrics(self) -> None:
        """Computes the scores from the perplexities."""
        n_bootstrap, seed = self.config.ablation.n_bootstrap, self.config.seed
        self.metrics_unit = compute_metrics(self.ledger, self.selected, self.perplexities, n_bootstrap, seed)

    def training(self) -> None:
        """Trains chosen neurons, and measures perplexity with them."""
        self.tuned = train(
            self.ledger,
            self.sentences,
            self.workers,
            self.selected,
            config=self.config.training,
            metrics=self.metrics_unit,
            seed=self.config.seed,
        )
        self._ablation().of_tuned(self.selected, self.tuned)

    def evaluation(self) -> None:
        """Judges variants on benchmarks and compares them."""
        config = self.config.evaluation
        variants = [*variants_named(self.selected.variants, config.variants), *self.tuned]
        tasks = benchmark_tasks(config, self.config.languages)
        evaluated = evaluate(self.ledger, self.engine, variants, tasks)
        store_verdicts(self.ledger, comparisons(variants), evaluated, config, seed=self.config.seed)

    def _ablation(self) -> Ablation:
        return Ablation(self.ledger, self.sentences, self.config.ablation, self.workers, self.engine)

"""Stage ablation: perplexity of the base model and of every variant on held-out sentences, of every language or of its own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from polyneuron.neuron_core.measures.perplexity import sentence_nlls
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.variant_name import BASE, VariantName
from polyneuron.pipelines.config.study import AblationConfig
from polyneuron.pipelines.run.ledger import Ledger, stage_unit
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.slot import JudgingEngine, Workers
from polyneuron.pipelines.stages.activations import DetectedSets
from polyneuron.pipelines.stages.corpora import Sentences, sentences_hash
from polyneuron.pipelines.stages.detection import Selected
from polyneuron.pipelines.stages.variants import BASE_VARIANT, Variant

Units = dict[VariantName, str]
"""The unit of each variant's perplexities."""
_SAID = 4
"""Variants that a line about a pass names."""
_OF_SENTENCE = ("language", "sentence", "nll_nats", "n_tokens")


class Ablation:
    """Perplexity on the held-out sentences of one model, through the workers or the inference engine."""

    def __init__(
        self,
        ledger: Ledger,
        sentences: Sentences,
        config: AblationConfig,
        workers: Workers,
        engine: JudgingEngine,
    ) -> None:
        self._ledger, self._config, self._sentences = ledger, config, sentences
        self._workers, self._engine = workers, engine

    def without_sets(self, selected: Selected) -> Units:
        """Measures the base model, and the model without each set of a selection; returns their units.

        A variant whose set is empty is the base model; it is not measured, and its metrics are null.

        Raises:
            ModelError, ClusterError, EngineError: as the passes or the engine.
        """
        like = selected.selection.shared
        nothing = NeuronSet.empty(like.model, like.widths, like.n_layers)
        base = {BASE: self._unit(selected.unit, BASE_VARIANT, nothing.fingerprint())}
        units = base | self._units_without(selected.unit, selected.variants)
        self._measure_missing(selected.name, (BASE_VARIANT, *selected.variants), units)
        return units

    def without_detected(self, found: Iterable[DetectedSets], base: str) -> None:
        """Measures the model without each set that a detector found, in every language.

        Deactivated neurons give the same model, bit for bit, as their activations set to zero (paper B, figures 20 to 24),
        and `WeightEdit` runs wherever the sets of impacts do. The rows of the base model (of unit `base`) are repeated
        under each detector's selection, so that it can be read alone; they are not measured again.
        """
        for detected in found:
            copied = self._unit(detected.unit, BASE_VARIANT, BASE_VARIANT.fingerprint)
            if not self._ledger.done("perplexities", copied):
                rows = self._ledger.read("perplexities", [base]).drop_columns(["run_id", "unit", "selection"])
                self._ledger.put("perplexities", copied, rows, selection=detected.name)
            units = self._units_without(detected.unit, detected.variants)
            self._measure_missing(detected.name, detected.variants, units)

    def of_tuned(self, selected: Selected, tuned: Sequence[Variant]) -> None:
        """Measures trained variants on the same held-out sentences."""
        units = {each.name: self._unit(selected.unit, each, each.fingerprint) for each in tuned}
        self._measure_missing(selected.name, tuned, units)

    def _read(self, measured_in: str | None) -> list[Sentence]:
        """The held-out sentences on which a variant is measured."""
        return self._sentences.all_heldout if measured_in is None else self._sentences.heldout[measured_in]

    def _unit(self, selection: str, variant: Variant, change: str) -> str:
        return stage_unit(
            "ablate",
            selection=selection,
            variant=str(variant.name),
            edit=change,
            heldout=sentences_hash(self._read(variant.measured_in)),
            dtype=self._workers.model.dtype,
            batch_size=self._config.batch_size,
            through=self._through(),
        )

    def _through(self) -> list[str]:
        """What computes the perplexities, and on which kind of device."""
        if self._config.through == "workers":
            return ["workers", self._workers.model.device]
        return ["engine", self._engine.settings.backend, self._engine.settings.device]

    def _units_without(self, selection: str, variants: Iterable[Variant]) -> Units:
        """The units of the variants whose set is not empty; the others are named."""
        units = {}
        for variant in variants:
            if variant.neurons:
                units[variant.name] = self._unit(selection, variant, variant.neurons.fingerprint())
            else:
                say(f"  {variant.name} is empty: nothing to deactivate, so it has no perplexity")
        return units

    def _measure_missing(
        self, selection: str, variants: Sequence[Variant], units: Mapping[VariantName, str]
    ) -> None:
        missing = self._ledger.missing("perplexities", units.values())
        at_once = self._config.variants_per_pass
        todo = [variant for variant in variants if units.get(variant.name) in missing]
        n_begun = 0
        for part in _passes(todo, at_once):
            title = f"perplexity, variants {n_begun + 1} to {n_begun + len(part)} of {len(todo)}"
            n_begun += len(part)
            for variant, rows in zip(part, self._measured(title, part), strict=True):
                self._ledger.put("perplexities", units[variant.name], rows, selection=selection)
            say(f"  measured {_listed(part)}")
        if units and not todo:
            say(f"  perplexity: all variants of {selection} are in the store")

    def _measured(self, title: str, variants: Sequence[Variant]) -> list[list[dict[str, Any]]]:
        """Rows of the table perplexities for each variant; all are measured on the same sentences."""
        edits, heldout = [variant.change for variant in variants], self._read(variants[0].measured_in)
        if self._config.through == "engine":
            by_rank = [self._engine.judge().call("sentence_nlls", edits, heldout)]
        else:
            batches = micro_batches(heldout, self._config.batch_size)
            by_rank = self._workers.run(title, sentence_nlls, batches, edits=edits)
        rows = []
        for index, variant in enumerate(variants):
            constants = variant.name.columns() | {"n_neurons": variant.n_neurons}
            nlls = sorted((nll for rank in by_rank for nll in rank[index]), key=attrgetter(*_OF_SENTENCE[:2]))
            rows.append([constants | {name: getattr(nll, name) for name in _OF_SENTENCE} for nll in nlls])
        return rows


def _listed(variants: Sequence[Variant]) -> str:
    """The names of the first few, and how many more there are."""
    names = [str(variant.name) for variant in variants]
    more = f" and {len(names) - _SAID} more" if len(names) > _SAID + 1 else ""
    return ", ".join(names[:_SAID] if more else names) + more


def _passes(variants: Iterable[Variant], at_once: int) -> Iterator[Sequence[Variant]]:
    """Variants that are measured on the same sentences, `at_once` at most; those of all languages first."""
    together: dict[str | None, list[Variant]] = {None: []}
    for variant in variants:
        together.setdefault(variant.measured_in, []).append(variant)
    for alike in together.values():
        for start in range(0, len(alike), at_once):
            yield alike[start : start + at_once]

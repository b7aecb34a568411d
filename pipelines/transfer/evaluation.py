"""What a transfer study judges: every fine-tuned model in its target languages, as it is and with activations changed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from polyneuron.neuron_core.activations.names import Site
from polyneuron.neuron_core.edits.intervened_edit import IntervenedEdit
from polyneuron.neuron_core.edits.intervention import Intervention
from polyneuron.neuron_core.edits.modes import SITES_OF, Constant, Mode
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.sets.variant_name import BASE, VariantName
from polyneuron.pipelines.config.evaluation import EvaluationConfig
from polyneuron.pipelines.config.transfer import TransferConfig
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.slot import JudgingEngine
from polyneuron.pipelines.stages.activations import stored_activations
from polyneuron.pipelines.stages.evaluation import benchmark_tasks, evaluate
from polyneuron.pipelines.stages.training_job import edit_file
from polyneuron.pipelines.stages.variants import BASE_VARIANT, Variant
from polyneuron.pipelines.stages.verdicts import Comparison
from polyneuron.pipelines.transfer.training import Sets, Tuning

NO_INTERVENTION = "none"
METRICS = {"xnli": ("acc",), "xquad": ("exact_match", "f1")}
"""What each task is judged by, as in the paper's tables."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferCell:
    """One place of the paper's tables: a fine-tuned model, judged in a language, under an intervention or none."""

    task: str
    """What it was trained for and is judged by."""
    detector: str
    """Whose neurons are intervened on, and trained."""
    tuned: str
    """What was trained; "base" for the model as it is."""
    language: str
    """The language it is judged in."""
    seed: int
    """Of the training."""
    statistic: str = NO_INTERVENTION
    """What activations are held at."""
    mode: Mode | None = None
    """Where that was measured; None without an intervention."""
    variant: VariantName
    """What is judged."""
    baselines: tuple[VariantName, ...] = ()
    """The variants it is compared with."""
    null_reason: str | None = None
    """Why it is not judged; None where it is."""

    @property
    def intervention(self) -> str:
        """Its name, such as "mean" or "p90-as-published"."""
        return self.variant.intervention or NO_INTERVENTION


def cells_of(config: TransferConfig, tunings: Sequence[Tuning], sets: Sets) -> list[TransferCell]:
    """All cells. A model that was trained without a detector's neurons has its cells once for every detector."""
    of_base = [
        TransferCell(
            task=task.name,
            detector=detector,
            tuned=str(BASE),
            language=language,
            seed=config.seeds[0],
            variant=BASE,
        )
        for task in config.tasks
        for detector in config.detectors
        for language in task.targets
    ]
    return [*of_base, *(cell for tuning in tunings for cell in _of_tuning(config, tuning, sets))]


def _of_tuning(config: TransferConfig, tuning: Tuning, sets: Sets) -> Iterator[TransferCell]:
    task, name = tuning.task, tuning.name
    tuned, seed = name.strategy, name.seed
    assert tuned is not None and seed is not None
    kinds = config.interventions.kinds if tuned in task.intervened else ()
    for detector in config.detectors if name.detector is None else (name.detector,):
        for language in tuning.languages:
            baselines = []
            if tuned != "attention":
                baselines.append(replace(name, strategy="attention", detector=None, language=None))
            if "random" in task.tuned and tuned not in ("attention", "random"):
                baselines.append(replace(name, strategy="random", detector=detector, language=language))
            plain = TransferCell(
                task=task.name,
                detector=detector,
                tuned=tuned,
                language=language,
                seed=seed,
                variant=name,
                baselines=tuple(baselines),
                null_reason=tuning.null_reason,
            )
            yield plain
            empty = None if len(sets[detector][language]) else f"the set of {language} is empty"
            for statistic, mode in kinds:
                intervened = VariantName(
                    kind="tuned and intervened",
                    tuned=name,
                    detector=detector,
                    language=language,
                    intervention=f"{statistic}-as-published" if mode == "as_published" else statistic,
                    seed=seed,
                )
                yield replace(
                    plain,
                    statistic=statistic,
                    mode=mode,
                    variant=intervened,
                    baselines=(name,),
                    null_reason=tuning.null_reason or empty,
                )


def compared_in(cells: Sequence[TransferCell]) -> list[Comparison]:
    """Each judged cell with its baselines that are judged, over the items of its task and language."""
    judged = {cell.variant for cell in cells if cell.null_reason is None}
    compared = (
        Comparison(cell.variant, baseline, (cell.task, cell.language))
        for cell in cells
        for baseline in cell.baselines
        if {cell.variant, baseline} <= judged
    )
    return list(dict.fromkeys(compared))


def evaluate_transfer(
    ledger: Ledger,
    engine: JudgingEngine,
    config: EvaluationConfig,
    cells: Sequence[TransferCell],
    *,
    trained: Sequence[tuple[Tuning, str]],
    sets: Sets,
    activations: Mapping[Site, str],
) -> list[str]:
    """Judges the base model and every cell, one fine-tuned model in memory at a time, with one engine start.

    `trained`: what `train_for_transfer` returned; `activations`: the unit of each site, from which the constants of
    interventions come. Returns the units of the scores.

    Raises:
        As `evaluate`; SetError: an edit in the store cannot be read.
    """
    tables = {site: stored_activations(ledger, site, unit) for site, unit in activations.items()}
    activation = engine.model.anatomy.activation
    tasks = benchmark_tasks(config, ())

    def intervened(cell: TransferCell, edit: WeightEdit) -> Variant:
        assert cell.mode is not None
        intervention = Intervention.from_statistics(
            sets[cell.detector][cell.language],
            tables[SITES_OF[cell.mode].statistic],
            cell.language,
            cast(Constant, cell.statistic),
            mode=cell.mode,
            activation=activation,
            name=f"{cell.detector}-{cell.language}-{cell.statistic}",
        )
        return Variant(
            name=cell.variant,
            neurons=intervention.neuron_set,
            change=IntervenedEdit(edit, intervention),
            judged_on=frozenset({(cell.task, cell.language)}),
        )

    of_base = frozenset((cell.task, cell.language) for cell in cells if cell.variant == BASE)
    units = evaluate(ledger, engine, [replace(BASE_VARIANT, judged_on=of_base)], tasks)
    for tuning, unit in trained:
        edit = WeightEdit.load(edit_file(ledger, unit))
        places = frozenset((tuning.task.name, language) for language in tuning.languages)
        variants = [Variant(name=tuning.name, neurons=edit.neuron_set, change=edit, judged_on=places)]
        variants += [
            intervened(cell, edit)
            for cell in cells
            if cell.variant.tuned == tuning.name and cell.null_reason is None
        ]
        units += evaluate(ledger, engine, variants, tasks)
    return units

"""What a transfer study judges: every fine-tuned model in its target languages, as it is and with activations changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.activations.table import ActivationTable
from polyneuron.neuron_core.edits.intervened_edit import IntervenedEdit
from polyneuron.neuron_core.edits.intervention import Intervention
from polyneuron.neuron_core.edits.modes import SITES_OF, Constant
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.sets.variant_name import BASE, VariantName
from polyneuron.pipelines.config.study import ActivationSite
from polyneuron.pipelines.config.transfer import Mode, TransferConfig
from polyneuron.pipelines.run.subject import Subject
from polyneuron.pipelines.stages.evaluation import Judged, evaluate
from polyneuron.pipelines.stages.kept_edits import edit_file
from polyneuron.pipelines.transfer.training import Sets, Tuning, tuning_name

NO_INTERVENTION = "none"


@dataclass(frozen=True)
class Cell:
    """One place of the paper's tables: a fine-tuned model, judged in a language, under an intervention or none.

    tuned: what was trained, "base" for the model as it is; detector: whose neurons are intervened on (and trained);
    statistic, mode: of the intervention, or `NO_INTERVENTION` and None; variant: its name in the store; baselines: the
    variants it is compared with; null_reason: why it is not judged; model: the variant without the intervention.
    """

    task: str
    detector: str
    tuned: str
    language: str
    seed: int
    statistic: str
    mode: Mode | None
    model: VariantName
    variant: VariantName
    baselines: tuple[VariantName, ...] = ()
    null_reason: str | None = None

    @property
    def intervention(self) -> str:
        """Its name, such as "mean" or "p90-as-published"."""
        return self.variant.intervention or NO_INTERVENTION


def cells_of(config: TransferConfig, tunings: Sequence[Tuning], sets: Sets) -> list[Cell]:
    """All cells. A model that was trained without a detector's neurons has its cells once for every detector."""
    return [*_of_base(config), *(cell for tuning in tunings for cell in _of_tuning(config, tuning, sets))]


def _of_base(config: TransferConfig) -> Iterator[Cell]:
    for task in config.tasks:
        for detector in config.detectors:
            for language in task.targets:
                yield Cell(
                    task.name,
                    detector,
                    str(BASE),
                    language,
                    config.seeds[0],
                    NO_INTERVENTION,
                    None,
                    BASE,
                    BASE,
                )


def _of_tuning(config: TransferConfig, tuning: Tuning, sets: Sets) -> Iterator[Cell]:
    task = tuning.task
    attention = tuning_name(config, task, "attention", tuning.seed)
    intervened = tuning.tuned in task.intervened
    for detector in config.detectors if tuning.detector is None else (tuning.detector,):
        for language in tuning.languages:
            place = (task.name, detector, tuning.tuned, language, tuning.seed)
            baselines: tuple[VariantName, ...] = ()
            if tuning.tuned != "attention":
                random = tuning_name(config, task, "random", tuning.seed, detector, language)
                with_random = "random" in task.tuned and tuning.tuned != "random"
                baselines = (attention, random) if with_random else (attention,)
            yield Cell(*place, NO_INTERVENTION, None, tuning.name, tuning.name, baselines, tuning.null_reason)
            for statistic, mode in config.interventions.kinds if intervened else ():
                name = VariantName(
                    kind="tuned and intervened",
                    tuned=tuning.name,
                    detector=detector,
                    language=language,
                    intervention=f"{statistic}-as-published" if mode == "as_published" else statistic,
                    seed=tuning.seed,
                )
                empty = None if len(sets[detector][language]) else f"the set of {language} is empty"
                yield Cell(
                    *place, statistic, mode, tuning.name, name, (tuning.name,), tuning.null_reason or empty
                )


@dataclass(frozen=True)
class Changes:
    """What interventions are made of: neurons by detector and language, statistics by site, and the model's activation."""

    sets: Sets
    tables: Mapping[ActivationSite, ActivationTable]
    activation: str

    def intervention(self, cell: Cell) -> Intervention:
        """That of a cell that has one."""
        assert cell.mode is not None
        return Intervention.from_statistics(
            self.sets[cell.detector][cell.language],
            self.tables[SITES_OF[cell.mode].statistic],
            cell.language,
            cast(Constant, cell.statistic),
            cell.mode,
            activation=self.activation,
            name=f"{cell.detector}-{cell.language}-{cell.statistic}",
        )


def evaluate_transfer(
    subject: Subject,
    store: Store,
    run_id: str,
    tunings: Sequence[Tuning],
    units: Mapping[VariantName, str],
    cells: Sequence[Cell],
    changes: Changes,
) -> list[str]:
    """Judges the base model and every cell, one fine-tuned model in memory at a time, with one engine start.

    units: what `train_for_transfer` returned. Returns the units of the scores.

    Raises:
        As `evaluate`; SetError: an edit in the store cannot be read.
    """
    places = frozenset((cell.task, cell.language) for cell in cells if cell.variant == BASE)
    found = evaluate(subject, store, run_id, [Judged(BASE, None, judged_on=places)])
    for tuning in tunings:
        if tuning.name not in units:
            continue
        edit = WeightEdit.load(edit_file(store, units[tuning.name]))
        mine = [cell for cell in cells if cell.model == tuning.name and cell.null_reason is None]
        found += evaluate(subject, store, run_id, _judged(tuning, edit, mine, changes))
    return found


def _judged(tuning: Tuning, edit: WeightEdit, cells: Sequence[Cell], changes: Changes) -> list[Judged]:
    judged = [
        Judged(
            tuning.name,
            edit,
            len(edit.neuron_set),
            judged_on=frozenset((tuning.task.name, language) for language in tuning.languages),
        )
    ]
    for cell in cells:
        if cell.mode is None:
            continue
        intervention = changes.intervention(cell)
        judged.append(
            Judged(
                cell.variant,
                IntervenedEdit(edit, intervention),
                len(intervention.neuron_set),
                judged_on=frozenset({(cell.task, cell.language)}),
            )
        )
    return judged

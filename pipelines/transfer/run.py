"""The transfer study (paper B): do language-specific neurons carry a task from one language to another?"""

from pathlib import Path
from typing import Any

from polyneuron.eval.store.store import Store
from polyneuron.eval.tables.grid import Grid
from polyneuron.eval.tables.text import terminal
from polyneuron.neuron_core.common.files import write_text
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.config.transfer import TransferConfig
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.models import cores_of, each_model, exit_code
from polyneuron.pipelines.run.progress import console, show
from polyneuron.pipelines.run.record import Run, recorded
from polyneuron.pipelines.run.slot import JudgingEngine, Slot, Workers
from polyneuron.pipelines.run.studied_model import StudiedModel
from polyneuron.pipelines.stages.activations import find_sets, measure_activations
from polyneuron.pipelines.stages.corpora import prepare_corpora
from polyneuron.pipelines.stages.training_job import require_local
from polyneuron.pipelines.stages.verdicts import store_verdicts
from polyneuron.pipelines.transfer.evaluation import METRICS, cells_of, compared_in, evaluate_transfer
from polyneuron.pipelines.transfer.table import as_markdown, notes, transfer_grids, transfer_page, unfolded
from polyneuron.pipelines.transfer.training import Sets, train_for_transfer, tunings_of

TITLE, REPORT, TABLES = "Transfer study", "transfer.html", "transfer.md"


def run_transfer(config: TransferConfig) -> int:
    """Measures, detects, fine-tunes, judges and compares for every model; writes `transfer.html` and `transfer.md` beside the
    tables in the end.

    What is done is left alone. Returns the exit code: 0, or 1 when a model failed and others went on.

    Raises:
        ConfigError: the store is no local folder. PolyneuronError: the only model failed, or the store cannot be used.
    """
    store = Store(config.store)
    require_local(store.root)
    with recorded(config, store) as run:
        found = each_model(
            config.models,
            config.cluster,
            config.engine,
            run,
            lambda model: _transfer_model(config, model, store, run),
        )
        run.record(run.outcome)  # before the pages, which say how the run ended
        grids = [grid for of_model, _ in found for grid in of_model]
        shown = {run.id}.union(*(run_ids for _, run_ids in found))
        _write_pages(config, grids, [row for row in _runs(store) if row["run_id"] in shown])
    return exit_code(run)


def _write_pages(config: TransferConfig, grids: list[Grid], runs: list[dict[str, Any]]) -> None:
    remarks, folder = notes(config, grids), Path(config.store)
    page = transfer_page(TITLE, [model.label for model in config.models], grids, remarks, runs)
    write_text(folder / REPORT, page, "report")
    write_text(folder / TABLES, as_markdown(TITLE, grids, remarks), "tables")
    for grid in grids:
        console.print(terminal(unfolded(grid)))
    show(f"tables: {folder / TABLES}")
    show(f"report: {folder / REPORT}")


def _runs(store: Store) -> list[dict[str, Any]]:
    """All runs of the store, the newest last."""
    rows: list[dict[str, Any]] = store.read("runs").to_pylist()
    return sorted(rows, key=lambda row: (row["started_at"], row["run_id"]))


def _transfer_model(
    config: TransferConfig, model: ModelConfig, store: Store, run: Run
) -> tuple[list[Grid], set[str]]:
    """The tables of a model, and the runs that wrote what they show."""
    opened = StudiedModel.open(model, config.cluster.device)
    ledger = Ledger(store, model.label, run.id)
    with Slot(cores_of(config.cluster, config.evaluation.engine)) as slot:
        workers = Workers(opened, config.cluster, slot)
        engine = JudgingEngine(opened, config.evaluation, slot, seed=config.seed)
        with run.timed("corpora"):
            sentences = prepare_corpora(ledger, opened, config.corpus, config.languages, seed=config.seed)
        with run.timed("activations"):
            units = measure_activations(ledger, sentences, workers, config.sites, config.batch_size)
        with run.timed("detection"):
            measured = (config.sites[0], units[config.sites[0]])
            found = find_sets(ledger, config.languages, config.detectors, measured, n_controls=0)
            sets: Sets = {each.detector: each.sets for each in found}
            tunings = tunings_of(config, model, sets, opened.anatomy)
            cells = cells_of(config, tunings, sets)
        with run.timed("training"):
            trained = train_for_transfer(ledger, workers, config, tunings)
        with run.timed("evaluation"):
            judged = config.evaluation
            evaluated = evaluate_transfer(
                ledger, engine, judged, cells, trained=trained, sets=sets, activations=units
            )
            compared = compared_in(cells)
            verdicts = store_verdicts(ledger, compared, evaluated, judged, seed=config.seed, metrics=METRICS)
    scores, rows = (
        ledger.read("scores", evaluated).to_pylist(),
        ledger.read("verdicts", [verdicts]).to_pylist(),
    )
    return transfer_grids(config, model, cells, scores, rows), {row["run_id"] for row in (*scores, *rows)}

"""What a night would do and what its start would refuse, before anything is judged."""

from typing import Any

from polyneuron.cluster.capacity.engine import Requests
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import PolyneuronError
from polyneuron.pipelines.config.study import ModelConfig, NightlyConfig
from polyneuron.pipelines.nights.entrants import baseline_night, variants_of_night
from polyneuron.pipelines.plan.case import PlannedCase
from polyneuron.pipelines.plan.engine import task_requests
from polyneuron.pipelines.plan.refusals import read_benchmarks, require_usable
from polyneuron.pipelines.plan.seen_model import seen_model
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.slot import JudgingEngine, Slot
from polyneuron.pipelines.run.studied_model import StudiedModel
from polyneuron.pipelines.stages.evaluation import benchmark_tasks, units_to_judge
from polyneuron.pipelines.tracking.tracker import tracker_of


def night_ahead(
    config: NightlyConfig, baseline: str
) -> tuple[dict[str, str | None], dict[str, PolyneuronError]]:
    """By label, the night that each model would be compared with, None for none; and the models that a start would not judge, and
    why. Raises PolyneuronError for what would be refused whatever the model."""
    store, compared, refused = Store(config.store), {}, {}
    require_usable(store)
    tracker_of(config.tracking)
    read_benchmarks(config.evaluation, config.languages)
    assert config.night is not None
    for model in config.models:
        try:
            variants_of_night(config, model.label, seen_model(model).anatomy)
            compared[model.label] = baseline_night(store, model.label, config.night, baseline)
        except PolyneuronError as error:
            refused[model.label] = error
    return compared, refused


def night_requests(config: NightlyConfig, case: PlannedCase) -> Requests:
    """What a night asks of the engine of one model: every benchmark in every language for every variant."""
    n_variants = 1 + sum(variant.model == case.model.label for variant in config.variants)
    times = n_variants * len(config.evaluation.languages or config.languages)
    return (
        sum((task_requests(case.config, asked) for asked in config.evaluation.benchmarks), Requests()) * times
    )


def units_of_night(config: NightlyConfig, model: ModelConfig) -> dict[str, Any]:
    """Scores done and to do. Those of the hub's data are known once its revision is looked up, which this does not."""
    tasks = benchmark_tasks(config.evaluation, config.languages)
    n_units = (1 + sum(variant.model == model.label for variant in config.variants)) * len(tasks)
    store = Store(config.store)
    if config.evaluation.data == "hub" or not store.exists():
        return {"scores": {"to_do_at_most": n_units}}
    opened = StudiedModel.open(model)
    with Slot(config.evaluation.engine.threads) as slot:
        engine = JudgingEngine(opened, config.evaluation, slot, seed=config.seed)
        variants = variants_of_night(config, model.label, opened.anatomy)
        ledger = Ledger(store, model.label)
        missing = len(ledger.missing("scores", units_to_judge(ledger, engine, variants, tasks, config.night)))
    return {"scores": {"done": n_units - missing, "to_do": missing}}

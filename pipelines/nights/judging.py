"""The nightly regression run: judge models, compare with an earlier night, say truthfully how it went."""

from pathlib import Path

from polyneuron.eval.nightly.announce import OUTCOMES
from polyneuron.eval.nightly.judge import Judgement, first_night, judge, worst
from polyneuron.eval.nightly.render import html, junit, markdown
from polyneuron.eval.nightly.sections import ModelNight
from polyneuron.eval.nightly.trend import TREND_FILE, write_trend
from polyneuron.eval.store.store import Store
from polyneuron.eval.store.units import unit_key
from polyneuron.eval.verdicts.verdict import Verdict
from polyneuron.neuron_core.common.files import write_text
from polyneuron.neuron_core.common.names import safe_name
from polyneuron.neuron_core.sets.variant_name import BASE
from polyneuron.pipelines.config.study import ModelConfig, NightlyConfig
from polyneuron.pipelines.nights.announcing import announce, links_of_workflow, tried
from polyneuron.pipelines.nights.entrants import (
    LAST_GOOD,
    NO_BASELINE,
    baseline_night,
    folder_of_summaries,
    tonight,
    variants_of_night,
)
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.progress import say, show
from polyneuron.pipelines.run.record import Run, reason_of, recorded
from polyneuron.pipelines.run.slot import JudgingEngine, Slot
from polyneuron.pipelines.run.studied_model import StudiedModel
from polyneuron.pipelines.stages.evaluation import benchmark_tasks, evaluate
from polyneuron.pipelines.tracking.tracker import tracker_of
from polyneuron.pipelines.tracking.tracking import tracked


def run_nightly(config: NightlyConfig, baseline: str = LAST_GOOD, out: Path | None = None) -> int:
    """Judges every model, writes `nightly-<night>.md`, `.html` and `.xml` (JUnit) and the page of all nights, `trend.html`, and
    announces the night (`announce`), which changes nothing about how it ends.

    `baseline`: "last-good", a night's label or run id, or "none", which accepts this night as a good one if every item was
    scored. Run again under the same night, it goes on at the first benchmark that is missing. Returns 0 ok, 1 regression,
    2 could not judge.

    Raises:
        MissingExtra: a tracker is asked for that is not installed.
        ConfigError: there is no place for the summaries. StoreError: the store cannot be used.
    """
    config, folder = tonight(config), folder_of_summaries(config, out)
    assert config.night is not None
    begin = tracker_of(config.tracking)
    store, nights = Store(config.store), list[ModelNight]()
    with recorded(config, store) as run:
        for model in config.models:
            say(f"{model.label}, night {config.night}")
            nights.append(_judge_model(config, model, store, run, baseline))
        outcome = worst(night.outcome for night in nights)
        for night in nights:
            if isinstance(night, Judgement) and night.verdicts:
                unit = unit_key(stage="nightly", model=night.model, night=night.night, run=run.id)
                Ledger(store, night.model, run.id).put("verdicts", unit, night.table())
        run.outcome = OUTCOMES[outcome]
        name = f"nightly-{safe_name(config.night)}"
        for suffix, render in (("md", markdown), ("html", html), ("xml", junit)):
            write_text(folder / f"{name}.{suffix}", render(nights), "summary of the night")
        show(f"{OUTCOMES[outcome]}: {folder / name}.html")
        links = {"summary": f"{folder / name}.html", "trend": str(folder / TREND_FILE)}
        for night in nights:
            with tracked(begin, config, "nightly", store=store, model=night.model, run=run) as tracking:
                tracking.night(config.night, OUTCOMES[night.outcome], links | links_of_workflow())
    with tried("The trend over nights was not written"):
        say(f"trend over nights: {write_trend(store, folder / TREND_FILE)}")
    announce(nights, folder / f"{name}.md")
    return int(outcome)


def _judge_model(
    config: NightlyConfig, model: ModelConfig, store: Store, run: Run, baseline: str
) -> ModelNight:
    """A model that fails is not judged; the others go on."""
    assert config.night is not None
    named = None if baseline in (NO_BASELINE, LAST_GOOD) else baseline
    try:
        opened = StudiedModel.open(model)
        with Slot(config.evaluation.engine.threads) as slot, run.timed("evaluation"):
            engine = JudgingEngine(opened, config.evaluation, slot, seed=config.seed)
            variants = variants_of_night(config, model.label, opened.anatomy)
            tasks = benchmark_tasks(config.evaluation, config.languages)
            ledger = Ledger(store, model.label, run.id)
            evaluate(ledger, engine, variants, tasks, config.night)
        names = [str(variant.name) for variant in variants]
        if baseline == NO_BASELINE:
            first = first_night(store, model.label, config.night, names)
            say(f"  compared with nothing: {OUTCOMES[first.outcome]}")
            return first
        named = baseline_night(store, model.label, config.night, baseline)
        assert named is not None
        judged = judge(
            store,
            model.label,
            config.night,
            named,
            names,
            alpha=config.evaluation.alpha,
            min_effect=config.evaluation.min_effect,
            few_items_pass=config.few_items == "pass",
            seed=config.seed,
        )
        say(f"  against night {named}: {OUTCOMES[judged.outcome]}")
        return judged
    except Exception as error:
        words = reason_of(error, f"{model.label} was not judged")
        show(f"  not judged: {words}")
        reason = _unjudged(model.label, config, baseline, words)
        return Judgement(
            model=model.label,
            night=config.night,
            baseline_night=named,
            alpha=config.evaluation.alpha,
            min_effect=config.evaluation.min_effect,
            verdicts=(reason,),
        )


def _unjudged(model: str, config: NightlyConfig, baseline: str, reason: str) -> Verdict:
    evaluation = config.evaluation
    return Verdict(
        model=model,
        night=config.night,
        benchmark="all",
        language="all",
        metric="none",
        filter="none",
        variant=str(BASE),
        baseline=baseline,
        alpha=evaluation.alpha,
        min_effect=evaluation.min_effect,
        reason=reason,
    )

"""The tables of a transfer study in all their forms, on rows as the store holds them."""

import io
import json
from pathlib import Path
from typing import Any

import lxml.html
from rich.console import Console

from polyneuron.eval.tables.text import terminal
from polyneuron.neuron_core.sets.variant_name import BASE, VariantName
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.config.transfer import TransferConfig
from polyneuron.pipelines.transfer.evaluation import TransferCell
from polyneuron.pipelines.transfer.table import (
    Grid,
    as_markdown,
    notes,
    transfer_grids,
    transfer_page,
    unfolded,
)
from tests.golden import assert_golden

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = '</td><script>alert(1)</script>|`a`[b](c)"\n<b>'
MODEL = ModelConfig(path="/models/Mistral-Nemo-Base-2407", name="nemo")
CONFIG = TransferConfig.model_validate(
    {
        "models": [MODEL.model_dump()],
        "languages": ["en", "vi"],
        "detectors": ["act_prob"],
        "tasks": [{"name": "xnli", "targets": ["vi"], "tuned": ["attention", "target", "random"]}],
        "evaluation_data": "sample",
        "store": "store",
    }
)


def tuned(strategy: str) -> VariantName:
    return VariantName(kind="tuned", task="xnli", strategy=strategy, detector="act_prob", language="vi")


def cell(tuned: str, variant: VariantName, **more: Any) -> TransferCell:
    given = {"task": "xnli", "detector": "act_prob", "language": "vi", "seed": CONFIG.seeds[0]}
    return TransferCell(**given, tuned=tuned, variant=variant, **more)


ATTENTION, TARGET, RANDOM = map(tuned, ("attention", "target", "random"))
HELD = VariantName(
    kind="tuned and intervened",
    tuned=ATTENTION,
    detector="act_prob",
    language="vi",
    intervention="p10-as-published",
)
CELLS = [
    cell("base", BASE),
    cell("attention", ATTENTION),
    cell("attention", HELD, statistic="p10", mode="as_published", baselines=(ATTENTION,)),
    cell("target", TARGET, baselines=(ATTENTION, RANDOM)),
    cell("random", RANDOM, baselines=(ATTENTION,)),
    cell("source", tuned("source"), null_reason="the set of vi is empty"),
]


def score(variant: VariantName, value: float | None, **more: Any) -> dict[str, Any]:
    given = {"variant": str(variant), "benchmark": "xnli", "language": "vi", "metric": "acc", "n_unscored": 0}
    ends = {"low": None, "high": None} if value is None else {"low": value - 0.1, "high": value + 0.1}
    return {**given, "value": value, "null_reason": None, **ends, **more}


def verdict(variant: VariantName, baseline: VariantName, word: str) -> dict[str, Any]:
    where = {"benchmark": "xnli", "language": "vi", "metric": "acc"}
    return {"variant": str(variant), "baseline": str(baseline), "verdict": word, **where}


SCORES = [
    score(BASE, 0.35),
    score(ATTENTION, 0.5, n_unscored=2),
    score(HELD, 0.25),
    score(RANDOM, None, null_reason="no prompt fits"),
]
VERDICTS = [
    verdict(HELD, ATTENTION, "worse"),
    verdict(TARGET, ATTENTION, "better"),
    verdict(TARGET, RANDOM, "no evidence"),
]
GRIDS = transfer_grids(CONFIG, MODEL, CELLS, [*SCORES, score(TARGET, 0.75)], VERDICTS)
RUN = {
    "run_id": "r1",
    "started_at": "2026-01-01T00:00:00+00:00",
    "finished_at": "2026-01-01T01:00:00+00:00",
    "status": "partly failed",
    "command": "polyneuron transfer",
    "config_json": json.dumps({"models": [{"path": "m"}], "alpha": 0.05}),
    "versions_json": json.dumps({"torch": "2"}),
    "hardware_json": None,
    "seeds_json": None,
    "timings_json": json.dumps({"training_s": 60.0}),
    "failures_json": json.dumps([{"model": "other", "stage": "training", "reason": "out of memory"}]),
}


def page(grids: list[Grid], *runs: dict[str, Any]) -> str:
    return transfer_page("Transfer study", ["nemo"], grids, notes(CONFIG, grids), runs)


def test_the_pages_are_the_golden_ones() -> None:
    assert_golden(page(GRIDS, RUN), GOLDEN / "transfer.html")
    assert_golden(as_markdown("Transfer study", GRIDS, notes(CONFIG, GRIDS)), GOLDEN / "transfer.md")
    out = io.StringIO()
    for grid in GRIDS:
        Console(file=out, width=130, no_color=True).print(terminal(unfolded(grid)))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert_golden("\n".join([*lines, ""]), GOLDEN / "transfer.txt")


def test_a_cell_holds_score_verdicts_and_the_papers_number_or_null_and_why() -> None:
    (grid,) = GRIDS
    shown = {line.cells[0].text: line.cells[2:] for line in grid.rows}
    assert [column.text for column in grid.columns[2:]] == ["no intervention", "p10-as-published"]
    target, no_intervention = shown["target"]
    assert (target.text, target.tone) == ("75.0 [65.0, 85.0]", "better") and not no_intervention.text
    assert target.marks == ("better than attention", "no evidence against random")
    held = shown["attention"][1]
    assert (held.text, held.marks, held.details) == ("25.0 [15.0, 35.0]", ("worse",), ("paper 40.7",))
    assert shown["attention"][0].text == "50.0 [40.0, 60.0], 2 not scored"
    assert (shown["random"][0].text, shown["random"][0].details[0]) == ("null", "no prompt fits")
    assert (shown["source"][0].text, shown["source"][0].details) == ("null", ("the set of vi is empty",))
    unscored = transfer_grids(CONFIG, MODEL, CELLS[:1], [], [])[0].rows[0].cells[2]
    assert unscored.text == "null" and unscored.details[0] == "not scored"


def test_text_from_outside_stays_text() -> None:
    hostile = ModelConfig.model_construct(path="m", name=HOSTILE)
    cells = [cell("target", TARGET, null_reason=HOSTILE)]
    grids = transfer_grids(CONFIG, hostile, cells, [], [])
    run = RUN | {
        "command": HOSTILE,
        "failures_json": json.dumps([dict.fromkeys(("model", "stage", "reason"), HOSTILE)]),
    }
    tree = lxml.html.fromstring(page(grids, run))
    assert not tree.xpath("//script") and not tree.xpath("//main//b")
    assert len(as_markdown("Transfer study", grids, []).splitlines()) == 7

"""The list of stages: what each command runs, that needs come first, and that the page on studies says the same."""

from pathlib import Path

import pytest

from polyneuron.pipelines.config.load import CONFIGS, load_study
from polyneuron.pipelines.stages.order import COMMANDS, STAGES, stages_of

PAGE = Path(__file__).parents[3] / "docs" / "study.md"
DETECTORS, TRAINING = "activations.detectors=[lape]", "training.languages=[sw]"
AUTO, SHARED = "training.strategies=[auto]", "training.strategies=[shared]"
BENCHMARKS, NONE = "evaluation.benchmarks=[{name: xnli}]", "evaluation.benchmarks=[]"


@pytest.mark.parametrize(
    ("command", "overrides", "expected"),
    [
        ("detect", [], "corpora detection noise_floor contexts"),
        ("detect", ["contexts.top_tokens=0"], "corpora detection noise_floor"),
        ("detect", ["detection.noise_floor=off"], "corpora detection contexts"),
        (
            "detect",
            [DETECTORS, TRAINING, AUTO, BENCHMARKS],
            "corpora detection noise_floor activations contexts",
        ),
        ("ablate", [TRAINING, BENCHMARKS], "corpora detection ablation metrics"),
        ("train", [TRAINING, SHARED], "corpora detection training"),
        ("train", [TRAINING, AUTO, DETECTORS], "corpora detection activations ablation metrics training"),
        ("train", ["training.languages=[]", AUTO], "corpora detection ablation metrics"),
        ("evaluate", [TRAINING, AUTO, BENCHMARKS], "corpora detection evaluation"),
        ("evaluate", [NONE], "corpora detection"),
        (
            "study",
            [TRAINING, SHARED, DETECTORS, BENCHMARKS],
            "corpora detection noise_floor activations contexts ablation metrics training evaluation",
        ),
        ("study", ["training.languages=[]", NONE], "corpora detection noise_floor contexts ablation metrics"),
    ],
)
def test_what_each_command_runs(command: str, overrides: list[str], expected: str) -> None:
    config = load_study(CONFIGS / "study_smollm2.yaml", overrides)
    assert [stage.name for stage in stages_of(command, config)] == expected.split()


def test_what_a_stage_needs_comes_before_it() -> None:
    before: set[str] = set()
    for stage in STAGES:
        assert {*stage.needs, *stage.auto_needs} <= before
        before.add(stage.name)
    assert all(set(command.stages) <= before for command in COMMANDS.values())


def test_the_page_lists_the_stages() -> None:
    """A row a stage: its name, what it does, what it needs, and the commands that run it."""
    rows = []
    for stage in STAGES:
        needs = ", ".join((*stage.needs, *(f"{name} for `auto`" for name in stage.auto_needs)))
        commands = ", ".join(
            f"`{name}`" for name, command in COMMANDS.items() if stage.name in command.stages
        )
        rows.append(f"| {stage.name} | {stage.title} | {needs} | {commands} |")
    assert "\n".join(rows) in PAGE.read_text(encoding="utf-8"), "\n".join(rows)

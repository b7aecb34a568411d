"""The configuration of transfer studies: what is refused, and what follows from it."""

from pathlib import Path

import pytest

from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.pipelines.config.load import CONFIGS, load_transfer

QUICK = CONFIGS / "transfer_smollm2.yaml"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tasks.0.targets=[sw]", "xnli needs sw, which languages does not list"),
        ("tasks.0.targets=[en]", "source language en among its targets"),
        ("tasks.0.tuned=[target]", "lacks attention"),
        ("tasks.0.intervened=[attention, attention]", "tasks.0.intervened: attention is listed twice"),
        ("tasks.0.detectors=[act_prob]", "detectors act_prob, not listed"),
        ("tasks.0.training.recipe=mnli", "no recipe 'mnli'; there are xnli, xnli-nemo, xquad"),
        ("tasks.0.training.recipes={other: xnli}", "models not listed: other"),
        ("tasks.0.training.n_item=3", "did you mean tasks.0.training.n_items"),
        ("interventions.statistic=[mean]", "did you mean interventions.statistics"),
        ("interventions.statistics=[p99]", "interventions.statistics.0"),
        ("detectors=[lape, lape]", "lape is listed twice"),
        ("languages=[en]", "at least two different languages"),
        ("corpus.sources={xx: embedded}", "corpus.sources names xx"),
    ],
)
def test_mistakes_are_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_transfer(QUICK, [override])


def test_the_base_is_in_4_bits_on_gpus_as_in_the_paper() -> None:
    def in_nf4(*overrides: str) -> bool:
        config = load_transfer(QUICK, list(overrides))
        return config.trains_in_nf4(config.tasks[0])

    assert not in_nf4() and in_nf4("cluster.gpus_per_worker=1")
    assert in_nf4("tasks.0.training.base=nf4")
    assert not in_nf4("cluster.gpus_per_worker=1", "tasks.0.training.base=plain")
    assert not in_nf4("cluster.gpus_per_worker=1", "zero_stage=3")
    with pytest.raises(ConfigError, match="ZeRO-3 cannot shard a base in nf4; set zero_stage=2"):
        load_transfer(QUICK, ["tasks.0.training.base=nf4", "zero_stage=3"])


def test_sites_and_kinds_of_interventions() -> None:
    config = load_transfer(QUICK, ["interventions.modes=[matched, as_published]"])
    assert config.sites == ("matched", "pre_activation")
    kinds = config.interventions.kinds
    assert len(kinds) == 7 and kinds[-1] == ("zero", "matched")
    assert load_transfer(Path("transfer_smollm2")).sites == ("matched",)


def test_the_papers_languages_and_recipes() -> None:
    config = load_transfer(Path("transfer_paper_b"))
    assert {task.name: task.targets for task in config.tasks} == {
        "xnli": ("vi", "hi", "ur"),
        "xquad": ("vi", "hi", "zh"),
    }
    assert len(config.languages) == 16 and len(config.tasks[0].tuned) == 5

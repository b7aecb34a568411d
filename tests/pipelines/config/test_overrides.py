"""Overrides from the command line: lists with commas, another model, and values that nobody would give."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.pipelines.config.load import load_nightly, load_study, load_transfer
from tests.pipelines.mutated_configs import ODD_SCALARS

LOADERS = {"study_smollm2": load_study, "nightly_smollm2": load_nightly, "transfer_smollm2": load_transfer}


@pytest.mark.parametrize(
    ("commas", "written_out"),
    [
        ("languages=en, sw,de", "languages=[en, sw, de]"),
        ("languages=no,en", "languages=['no', en]"),
        ("detection.groups=ffn", "detection.groups=[ffn]"),
        ("activations.detectors=lape,act_prob", "activations.detectors=[lape, act_prob]"),
        ("evaluation.languages=en", "evaluation.languages=[en]"),
        ("evaluation.benchmarks=xnli,xquad", "evaluation.benchmarks=[{name: xnli}, {name: xquad}]"),
        ("training.seeds=0,7", "training.seeds=[0, 7]"),
        ("training.languages=sw,th", "training.languages=[sw, th]"),
        ("corpus.sources.sw.source=a,b", "corpus.sources.sw.source='a,b'"),
        ("title=one, two", "title='one, two'"),
        ("evaluation.languages=null", "evaluation.languages=~"),
    ],
)
def test_lists_may_be_written_with_commas(commas: str, written_out: str) -> None:
    others = ["training.languages=[]", "evaluation.languages=[en]"] if commas.startswith("languages") else []
    assert load_study("study_smollm2", [*others, commas]) == load_study(
        "study_smollm2", [*others, written_out]
    )


def test_another_path_is_another_model() -> None:
    """Its name, revision and trust were the old one's; what is given beside it counts, wherever it stands."""
    old = [
        "models=[{path: a, name: A, revision: r, dtype: bfloat16, trust_remote_code: true, add_bos: true}]"
    ]
    (kept,) = load_study("study_smollm2", old).models
    assert kept.trust_remote_code
    (model,) = load_study("study_smollm2", ["models.0.path=folder"]).models
    assert (model.path, model.gguf_package, model.label) == ("folder", None, "folder")
    (model,) = load_study("study_smollm2", ["models.0.name=B", "models.0.path=folder"]).models
    assert (model.path, model.label) == ("folder", "B")
    model = load_study("paper_models", ["models.0.gguf_package=p"]).models[0]
    assert (model.gguf_package, model.path, model.dtype, model.name) == ("p", None, "bfloat16", None)
    with pytest.raises(ConfigError, match="1 is not one of the 1 entries"):
        load_study("study_smollm2", ["models.1.path=folder"])


def places(node: Any, prefix: str = "") -> Iterator[str]:
    """The key of everything in a configuration."""
    parts = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in parts:
        yield f"{prefix}{key}"
        yield from places(value, f"{prefix}{key}.")


@pytest.mark.parametrize("name", LOADERS)
def test_no_override_ends_in_a_traceback(name: str) -> None:
    chance = random.Random(5)
    keys = [
        *places(LOADERS[name](name).model_dump(mode="json")),
        "models.0.path",
        "models.7.path",
        "nothing",
        "a.b",
        "-",
        "",
    ]
    outcomes = {True: 0, False: 0}
    for _ in range(600):
        asked = []
        for _ in range(chance.choice((1, 1, 2, 3))):
            values = [
                chance.choice((*ODD_SCALARS, "en", "sw", "xnli", "3"))
                for _ in range(chance.choice((1, 1, 2, 4)))
            ]
            key = chance.choice(keys) + chance.choice(("", "", "", ".0", ".x", "."))
            asked.append(f"{key}={','.join(values)}")
        try:
            LOADERS[name](name, asked)
            outcomes[True] += 1
        except ConfigError as refused:
            outcomes[False] += 1
            assert len(refused.message.splitlines()) <= 10, asked
    assert outcomes[True] > 2 and outcomes[False] > 300

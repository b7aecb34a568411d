"""Configuration: every shipped file loads, every mistake is named with its mend."""

import subprocess
import sys
from pathlib import Path

import pytest

from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.pipelines.config.load import load_nightly, load_study, load_transfer

CONFIGS = sorted((Path(__file__).parents[3] / "pipelines" / "configs").glob("*.yaml"))
QUICK = Path(__file__).parents[3] / "pipelines" / "configs" / "study_smollm2.yaml"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_load(path: Path) -> None:
    if path.stem.startswith("nightly"):
        assert load_nightly(path).evaluation.benchmarks
    elif path.stem.startswith("transfer"):
        assert load_transfer(path).tasks
    else:
        assert load_study(path).languages == ("en", "zh", "th", "sw", "fr", "de")


def test_a_nightly_configuration_needs_something_to_judge_and_known_models() -> None:
    nightly = QUICK.with_name("nightly_smollm2.yaml")
    with pytest.raises(ConfigError, match="nothing to judge by"):
        load_nightly(nightly, ["evaluation.benchmarks=[]"])
    with pytest.raises(ConfigError, match="not listed: other"):
        load_nightly(nightly, ["variants=[{name: a, file: a.safetensors, model: other}]"])
    with pytest.raises(ConfigError, match="did you mean evaluation.engine.threads"):
        load_nightly(nightly, ["evaluation.engine.thread=2"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluation.languages=[en, xx]", "evaluation.languages names xx"),
        ("training.languages=[xx]", "training.languages names xx"),
        ("evaluation.benchmarks=[{name: mgsm}]", "there is no benchmark 'mgsm'"),
        ("evaluation.engine.gpus=3", "tensor_parallel x pipeline_parallel is 1, but gpus is 3"),
        ("training.low_score=9", "above high_score"),
        ("activations.detectors=[lape, lape]", "lape is listed twice"),
        ("activations.detectors=[act_prob_90p]", "activations.detectors.0"),
        ("activations.sites=[]", "activations.sites"),
        ("activations={detectors: [lape], sites: [up]}", "activations.sites.0"),
        ("training.strategies=[best]", "training.strategies.0"),
    ],
)
def test_settings_that_contradict_each_other_are_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_study(QUICK, [override])


def test_detectors_need_the_impacts_of_ffn_neurons() -> None:
    """A study that leaves ffn out and asks for no detector is as good as ever."""
    assert load_study(QUICK, ["detection.groups=[q]"]).activations.detectors == ()
    with pytest.raises(ConfigError, match="add ffn to detection.groups"):
        load_study(QUICK, ["detection.groups=[q]", "activations.detectors=[lape]"])


def test_the_papers_twenty_models_are_there() -> None:
    paper = load_study(QUICK.with_name("paper_models.yaml"))
    assert len(paper.models) == 20
    assert all(model.add_bos for model in paper.models if "gemma" in str(model.path))


def test_overrides_reach_every_level() -> None:
    study = load_study(
        QUICK, ["corpus.n_heldout=7", "models.0.dtype=bfloat16", "languages=[en, zh, sw]", "seed=3"]
    )
    assert (study.corpus.n_heldout, study.models[0].dtype, study.languages, study.seed) == (
        7,
        "bfloat16",
        ("en", "zh", "sw"),
        3,
    )


def test_small_models_share_a_gpu() -> None:
    study = load_study(
        QUICK,
        ["cluster={gpus_per_worker: 0.5}", "evaluation.engine={gpus: 0.4, gpu_memory_utilization: 0.35}"],
    )
    assert (study.cluster.gpus_per_worker, study.evaluation.engine.gpus) == (0.5, 0.4)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("corpus.n_detecton=3", r"unknown key corpus.n_detecton; did you mean corpus.n_detection\?"),
        ("cluser.world_size=1", r"unknown key cluser; did you mean cluster\?"),
        ("models.0.dtyp=float32", r"did you mean models.0.dtype\?"),
        ("detection.groups=[q, z]", "unknown groups \\['z'\\]; there are q, k, v, ffn, o"),
        ("languages=[en]", "at least two different languages"),
        ("languages=[en, sw, en]", "en is listed twice"),
        ("languages=[en sw]", "put commas between languages, as in en,sw"),
        ("selection.rule=sigma", "needs selection.sigma"),
        ("seed=abc", "seed: .*got 'abc'"),
        ("models.5.path=x", "5 is not one of the 1 entries"),
        ("nonsense", "not of the form key.sub=value"),
        ("models=[{path: x, gguf_package: y}]", "either path or gguf_package"),
        ("cluster={gpus_per_worker: 0.5, world_size: 2}", "NCCL refuses. Set world_size=1"),
        ("cluster.gpus_per_worker=2", "less than or equal to 1"),
        ("cluster.models_at_once=0", "greater than or equal to 1"),
        ("evaluation.engine.gpus=0.5", "set gpu_memory_utilization to 0.5 or less"),
        ("evaluation.engine={gpus: 0.5, tensor_parallel: 2}", "pipeline_parallel is 2, but gpus is 0.5"),
    ],
)
def test_mistakes_are_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_study(QUICK, [override])


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_study(tmp_path / "absent.yaml")
    (tmp_path / "broken.yaml").write_text("models: [")
    with pytest.raises(ConfigError, match="not YAML"):
        load_study(tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match="must be a mapping"):
        load_study(tmp_path / "list.yaml")


def test_help_and_config_errors_import_nothing_heavy() -> None:
    code = (
        "import sys\nfrom polyneuron.pipelines.cli import main\n"
        "for arguments in (['--help'], ['study', '--help'], ['study', '--config', 'absent.yaml']):\n"
        "    try: main(arguments)\n    except SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'transformers', 'deepspeed', 'pandas', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=QUICK.parents[2])
    assert done.returncode == 0, done.stderr

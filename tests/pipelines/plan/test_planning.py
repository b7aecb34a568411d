"""The plan against the model it speaks of: exact counts, and units that are done."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from polyneuron.cluster.capacity.calibration import LayerMeasurement
from polyneuron.cluster.capacity.devices import parse_devices
from polyneuron.cluster.capacity.engine import EngineNeed, Requests, generating_bytes
from polyneuron.cluster.capacity.estimate import Stage
from polyneuron.cluster.capacity.rates import Rates
from polyneuron.eval.tasks.benchmarks import BENCHMARKS
from polyneuron.neuron_core.common.errors import ClusterError
from polyneuron.neuron_core.model.load import load_model
from polyneuron.pipelines import cli
from polyneuron.pipelines.config.evaluation import BenchmarkConfig
from polyneuron.pipelines.config.load import CONFIGS, load_transfer, with_overrides
from polyneuron.pipelines.config.study import SelectionConfig, StudyConfig
from polyneuron.pipelines.plan.engine import study_requests, task_requests
from polyneuron.pipelines.plan.planning import ModelPlan, plan, study_of
from polyneuron.pipelines.plan.units import n_trainings
from polyneuron.pipelines.stages.corpora import Sentences
from polyneuron.pipelines.stages.detection import detect
from tests.pipelines.in_process import TinyStudy, tiny_config
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def layer_measured(**values: Any) -> LayerMeasurement:
    """What calibrating says, but for `values`."""
    plain = {"on_gpu": True, "flops_per_s": 2e14, "score_slowdown": None, "detection_memory": 1.0}
    return LayerMeasurement(device="a device", dtype="bfloat16", **plain | values)


def rates_of(row: ModelPlan) -> dict[str, Rates]:
    return {planned.stage.name: planned.rates for planned in row.stages}


def planned(config: StudyConfig) -> ModelPlan:
    """The plan of its only model, for this machine."""
    (row,) = plan(config).models
    return row


def test_parameters_and_neurons_are_those_of_the_model(model: Path, tmp_path: Path) -> None:
    row = planned(tiny_config(model, tmp_path / "store", cluster={"world_size": 2}))
    live, _ = load_model(model)
    assert row.shape is not None
    assert row.shape.parameters == sum(p.numel() for p in live.parameters())
    assert row.neurons == {"q": 3 * 32, "k": 3 * 16, "v": 3 * 16, "ffn": 3 * 40}
    assert row.stages[0].stage.peak.host["shard"] == row.shape.parameters * 4 // 2
    # base and shared, two kinds of sets, two kinds of controls of the shared one and three of each language's
    assert row.units["perplexity"]["to_do_at_most"] == 2 + 2 * 2 + 2 * 1 + 2 * 2 * 3 * 1


def test_trainings_and_benchmarks_are_counted(model: Path, tmp_path: Path) -> None:
    row = planned(
        tiny_config(
            model,
            tmp_path / "store",
            training={
                "languages": ["sw", ["en", "sw"]],
                "strategies": ["shared", "random"],
                "seeds": [0, 1, 2],
            },
            evaluation={
                "benchmarks": [{"name": "xnli"}, {"name": "mmmlu"}],
                "languages": ["sw"],
                "variants": ["exclusive-*"],
            },
        )
    )
    assert row.units["training"] == {"to_do_at_most": 2 * 2 * 3}
    assert row.units["benchmarks"] == {"to_do_at_most": (1 + 2 + 12) * 2 * 1}
    assert row.units["perplexity"]["to_do_at_most"] == 2 + 2 * 2 + 2 * 1 + 2 * 2 * 3 * 1 + 12


@pytest.mark.parametrize(
    ("strategies", "n"),
    [(["shared", "full"], 2), (["random"], 1), (["random", "lora"], 2), (["auto", "exclusive", "random"], 4)],
)
def test_random_is_trained_once_for_each_set(strategies: list[str], n: int, tmp_path: Path) -> None:
    training = {"languages": ["sw"], "strategies": strategies}
    assert n_trainings(tiny_config(tmp_path, tmp_path / "store", training=training)) == n


def test_activations_and_detected_sets_are_counted(model: Path, tmp_path: Path) -> None:
    without = planned(tiny_config(model, tmp_path / "store"))
    activations = {"detectors": ["lape", "act_prob"], "sites": ["matched", "pre_activation"], "controls": 2}
    row = planned(tiny_config(model, tmp_path / "store", activations=activations))
    assert row.units["activations"] == {"to_do_at_most": 2}
    assert row.units["perplexity_of_detected_sets"] == {"to_do_at_most": 2 * 2 * (1 + 2)}
    assert row.units.items() > without.units.items()
    # the hidden states of both languages wait at once
    activations = next(one for one in row.stages if one.stage.name == "activations")
    assert activations.stage.peak.host["hidden states"] == 2 * 6 * 12 * 32 * 4


def test_a_model_that_is_not_there_is_a_row_with_its_error(tmp_path: Path) -> None:
    row = planned(tiny_config(Path("/nowhere/at/all"), tmp_path / "store"))
    assert row.error is not None and "No model at /nowhere/at/all" in row.error


def test_units_in_the_store_are_done(model: Path, tmp_path: Path) -> None:
    """One of two languages measured, without any worker: its pass is run here."""
    study = tiny_config(model, tmp_path / "store")
    with TinyStudy(study, model) as tiny:
        english = Sentences({"en": tiny.do("corpora").sentences.detection["en"]}, {}, {})
        detect(tiny.ledger, english, tiny.workers, study.detection)
    row = planned(study)
    assert row.units["detection"] == {"done": 1, "to_do": 1}


def test_units_of_a_lowered_floor_are_done(model: Path, tmp_path: Path) -> None:
    """Where the study went is found in the store; a rule that goes on from there has its first floor."""
    rule, floor = {"target_shared": 0.1}, {"floor_fraction": 0.5}
    study = tiny_config(model, tmp_path / "store", selection=rule, detection=floor)
    with TinyStudy(study, model) as tiny:
        tiny.do("corpora", "detection", "ablation")
        assert tiny.group.n_passes > 2 * 2 + 1, "lowered"
    row = planned(study)
    assert row.units["detection"] == {"done": 2, "to_do": 0} and row.units["perplexity"]["done"] > 1
    other = planned(study.model_copy(update={"selection": SelectionConfig(target_shared=0.2)}))
    assert other.units["detection"] == {"done": 2, "to_do": 0} and other.units["perplexity"]["done"] == 0


SHAPES = Path(__file__).parents[2] / "shapes"


def large(store: Path, **sections: object) -> StudyConfig:
    """Llama-3.1-70B with every stage, on eight GPUs."""
    values: dict[str, object] = {
        "models": [{"path": str(SHAPES / "llama-3.1-70b"), "name": "70B", "dtype": "bfloat16"}],
        "languages": ["en", "sw"],
        "corpus": {"n_detection": 1000, "n_heldout": 200, "max_tokens": 64},
        "training": {"languages": ["sw"], "strategies": ["shared"]},
        "evaluation": {"benchmarks": [{"name": "xnli"}], "engine": {"tensor_parallel": 8, "gpus": 8}},
        "cluster": {"world_size": 8, "gpus_per_worker": 1},
        "store": str(store),
        **sections,
    }
    return StudyConfig.model_validate(values)


@pytest.mark.parametrize("devices", ["8x80GB", "2x80GB", "2x141GB", "2x4xH100"])
def test_with_the_suggested_changes_everything_fits_and_with_fewer_it_does_not(
    devices: str, tmp_path: Path
) -> None:
    config, machines = large(tmp_path / "store"), parse_devices(devices)
    (before,) = plan(config, machines).models
    assert not before.fits and before.advice is not None
    changes = before.advice.together
    assert changes
    (after,) = plan(with_overrides(config, changes), machines).models
    assert after.fits, [one.missing for one in after.stages]
    for stage in before.stages:
        wanted = before.advice.by_stage.get(stage.stage.name)
        assert stage.fits == (wanted is None)
        for left_out in wanted or ():
            fewer = [change for change in wanted or () if change != left_out]
            try:
                changed = with_overrides(config, fewer)
            except ValidationError:
                continue  # two of them only make sense together
            (again,) = plan(changed, machines).models
            assert not next(one for one in again.stages if one.stage.name == stage.stage.name).fits


def test_where_nothing_helps_the_number_of_devices_is_said(tmp_path: Path) -> None:
    (row,) = plan(large(tmp_path / "store"), parse_devices("1x24GB")).models
    assert row.advice is not None and row.advice.by_stage["evaluation"] is None
    assert "evaluation" not in {one.stage.name for one in row.mended}
    assert row.advice.devices is not None and row.advice.devices > 1


def test_fewer_devices_fit_when_more_of_them_share_a_node(tmp_path: Path) -> None:
    """Four nodes of one GPU hold no engine of 70B; two GPUs of one node do."""
    evaluation = {
        "benchmarks": [{"name": "xnli"}],
        "engine": {"tensor_parallel": 4, "gpus": 4, "max_model_len": 1024, "max_num_seqs": 8},
    }
    config = large(tmp_path / "store", evaluation=evaluation, cluster={"world_size": 4, "gpus_per_worker": 1})
    (apart,) = plan(config, parse_devices("4x1xH100")).models
    (together,) = plan(config, parse_devices("4xH100")).models
    assert not apart.stages[-1].fits and together.stages[-1].fits
    assert apart.advice is not None and apart.advice.devices == 2


def test_the_page_says_what_does_not_fit_and_the_json_is_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(SHAPES / "qwen2.5-72b")
    arguments = ["plan", "--config", "llama3_70b", "--devices", "1x141GB", f"models.0.path={path}"]
    with pytest.raises(SystemExit) as left:
        cli.main([*arguments, f"store={tmp_path / 'store'}"])
    page = capsys.readouterr().out
    assert left.value.code == 0
    assert "72.71 billion parameters" in page
    assert "detection does not fit: 8 GPUs are asked for, and there are 1." in page
    assert "It fits with: cluster.world_size=1" in page
    with pytest.raises(SystemExit):
        cli.main([*arguments, "--json", f"store={tmp_path / 'store'}"])
    (row,) = json.loads(capsys.readouterr().out)["models"]
    assert row["parameters"] == 72_706_203_648 and not row["fits"]
    embedding = row["stages"]["detection"]["phases"][0]["device"]["embedding, whole"]
    assert embedding == 2 * 152_064 * 8192


def test_streaming_and_the_budget_of_hidden_states_are_planned(tmp_path: Path) -> None:
    cluster = {"world_size": 2, "gpus_per_worker": 1, "weights": "stream", "hidden_states_gib": 0.001}
    (row,) = plan(large(tmp_path / "store", cluster=cluster), parse_devices("2x80GB")).models
    detection = row.stages[0]
    assert (
        detection.stage.received_bytes == 0 and detection.stage.read_bytes > 2 * detection.stage.spilled_bytes
    )
    assert detection.stage.peak.host["hidden states"] == int(0.001 * 2**30)
    assert "shard" not in detection.stage.peak.device and detection.fits


def test_calibration_replaces_the_assumed_rate(model: Path, tmp_path: Path) -> None:
    (row,) = plan(tiny_config(model, tmp_path / "store"), calibrated=True).models
    assert row.measured is not None and row.measured.flops_per_s > 0
    rates = rates_of(row)["detection"]
    assert rates.flops_per_s == row.measured.flops_per_s
    assert rates.origin["flops_per_s"].startswith("measured")


def test_a_measured_rate_goes_with_the_threads_and_is_of_its_dtype(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = layer_measured(on_gpu=False, flops_per_s=1e10)
    monkeypatch.setattr("polyneuron.pipelines.plan.planning.calibrate", lambda *_, **__: measured)
    evaluation = {"benchmarks": [{"name": "xnli"}], "engine": {"threads": 16}}
    config = large(tmp_path / "store", cluster={"threads_per_worker": 2}, evaluation=evaluation)
    own = torch.get_num_threads()
    (row,) = plan(config, parse_devices("8x80GB"), calibrated=True).models
    assert torch.get_num_threads() == own
    rates = rates_of(row)
    assert (rates["detection"].flops_per_s, rates["evaluation"].flops_per_s) == (1e10, 8e10)
    other = with_overrides(config, ["models.0.dtype=float32"])
    (row,) = plan(other, parse_devices("8x80GB"), calibrated=True).models
    assert rates_of(row)["detection"].origin["flops_per_s"].startswith("assumed")


def test_calibration_needs_the_device_it_is_for(model: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ClusterError, match="no GPU here"):
        plan(tiny_config(model, tmp_path / "store", cluster={"gpus_per_worker": 1}), calibrated=True)


def test_hidden_states_move_once_a_layer_in_every_round_and_copy(tmp_path: Path) -> None:
    """In host memory or on disk alike: there and back, for each language, site, and variant of a pass."""
    machines = parse_devices("8x80GB")

    def stage(name: str, **sections: object) -> Stage:
        (row,) = plan(large(tmp_path / "store", **sections), machines).models
        return next(one.stage for one in row.stages if one.stage.name == name)

    once = 2 * 80 * (1000 // 8) * 64 * 8192 * 2
    assert stage("detection").moved_bytes == 2 * once
    four = stage("detection", languages=["en", "sw", "th", "de"])
    assert four.moved_bytes == 4 * once
    cluster = {"world_size": 8, "gpus_per_worker": 1, "hidden_states_gib": 0.1}
    spilling = stage("detection", cluster=cluster)
    assert spilling.spilled_bytes > 0 and spilling.moved_bytes == 2 * once
    activations = {"detectors": ["lape"], "sites": ["matched", "pre_activation"]}
    assert stage("activations", activations=activations).moved_bytes == 2 * 2 * once
    ablation = {"shared_control_seeds": 0, "exclusive_control_seeds": 0, "variants_per_pass": 3}
    variants = stage("perplexity", ablation=ablation)  # base, shared, four of languages and a trained one
    whole_pass = 3 * 2 * 80 * (400 // 8) * 64 * 8192 * 2
    assert variants.moved_bytes == 3 * whole_pass
    drawn = stage("perplexity", ablation=ablation | {"exclusive_control_seeds": 1})
    assert (
        drawn.moved_bytes == (3 + 2) * whole_pass
    )  # six controls of a language in two passes, in half the sentences
    assert drawn.flops == variants.flops * (7 + 6) / 7
    assert drawn.received_bytes == variants.received_bytes * (3 + 2 * 2) / 3


def test_on_a_cpu_no_hidden_state_moves(model: Path, tmp_path: Path) -> None:
    row = planned(tiny_config(model, tmp_path / "store"))
    assert [one.stage.moved_bytes for one in row.stages] == [0] * len(row.stages)


def test_an_engine_stays_within_a_node(tmp_path: Path) -> None:
    """Its ranks are one actor's: eight on two nodes of four are refused, and what is suggested instead has four at most."""
    (row,) = plan(large(tmp_path / "store"), parse_devices("2x4xH100")).models
    evaluation = row.stages[-1]
    assert "the engine is given 8 GPUs of one node, and a node has 4" in evaluation.missing
    assert row.advice is not None
    assert row.advice.by_stage["evaluation"] == (
        "evaluation.engine.tensor_parallel=4",
        "evaluation.engine.gpus=4",
    )
    engine = {"tensor_parallel": 4, "pipeline_parallel": 2, "gpus": 8}
    evaluated = {"benchmarks": [{"name": "xnli"}], "engine": engine}
    (row,) = plan(large(tmp_path / "store", evaluation=evaluated), parse_devices("2x4xH100")).models
    assert row.advice is not None
    assert row.advice.by_stage["evaluation"] == (
        "evaluation.engine.tensor_parallel=2",
        "evaluation.engine.gpus=4",
    )


@pytest.mark.parametrize(
    ("name", "n_prompts"),
    [
        ("mgsm_direct", 250),
        ("mgsm_native_cot", 250),
        ("mgsm_en_cot", 250),
        ("mmmlu", 4 * 14_042),
        ("mmlu", 4 * 14_042),
        ("global_mmlu", 4 * 14_042),
        ("mmlu_prox", 11_759),
        ("xnli", 3 * 2_490),
        ("xquad", 1_190),
    ],
)
def test_every_item_of_a_benchmark_is_asked(name: str, n_prompts: int, tmp_path: Path) -> None:
    asked = task_requests(large(tmp_path / "store"), BenchmarkConfig(name=name, n_shots=0))
    assert asked.prompt_tokens == n_prompts * 120


def test_the_items_of_every_benchmark_are_counted(tmp_path: Path) -> None:
    config = large(tmp_path / "store")
    assert all(task_requests(config, BenchmarkConfig(name=name)).prompt_tokens for name in BENCHMARKS)


def test_generating_takes_as_long_as_reading_weights_and_cache(tmp_path: Path) -> None:
    """An answer of MGSM is taken to have 256 tokens, after eight examples and the question."""
    tasks = {"benchmarks": [{"name": "mgsm_direct"}], "languages": ["sw"], "variants": []}
    engine = {"engine": {"tensor_parallel": 8, "gpus": 8}}
    config = large(tmp_path / "store", evaluation=tasks | engine, training={})
    (row,) = plan(config, parse_devices("8x80GB")).models
    asked = Requests(250 * 9 * 120, 250 * 256, 250 * 256 * (9 * 120 + 128))
    assert study_requests(config) == asked
    evaluation = row.stages[-1]
    need = EngineNeed(tensor_parallel=8, on_gpu=True, max_model_len=4096, max_num_seqs=64, utilisation=0.85)
    assert row.shape is not None
    assert evaluation.stage.generating_bytes == generating_bytes(row.shape, need, asked)
    assert evaluation.seconds["generating"] == evaluation.stage.generating_bytes / 2e12


def test_stages_of_a_transfer_study_are_planned_at_the_rates_of_a_study(model: Path, tmp_path: Path) -> None:
    overrides = [f"models=[{{path: {model}, name: tiny}}]", f"store={tmp_path / 'store'}"]
    config = load_transfer(CONFIGS / "transfer_smollm2.yaml", overrides)
    (row,) = plan(config).models
    assert [one.stage.name for one in row.stages] == ["activations", "training", "evaluation"]
    (study,) = plan(study_of(config)).models
    rates, of_study = rates_of(row), rates_of(study)
    assert all(rates[name] == of_study[name] for name in ("activations", "evaluation"))
    assert all(one.total_s > 0 for one in row.stages)


def test_models_are_planned_one_at_a_time_and_the_page_says_so(model: Path, tmp_path: Path) -> None:
    def said(models_at_once: int) -> bool:
        config = tiny_config(model, tmp_path / "store", cluster={"models_at_once": models_at_once})
        return any("one model at a time" in one for one in plan(config).assumptions)

    assert said(2) and not said(1)


def test_host_memory_belongs_to_stated_devices(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["plan", "--config", "llama3_70b", "--host-gib", "2000"])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--host-gib" in line and "--devices" in line


def test_advice_rests_on_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A micro-batch that takes 400 times what is planned must be halved; fewer ranks, which cost less, would not help."""
    measured = layer_measured(detection_memory=400.0)
    monkeypatch.setattr("polyneuron.pipelines.plan.planning.calibrate", lambda *_, **__: measured)
    config, machines = large(tmp_path / "store"), parse_devices("8x80GB")
    (without,) = plan(config, machines).models
    (row,) = plan(config, machines, calibrated=True).models
    taken = [one.stages[0].stage.phases[-1].device["activations"] for one in (without, row)]
    assert taken[1] == 400 * taken[0] and without.stages[0].fits and not row.stages[0].fits
    assert row.advice is not None and row.advice.by_stage["detection"] == ("detection.batch_size=4",)
    assert row.mended[0].stage.name == "detection"
    rates = rates_of(row)["detection"]
    assert rates.flops_per_s == 2e14
    assert rates.score_slowdown == rates_of(without)["detection"].score_slowdown


def test_what_a_gpu_takes_is_not_said_of_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = layer_measured(score_slowdown=9.0, detection_memory=400.0)
    monkeypatch.setattr("polyneuron.pipelines.plan.planning.calibrate", lambda *_, **__: measured)
    config = large(tmp_path / "store", cluster={"world_size": 1, "threads_per_worker": 8})
    (row,), (without,) = (plan(config, parse_devices("8x80GB"), c).models for c in (True, False))
    assert row.stages[0] == without.stages[0]

"""What the stages of a study gather, move and keep."""

from pathlib import Path

from polyneuron.cluster.capacity.devices import parse_devices
from polyneuron.cluster.capacity.estimate import Stage
from polyneuron.pipelines.config.load import CONFIGS, load_transfer
from polyneuron.pipelines.plan.planning import plan, study_of
from tests.pipelines.in_process import tiny_config
from tests.pipelines.plan.cases import large, planned, rates_of


def test_streaming_and_the_budget_of_hidden_states_are_planned(tmp_path: Path) -> None:
    cluster = {"world_size": 2, "gpus_per_worker": 1, "weights": "stream", "hidden_states_gib": 0.001}
    (row,) = plan(large(tmp_path / "store", cluster=cluster), parse_devices("2x80GB")).models
    detection = row.stages[0]
    assert (
        detection.stage.received_bytes == 0 and detection.stage.read_bytes > 2 * detection.stage.spilled_bytes
    )
    assert detection.stage.peak.host["hidden states"] == int(0.001 * 2**30)
    assert "shard" not in detection.stage.peak.device and detection.fits


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


def test_stages_of_a_transfer_study_are_planned_at_the_rates_of_a_study(model: Path, tmp_path: Path) -> None:
    overrides = [f"models=[{{path: {model}, name: tiny}}]", f"store={tmp_path / 'store'}"]
    config = load_transfer(CONFIGS / "transfer_smollm2.yaml", overrides)
    (row,) = plan(config).models
    assert [one.stage.name for one in row.stages] == ["activations", "training", "evaluation"]
    (study,) = plan(study_of(config)).models
    rates, of_study = rates_of(row), rates_of(study)
    assert all(rates[name] == of_study[name] for name in ("activations", "evaluation"))
    assert all(one.total_s > 0 for one in row.stages)

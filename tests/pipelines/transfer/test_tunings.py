"""Which models a transfer study fine-tunes, and what is said where that is not what was asked for."""

from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.pipelines.config.transfer import TransferConfig
from polyneuron.pipelines.transfer.training import tunings_of
from tests.tiny_models import tiny_model


def test_random_neurons_are_those_that_are_free() -> None:
    """Of layer 0 all but two neurons are German, and English and Chinese have three."""
    anatomy = anatomy_of(tiny_model("llama-gqa-tied").config)

    def ffn(neurons: range | list[int]) -> NeuronSet:
        return NeuronSet.from_indices("tiny", anatomy.widths, anatomy.n_layers, {(0, "ffn"): list(neurons)})

    width = anatomy.widths["ffn"]
    sets = {"lape": {"en": ffn([0, 1]), "zh": ffn([2]), "de": ffn(range(3, width - 2))}}
    task = {
        "name": "xnli",
        "targets": ["zh"],
        "tuned": ["attention", "target", "random"],
        "training": {"data": "sample"},
    }
    config = TransferConfig.model_validate(
        {
            "models": [{"path": "tiny", "name": "tiny"}],
            "languages": ["en", "zh", "de"],
            "detectors": ["lape"],
            "tasks": [task],
            "store": "store",
        }
    )
    attention, target, random = tunings_of(config, config.models[0], sets, anatomy)
    assert random.remark == "only 2 of 3 random neurons are in no language's set"
    assert random.neurons is not None
    assert random.neurons.restrict(("ffn",)).indices(0, "ffn").tolist() == [width - 2, width - 1]
    assert (attention.remark, target.remark, random.null_reason) == ("", "", None)

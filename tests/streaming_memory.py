"""Run in a process of its own: how much resident memory detection needs beside what is there before it."""

import sys
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from polyneuron.cluster.memory import peak_resident_bytes, reset_peak, resident_bytes
from polyneuron.neuron_core.impacts.detect import detection_pass
from polyneuron.neuron_core.model.groups import DEFAULT_GROUPS
from polyneuron.neuron_core.model.opening import load_config
from polyneuron.neuron_core.model.stored_model import StoredModel
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from tests.own_process import print_found
from tests.tiny_models import tiny_model, token_ids

WIDE = dict(hidden_size=512, intermediate_size=1536, num_attention_heads=8, num_key_value_heads=8)
BATCHES = micro_batches([Sentence("x", i, tuple(ids)) for i, ids in enumerate(token_ids([32] * 8))], 2)


def main() -> None:
    """Compares the first two layers with a model of two layers; prints the peak above what was resident before."""
    folder = Path(sys.argv[1])
    tiny_model("llama-mha-untied", spread=0.05, num_hidden_layers=16, **WIDE).save_pretrained(folder)
    config = load_config(folder)
    config.num_hidden_layers = 2
    # transformers takes the first two layers of the files and leaves the rest, which our own loading refuses
    first_two = LlamaForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32).eval()
    expected = detection_pass(LayerMajor(first_two), BATCHES, DEFAULT_GROUPS)
    del first_two
    stored = StoredModel(folder, "float32")
    runner = LayerMajor(stored.model, gather=stored.gather, hidden_bytes=0)
    reset_peak()
    before = resident_bytes()
    found = detection_pass(runner, BATCHES, DEFAULT_GROUPS)
    print_found(
        {
            "model_bytes": stored.model_bytes,
            "grown_bytes": peak_resident_bytes() - before,
            "same": all(
                torch.equal(found[key].minimum, impacts.minimum)
                and torch.equal(found[key].total, impacts.total)
                for key, impacts in expected.items()
            ),
        }
    )


if __name__ == "__main__":
    main()

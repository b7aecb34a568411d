"""What linear layers through oneDNN save passes over SmolLM2-135M in float32 on one thread, beside the same with PyTorch's own.

    python -m bench.linear [--repeats 3]

On processors where `neuron_core.passes.linear` leaves them to PyTorch, it is told that oneDNN is faster, to see whether it is.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch

from bench.measuring import timed
from bench.models import smollm2
from polyneuron.neuron_core.corpora.embedded_corpus import embedded
from polyneuron.neuron_core.impacts.detect import detection_pass
from polyneuron.neuron_core.measures.perplexity import sentence_nlls
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.passes import linear
from polyneuron.neuron_core.passes.batches import Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.neuron_core.training.loop.stepper import summed_loss
from polyneuron.neuron_core.training.loop.validation import SentenceBatch


@contextmanager
def told(is_faster: bool) -> Iterator[None]:
    """Inside, passes believe that oneDNN is faster, or that it is not."""
    own = linear._is_faster
    linear._is_faster = lambda: is_faster  # type: ignore[assignment]
    try:
        yield
    finally:
        linear._is_faster = own


def main() -> None:
    """Prints a line for each pass: seconds with PyTorch's linear layers, and with oneDNN's as a multiple of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = load_model(smollm2())
    model.requires_grad_(False)
    runner = LayerMajor(model)
    sentences = [
        Sentence("fr", i, tuple(tokenizer(text)["input_ids"][:32]))
        for i, text in enumerate(embedded()["fr"][:20])
    ]
    batches = micro_batches(sentences, 5)

    def step() -> None:
        model.model.embed_tokens.weight.requires_grad_(True)  # so that gradients go through every layer
        for batch in batches:
            summed_loss(model, SentenceBatch(batch)).backward()
        model.zero_grad()
        model.requires_grad_(False)

    passes: dict[str, Callable[[], Any]] = {
        "perplexity": lambda: sentence_nlls(runner, batches, [None]),
        "detection, full": lambda: detection_pass(runner, batches, GROUPS),
        "training step": step,
    }
    print(f"{'pass':>16} {'PyTorch s':>10} {'oneDNN':>8}")
    for name, run in passes.items():
        seconds = dict[bool, list[float]]({False: [], True: []})
        for _ in range(arguments.repeats + 1):
            for is_faster, measured in seconds.items():
                with told(is_faster):
                    measured.append(timed(run)[1])
        plain, fast = (median(measured[1:]) for measured in seconds.values())  # the first warms up
        print(f"{name:>16} {plain:>10.2f} {fast / plain:>7.2f}x", flush=True)


if __name__ == "__main__":
    main()

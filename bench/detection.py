"""What detection costs beside a plain forward pass over the same batches, in one process.

    python -m bench.detection [--threads 2] [--repeats 3] [--batch 8]

Prints two ratios (median over alternating runs): to the plain forward pass of the model, and to its decoder
alone, without the vocabulary head that detection never runs.
"""

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch

from bench.measuring import timed
from bench.models import smollm2
from polyneuron.neuron_core.corpora.embedded_corpus import embedded
from polyneuron.neuron_core.impacts.detect import detect_language, detection_pass
from polyneuron.neuron_core.impacts.table import ImpactTable
from polyneuron.neuron_core.model.groups import GROUPS
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.passes.batches import MicroBatch, Sentence, micro_batches
from polyneuron.neuron_core.passes.layer_major import LayerMajor
from polyneuron.neuron_core.passes.linear import fast_linear
from polyneuron.neuron_core.selection.select import select

LENGTHS = (32, 64, 128, 256)


def alternate(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each run, the runs taken in turn so that drift of the machine's speed hits all alike."""
    rounds = [{name: timed(run)[1] for name, run in runs.items()} for _ in range(repeats + 1)]
    return {name: median(seconds[name] for seconds in rounds[1:]) for name in runs}  # the first warms up


def ratios(seconds: dict[str, float], name: str) -> str:
    """Cost as a multiple of the whole model's forward pass, and of its decoder's."""
    return f"{seconds[name] / seconds['forward']:.2f} | {seconds[name] / seconds['decoder']:.2f}"


def fixed_length(sentences: list[Sentence], length: int, n: int) -> list[Sentence]:
    """n sentences of exactly `length` tokens, cut from the concatenated corpus."""
    stream = [token for sentence in sentences for token in sentence.token_ids]
    return [Sentence("mixed", i, tuple(stream[i * length : (i + 1) * length])) for i in range(n)]


def main() -> None:
    """Runs the benchmark on SmolLM2-135M and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--sets", action="store_true", help="compare the sets of both modes (minutes)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, tokenizer = load_model(smollm2())
    runner = LayerMajor(model)
    corpora = {
        language: [
            Sentence(language, i, tuple(tokenizer(text)["input_ids"][:64]))
            for i, text in enumerate(texts[:100])
        ]
        for language, texts in embedded().items()
    }
    everything = [sentence for sentences in corpora.values() for sentence in sentences]

    @torch.no_grad()
    def forward(module: torch.nn.Module, batches: list[MicroBatch]) -> None:
        for batch in batches:
            mask = None if bool(batch.attention_mask.all()) else batch.attention_mask
            with fast_linear():  # as detection has it
                module(input_ids=batch.input_ids, attention_mask=mask, use_cache=False)

    def seconds_beside(batches: list[MicroBatch], **runs: Callable[[], Any]) -> dict[str, float]:
        plain = {
            "forward": partial(forward, model, batches),
            "decoder": partial(forward, model.model, batches),
        }
        return alternate(plain | runs, arguments.repeats)

    print(f"batch {arguments.batch}; cost as a multiple of the model's forward pass | of its decoder's alone")
    print(f"{'tokens':>8} {'ffn+v+o':>15} {'full':>15}")
    for length in LENGTHS:
        batches = micro_batches(fixed_length(everything, length, max(4, 2048 // length)), arguments.batch)
        seconds = seconds_beside(
            batches,
            cheap=partial(detection_pass, runner, batches, ("ffn", "v", "o")),
            full=partial(detection_pass, runner, batches, GROUPS),
        )
        print(f"{length:>8} {ratios(seconds, 'cheap'):>15} {ratios(seconds, 'full'):>15}", flush=True)

    def run_pass(batches: list[MicroBatch], candidates: Any) -> Any:
        return detection_pass(runner, batches, GROUPS, candidates)

    by_language = []
    for language, sentences in corpora.items():
        certified = partial(detect_language, run_pass, sentences, GROUPS)
        seconds = seconds_beside(micro_batches(sentences, 8), certified=certified)
        by_language.append(seconds)
        said = f"{len(sentences)} sentences of {language}"
        print(f"certified, {said}: {ratios(seconds, 'certified')}", flush=True)
    total = {name: sum(seconds[name] for seconds in by_language) for name in by_language[0]}
    print(f"certified, all languages: {ratios(total, 'certified')}", flush=True)
    if arguments.sets:
        compare_sets(run_pass, corpora)


def compare_sets(run_pass: Any, corpora: dict[str, list[Sentence]]) -> None:
    """Prints whether the default rule selects the same sets from certified and from full detection."""
    tables = {}
    for mode in ("certified", "full"):
        detect = partial(detect_language, run_pass, groups=GROUPS, mode=mode)
        tables[mode], seconds = timed(lambda detect=detect: ImpactTable(list(map(detect, corpora.values()))))
        print(f"{mode} detection of all languages: {seconds:.0f} s", flush=True)
    certified, full = (select(t.to_arrow(), t.summaries, model="SmolLM2") for t in tables.values())
    same = certified.related == full.related and certified.shared == full.shared
    print(f"shared neurons {len(certified.shared)} and {len(full.shared)}; all sets equal: {same}")


if __name__ == "__main__":
    main()

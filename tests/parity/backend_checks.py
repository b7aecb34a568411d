"""Judges one real model through both backends and prints what a test compares, as JSON. One process a model."""

import sys
from dataclasses import replace
from typing import Any

import torch

from polyneuron.eval.engines.settings import EngineSettings
from polyneuron.eval.tasks.benchmarks import BenchmarkTask, task_of
from polyneuron.eval.tasks.judge import Judge
from polyneuron.neuron_core.activations.measure import measure_activations
from polyneuron.neuron_core.corpora.embedded_corpus import embedded
from polyneuron.neuron_core.edits.intervention import Intervention
from polyneuron.neuron_core.model.load import load_model, resolve_model
from polyneuron.neuron_core.passes.batches import tokenize
from tests.edits import edits_of, random_neurons
from tests.own_process import print_found
from tests.real_models import gemma3_gguf, smollm2_gguf


def token_logprobs(judge: Judge, change: Any, sentences: list[list[int]]) -> list[list[float]]:
    """Log-probability of every token but the first."""
    engine: Any = judge._engine
    with engine.variant(change):
        if judge.settings.backend == "vllm":
            outputs = engine._generate(sentences)
            return [
                [
                    found[token].logprob
                    for token, found in zip(ids[1:], output.prompt_logprobs[1:], strict=True)
                ]
                for ids, output in zip(sentences, outputs, strict=True)
            ]
        found = []
        for ids in sentences:
            with torch.no_grad():
                logits = engine._model(torch.tensor([ids])).logits[0, :-1]
            found.append(
                torch.log_softmax(logits, -1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()
            )
        return found


def interventions_of(model: Any, tokenizer: Any) -> dict[str, Intervention]:
    """One of each operation on ten random ffn neurons a layer: their P90 in Swahili, twice as much, and that much more."""
    table = measure_activations(model, tokenizer, {"sw": embedded()["sw"][:20]}, model_name="tiny")
    p90 = Intervention.from_statistics(random_neurons(model, 10, ("ffn",)), table, "sw", "p90")
    shifted = replace(p90, operation="shift")
    return {"set": p90, "scale": Intervention.scaled(p90.neuron_set, 2.0), "shift": shifted}


def main(name: str) -> None:
    source, bos = resolve_model(smollm2_gguf() if name == "smollm2" else gemma3_gguf()), name == "gemma3"
    model, tokenizer = load_model(source)
    edits = edits_of(model, random_neurons(model, 10), noise=0.5)
    interventions = interventions_of(model, tokenizer)
    texts = [text for language in ("en", "th", "sw") for text in embedded()[language][:4]]
    sentences = [list(s.token_ids) for s in tokenize(tokenizer, "x", texts, 64, add_bos=bos)]
    tasks = [
        task_of("xnli", "sw", max_items=8),
        task_of("mgsm_direct", "en", n_shots=2, max_gen_toks=12, max_items=6),
        task_of("xquad", "de", n_shots=0, max_gen_toks=12, max_items=4),
    ]
    found: dict[str, Any] = {}
    for backend in ("hf", "vllm"):
        settings = EngineSettings(
            source=source,
            backend=backend,  # type: ignore[arg-type]
            dtype="float32",
            add_bos=bos,
            max_model_len=2048,
            max_num_seqs=16,
        )
        judge = Judge(settings, "sample")
        mine = found[backend] = {}
        for variant, intervention in interventions.items():
            mine[variant] = {"logprobs": token_logprobs(judge, intervention, sentences), "items": []}
        for variant, change in edits.items():
            items = []
            for task in tasks:
                assert isinstance(task, BenchmarkTask)
                items += judge.evaluate(change, task).samples
            mine[variant] = {"logprobs": token_logprobs(judge, change, sentences), "items": items}
        mine["again"] = token_logprobs(judge, None, sentences)
        judge.close()
    print_found(found)


if __name__ == "__main__":
    main(sys.argv[1])

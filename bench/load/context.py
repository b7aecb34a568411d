"""Sentences as long as the model's context: what detection and perplexity take with the length."""

from pathlib import Path

from bench.load.case import LoadCase, Step

_HEADS = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}


def _step(what: str) -> Step:
    def step(folder: Path, length: int) -> None:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        from polyneuron.neuron_core.impacts.detect import measure_impacts
        from polyneuron.neuron_core.measures.perplexity import perplexity

        torch.set_num_threads(1)
        torch.manual_seed(0)
        config = LlamaConfig(vocab_size=256, num_key_value_heads=2, max_position_embeddings=length, **_HEADS)
        model = LlamaForCausalLM(config).eval()
        sentences = torch.randint(0, 256, (5, length), generator=torch.Generator().manual_seed(1)).tolist()
        if what == "perplexity":
            perplexity(model, None, sentences)
        else:
            mode = "full" if what == "full" else "certified"
            measure_impacts(model, None, {"en": sentences}, mode=mode)

    return step


def _nothing(folder: Path, size: int) -> None:
    """There is nothing to prepare."""


CASES = {
    "context": LoadCase(
        unit="tokens",
        full=8192,
        smallest=64,
        prepare=_nothing,
        steps={
            "detection, certified": _step("certified"),
            "detection, full": _step("full"),
            "perplexity": _step("perplexity"),
        },
    )
}

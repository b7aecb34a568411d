"""What stands in for what on the pages: the one place that says how a block is run here, or why it is not.

Blocks run in a folder that holds `stores/…`, each a tiny study's store, and the configurations `study.yaml`, `nightly.yaml` and
`transfer.yaml` of a tiny model."""

from typing import Any

STAND_INS: dict[str, str] = {
    r"path/or/hub-id|HuggingFaceTB/SmolLM2-135M-Instruct|Qwen/Qwen2\.5-0\.5B": "{model}",
    r"L29\.ffn\.1359": "{neuron}",
    r"--config (…|pipelines/configs/study_smollm2\.yaml|study_smollm2|study_three_models)(?=\s|$)": "--config study.yaml",
    r"(?m)^polyneuron transfer(?=\s+#)": "polyneuron transfer --config transfer.yaml",
    r"--config nightly_smollm2\b": "--config nightly.yaml",
    r"--config (transfer_paper_b|mine\.yaml)": "--config transfer.yaml",
    r"--config llama3_70b (?!models)": "--config llama3_70b models.0.path={root}/tests/shapes/llama-3.1-70b ",
    r"models\.0\.path=tests": "models.0.path={root}/tests",
    r"store=/\S+": "store=stores/elsewhere",
    r"/results/llama3-70b": "stores/smollm2",
    r"stores/study/edits/<unit>\.safetensors": "edit.safetensors",
    r'BenchmarkData\("hub"\)': 'BenchmarkData("sample")',
    # fewer sentences take less time
    r"sentences\[:100\]": "sentences[:24]",
    r"sentences\[100:\]": "sentences[170:]",
    # so small a model's thresholds lie below the floor of pruned detection
    r'"certified"': '"full"',
    r"tokenizer, windows\)": 'tokenizer, windows, mode="full")',
}
"""Patterns in blocks, and what takes their place."""

ONLY_PLANNED = ("study", "detect", "ablate", "train", "evaluate", "nightly", "transfer")
"""Commands that start workers or an engine. With `--dry-run` they read everything and plan it; whole runs are in
`tests/pipelines` (test_one_line, test_cli, nights, transfer)."""

NOT_RUN: dict[str, str] = {
    "make": "installs, or runs the very tests; that the target exists is checked",
    ".venv/bin/python": "the tests themselves; that the module and its paths exist is checked",
    "export": "sets a variable of the reader's shell",
    "docker": "needs a daemon; the files are read by tests/docker",
    "kubectl": "needs a Kubernetes cluster; the manifests are read by tests/docker, a `polyneuron` inside is run or parsed here",
    "HEAD=$(kubectl": "needs a Kubernetes cluster",
    "ray": "needs a Ray cluster; its options are checked",
    "pip": "downloads and installs; its options are checked",
    "for": "unpacks what pip downloads",
    "echo": "checks what pip downloads",
}
"""First words of commands that are not run, and why."""

NOT_RUN_INSIDE: dict[str, str] = {
    r"polyneuron study --config llama3_70b": "the model has no tokenizer here, only its shape; options are parsed",
    r"polyneuron plan --config llama3_70b models\.0\.path=\S+$": "plans for whatever machine is at hand; options are parsed",
    r"polyneuron study --demo": "reads SmolLM2: tests/pipelines/test_cli.py plans it",
    r"polyneuron nightly --config nightly\.yaml (?!--baseline none)": "needs an accepted night: tests/pipelines/nights has them",
}
"""Commands of ours, as they begin after stand-ins, that are parsed and not run, and why."""

OUTPUTS: dict[str, tuple[str, ...]] = {
    "docs/neurons.md": ("csv", "headings"),
    "docs/planning.md": ("lines",),
    "docs/say.md": ("voices", "voices"),
}
"""What is compared of a page's blocks of output with what the command before them prints here."""


def known(texts: dict[str, list[str]], table: Any) -> dict[str, Any]:
    """What pages leave to their reader, by name: sentences of two languages, and (`table`) activations of them."""
    return {
        "english": texts["en"][:60],
        "swahili": texts["sw"][:60],
        "held_out_swahili": texts["sw"][160:164],
        "table": table,
    }

"""`polyneuron init`: the study of a model as a configuration file, with a line on what each part says."""

from pathlib import Path
from typing import Annotated, Any

import typer

from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.pipelines.commands.options import (
    Benchmarks,
    Corpus,
    Languages,
    Models,
    Out,
    StudyOptions,
    Train,
    from_home,
)

_COMMENTS = {
    "kind": "What this file configures: a study (polyneuron study --config THIS_FILE).",
    "models": "Hub names, folders or .gguf files; results are kept under `name`. Also: dtype, revision, add_bos.",
    "languages": "Codes, as file names and benchmarks have them. Put no in quotes.",
    "corpus": "A preset (polyneuron ls corpora), a folder, files or a URL. Also: n_detection, n_heldout, max_tokens.",
    "contexts": "How many tokens are kept on which each neuron in a set is strongest, in texts of the corpus; 0: none.",
    "ablation": "Draws of each kind of random set, beside each language's own set. One language needs more: docs/selection.md.",
    "training": "Trains chosen neurons on the documents of `mixture`. Also: strategies, max_steps, max_tokens.",
    "evaluation": "Judges the base model and its variants (polyneuron ls benchmarks). Also: languages, data.",
    "cluster": "What a worker computes on. Also: world_size, to share a model between workers.",
    "store": "The folder of all results; the report is in it.",
    "title": "What the report is called.",
}
"""In the order of the file."""
_LEFT_OUT = {
    "training": "training:\n  languages: [sw]\n  mixture: wikipedia\n",
    "evaluation": "evaluation:\n  benchmarks: [xnli, mgsm_direct]\n",
}
"""What may be asked for, as comments."""


def init(
    file: Annotated[Path, typer.Argument(help="Where to; must not exist.", callback=from_home)] = Path(
        "study.yaml"
    ),
    *,
    model: Models = None,
    languages: Languages = None,
    corpus: Corpus = None,
    out: Out = None,
    train: Train = None,
    benchmarks: Benchmarks = None,
) -> None:
    """Write the study of a model as a commented configuration file, to be changed and run."""
    if not model:
        raise ConfigError(
            "Name a model, as in polyneuron init --model Qwen/Qwen2.5-0.5B --languages en,th,sw"
        )
    options = StudyOptions(
        model=model, languages=languages, corpus=corpus, out=out, train=train, benchmarks=benchmarks
    )
    study = options.study(())  # refuses what no study takes
    said = options.as_mapping()
    text = _written_out(
        {"languages": list(study.languages), "corpus": {"source": study.corpus.source}} | said
    )
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise ConfigError(f"{file} is there already, and is left as it is: name another file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file} cannot be written: {getattr(error, 'strerror', None) or error}. Name another file"
        ) from error
    print(f"{file}: run it with polyneuron study --config {file}")


def _written_out(study: dict[str, Any]) -> str:
    import yaml

    parts = []
    for key, comment in _COMMENTS.items():
        if key in study:
            style = (
                None if isinstance(study[key], list) else False
            )  # lists in one line, all else line by line
            part = yaml.safe_dump(
                {key: study[key]}, sort_keys=False, allow_unicode=True, default_flow_style=style, width=1000
            )
            parts.append(f"# {comment}\n{part}")
        elif key in _LEFT_OUT:
            lines = "".join(f"# {line}\n" for line in _LEFT_OUT[key].splitlines())
            parts.append(f"# {comment}\n{lines}")
    return "\n".join(parts)

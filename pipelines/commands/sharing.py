"""`polyneuron push` and `polyneuron pull`: sets, edits and reports as a repository of the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer

from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.pipelines.commands.options import STORE, ModelInStore, StoreOption, from_home
from polyneuron.pipelines.run.ending import keep_tracebacks_beside


def _of_a_hub(repo: str) -> str:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ConfigError(f"The name of a repository is like you/thai-neurons: {error}") from error
    return repo


Repository = Annotated[
    str, typer.Argument(help="The repository, such as you/thai-neurons.", callback=_of_a_hub)
]


def push(
    repo: Repository,
    store: StoreOption = STORE,
    model: ModelInStore = None,
    parts: Annotated[str, typer.Option(help="What to share, with commas.")] = "sets,edits,report",
    public: Annotated[
        bool, typer.Option("--public", help="Make a new repository public, not private.")
    ] = False,
) -> None:
    """Share a study's sets, edits and report as a repository of the Hugging Face Hub, with a card."""
    from polyneuron.pipelines.run.chatter import quietly
    from polyneuron.pipelines.sharing.push import PARTS
    from polyneuron.pipelines.sharing.push import push as push_study

    keep_tracebacks_beside(store)
    chosen = [part.strip() for part in parts.split(",")]
    if unknown := [part for part in chosen if part not in PARTS]:
        raise ConfigError(f"--parts: there is no {unknown[0]!r}; there are {', '.join(PARTS)}")
    from huggingface_hub import HfApi

    with quietly():
        commit = push_study(HfApi(), store, repo, model=model, parts=chosen, public=public)
    print(commit)


def pull(
    repo: Repository,
    out: Annotated[
        Path | None,
        typer.Option(help="An empty or new folder; the repository's name if left out.", callback=from_home),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Your model: a hub name, a folder or a .gguf file; sets of another one are refused."
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Commit, branch or tag of the repository.")] = None,
) -> None:
    """Fetch shared sets, edits and reports, checked against their card and against your model."""
    from huggingface_hub import HfApi
    from pydantic import ValidationError

    from polyneuron.pipelines.config.one_line import model_of
    from polyneuron.pipelines.config.study import ModelConfig
    from polyneuron.pipelines.run.chatter import quietly
    from polyneuron.pipelines.run.progress import say
    from polyneuron.pipelines.sharing.pull import pull as pull_files

    folder = out or Path(repo.rpartition("/")[2])
    try:
        mine = None if model is None else ModelConfig.model_validate(model_of(model))
    except ValidationError as error:
        reason = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise ConfigError(f"--model {model!r} names no model: {reason}") from error
    with quietly():
        card = pull_files(HfApi(), repo, folder, model=mine, revision=revision)
    say(
        f"{len(card.files)} files with the checksums of the card; {card.model}, {card.selection}, by {card.code}"
    )
    if mine is None:
        say(f"No model was compared. They are for fingerprint {card.fingerprint}: give yours with --model")
    print(folder)

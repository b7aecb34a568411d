"""`polyneuron pull`: the files of a shared repository, as its card describes them, and of the model at hand or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyneuron.neuron_core.common.boundary import errors_become
from polyneuron.neuron_core.common.errors import SharingError
from polyneuron.neuron_core.common.files import remove, require_free, temporary_beside
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.sharing import card as cards
from polyneuron.pipelines.sharing.card import CARD, MOST_CARD_BYTES, Card

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from polyneuron.neuron_core.sets.neuron_set import NeuronSet
    from polyneuron.pipelines.run.studied_model import StudiedModel

_WAY_OUT = "Look at the repository's name and revision, at your token (hf auth login, or HF_TOKEN) and at HF_ENDPOINT"


def pull(
    api: HfApi, repo: str, out: Path, *, model: ModelConfig | None = None, revision: str | None = None
) -> Card:
    """Fetches what the card of `repo` lists into the folder `out`, which appears whole or not at all; returns the card.

    All is of one commit. Files that are not on the card are not fetched; nothing is unpickled.

    Raises:
        SharingError: a hub that refuses, a card that cannot be used or names files outside their folder, a file whose checksum is
            another or that holds something else than its name says, a set of another model than `model`, or a folder that is in
            the way.
        ModelError: `model` cannot be read. SetError: a file that is no set or edit, or does not fit the model.
    """
    require_free(out, SharingError)
    temporary = temporary_beside(out)
    try:
        what = f"{repo} at {revision}" if revision else repo
        with errors_become(SharingError, f"{what} could not be pulled", _WAY_OUT):
            temporary.mkdir(parents=True)
            info = api.model_info(repo, revision=revision, files_metadata=True)
            sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or ()}
            card = _card(api, repo, info.sha, sizes, temporary)
            opened = None if model is None else _required(card, model, repo)
            for name in card.files:
                if name not in sizes:
                    raise SharingError(f"{repo} lacks {name}, which is on its card")
                api.hf_hub_download(repo, name, revision=info.sha, local_dir=temporary)
        shutil.rmtree(temporary / ".cache", ignore_errors=True)
        _verify(card, temporary, repo, opened)
        with errors_become(SharingError, f"{out} cannot be written", "Name another folder, or make room"):
            out.parent.mkdir(parents=True, exist_ok=True)
            temporary.rename(out)
    finally:
        remove(temporary)
    return card


def _card(api: Any, repo: str, revision: str | None, sizes: dict[str, int], folder: Path) -> Card:
    if CARD not in sizes or sizes[CARD] > MOST_CARD_BYTES:
        raise SharingError(
            f"{repo} has no card of Polyneuron: no {CARD}, or one of more than {MOST_CARD_BYTES >> 20} MiB"
        )
    path = Path(api.hf_hub_download(repo, CARD, revision=revision, local_dir=folder))
    return cards.read(path.read_text(encoding="utf-8"), repo)


def _required(card: Card, model: ModelConfig, repo: str) -> StudiedModel:
    """The model at hand, or a copy of its files. Raises SharingError where it is another than the card's."""
    from polyneuron.neuron_core.model.identity import files_fingerprint
    from polyneuron.pipelines.run.studied_model import StudiedModel

    opened = StudiedModel.open(model)
    trusted = model.trust_remote_code
    if opened.fingerprint != card.fingerprint and (
        card.content is None
        or files_fingerprint(opened.source, opened.revision, trust_remote_code=trusted) != card.content
    ):
        where = (
            f"{card.source}{f' at commit {card.revision}' if card.revision else ''}"
            if card.source
            else card.model
        )
        raise SharingError(
            f"The sets of {repo} were made for another model than {model.label}: for {where}, fingerprint {card.fingerprint}, "
            f"and this one has {opened.fingerprint}. Neurons of one model mean nothing in another; give the model they are of, "
            "under the same name or from the same files"
        )
    return opened


def _verify(card: Card, folder: Path, repo: str, opened: StudiedModel | None) -> None:
    """Raises SharingError or SetError unless every file is what the card says."""
    from polyneuron.neuron_core.edits.targets import require_fit

    for name, described in card.files.items():
        if cards.checksum(folder / name) != described.sha256:
            raise SharingError(f"{name} of {repo} is not the file on its card: its checksum is another")
        neurons = _neurons_in(folder / name, name)
        if neurons is None:
            continue
        if neurons.model != card.model:
            raise SharingError(
                f"{name} of {repo} is of the model {neurons.model!r}; the card says {card.model!r}"
            )
        if opened is not None:
            require_fit(neurons, opened.anatomy)


def _neurons_in(path: Path, name: str) -> NeuronSet | None:
    """The neurons of a set or an edit; None for a report. Raises SetError for a file that is neither."""
    from polyneuron.neuron_core.edits.weight_edit import WeightEdit
    from polyneuron.neuron_core.sets.neuron_set import NeuronSet

    if name.startswith("sets/"):
        return NeuronSet.load(path)
    return WeightEdit.load(path).neuron_set if name.startswith("edits/") else None

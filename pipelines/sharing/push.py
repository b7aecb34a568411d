"""`polyneuron push`: a study's sets, edits and report as one commit of a hub's repository, with a card."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyneuron.neuron_core.common.boundary import errors_become
from polyneuron.neuron_core.common.errors import ModelError, SharingError, StoreError
from polyneuron.neuron_core.common.names import safe_name
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.notebook.study import OpenedStudy, open_study
from polyneuron.pipelines.run.stored_study import stored_study
from polyneuron.pipelines.sharing import card as cards
from polyneuron.pipelines.sharing.card import CARD, REPORTS, Card, FileOnCard

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PARTS = ("sets", "edits", "report")
_WAY_OUT = "Look at the repository's name, at your token (hf auth login, or HF_TOKEN) and at HF_ENDPOINT"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def push(
    api: HfApi,
    store: str,
    repo: str,
    *,
    model: str | None = None,
    parts: Sequence[str] = PARTS,
    public: bool = False,
) -> str:
    """Writes `parts` of the newest study of `model` in `store` to the repository `repo`, in one commit, and returns its URL.

    What an earlier push left there and is no longer part of it is deleted. A new repository is private, unless `public`.

    Raises:
        StoreError: no study of that model, or several and none named. SetError: an edit that is gone or damaged.
        SharingError: a hub that refuses, a repository of something else, or nothing to share.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    study = open_study(store, model)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        files = {
            name: FileOnCard(sha256=cards.checksum(folder / name), holds=holds)
            for name, holds in _write(study, store, folder, parts)
        }
        if not files:
            raise SharingError(
                f"{store} holds no {', no '.join(parts)} of {study.model}: there is nothing to share"
            )
        card = _card_of(study, store, files)
        (folder / CARD).write_text(cards.written(card, repo), encoding="utf-8")
        with errors_become(SharingError, f"Nothing could be pushed to {repo}", _WAY_OUT):
            repo = api.create_repo(repo, repo_type="model", private=not public, exist_ok=True).repo_id
            info = api.model_info(repo)
            there = {sibling.rfilename for sibling in info.siblings or ()}
            _require_ours(api, repo, there, info.sha)
            stale = sorted(
                name for name in there - set(files) if name in REPORTS or name.startswith(("sets/", "edits/"))
            )
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*commit a data file")  # sets belong to a model
                commit = api.create_commit(
                    repo,
                    [CommitOperationAdd(name, str(folder / name)) for name in (*files, CARD)]
                    + [CommitOperationDelete(name) for name in stale],
                    commit_message=f"Neurons of {card.model}: {card.selection}",
                    parent_commit=info.sha,
                )
    return str(commit.commit_url)


def _write(study: OpenedStudy, store: str, folder: Path, parts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Writes the files; yields the path of each and what it holds."""
    for part in PARTS[:2]:
        (folder / part).mkdir()
    if "sets" in parts:
        drawn = set(study.controls.to_arrow()["variant"].to_pylist())
        for name, size in study.sets.sizes.items():
            if size and name not in drawn:
                path = f"sets/{safe_name(name)}.parquet"
                study.sets[name].save(folder / path)
                yield path, f"{size} neurons: {name}"
    if "edits" in parts:
        for name in dict.fromkeys(study.tables.read("training")["variant"].to_pylist()):
            path, edit = f"edits/{safe_name(name)}.safetensors", study.edit(name)
            edit.save(folder / path)
            yield path, f"trained values of {len(edit.neuron_set)} neurons: {name}"
    if "report" in parts and "://" not in store:
        texts = ", with texts of the corpus" * bool(study.tables.read("contexts").num_rows)
        for path in REPORTS:
            if (Path(store) / path).is_file():
                shutil.copyfile(Path(store) / path, folder / path)
                yield path, f"the study's report{texts}" if path.endswith("html") else "the report's numbers"


def _card_of(study: OpenedStudy, store: str, files: dict[str, FileOnCard]) -> Card:
    chosen = study.tables.chosen()
    corpora = study.tables.read("corpora").to_pylist()
    weights = sorted({row["weights"] for row in corpora})
    if len(weights) != 1:
        raise StoreError(
            f"{store} was made with {len(weights)} states of {study.model}'s files; run the study again"
        )
    source, revision = _on_the_hub(study.model, store, weights[0])
    content = weights[0] if source is None else _content(source, revision)
    return Card(
        model=study.model,
        source=source,
        revision=revision,
        fingerprint=weights[0],
        content=content,
        selection=study.selection,
        rule=json.loads(chosen["rule_json"]),
        corpora={row["language"]: row["sha"] for row in corpora},
        code=f"polyneuron {importlib.metadata.version('polyneuron')}",
        files=files,
    )


def _on_the_hub(label: str, store: str, fingerprint: str) -> tuple[str | None, str | None]:
    """The name on the hub of the model that was studied, and its commit where the copy in this machine's cache is what was
    studied; None for what is not known. Nothing is downloaded."""
    config = next((model for model in stored_study(store).models if model.label == label), None)
    source = None if config is None else config.path
    if (
        config is None
        or source is None
        or Path(source).expanduser().exists()
        or not _HUB_ID.fullmatch(source)
    ):
        return None, None
    return source, _cached_commit(source, config, fingerprint)


def _content(source: str, revision: str | None) -> str | None:
    """What the files of a hub's model hold, where this machine has what was studied and the hub hands out the rest."""
    from polyneuron.neuron_core.model.identity import files_fingerprint

    if revision is None:
        return None
    try:
        return files_fingerprint(source, revision)
    except ModelError:
        return None


def _cached_commit(source: str, config: ModelConfig, fingerprint: str) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    from polyneuron.neuron_core.model.identity import model_fingerprint

    held = try_to_load_from_cache(source, "config.json", revision=config.revision)
    if not isinstance(held, str) or not any(Path(held).parent.glob("*.safetensors")):
        return None
    commit = Path(held).parent.name
    try:
        found = model_fingerprint(source, commit, trust_remote_code=config.trust_remote_code)
    except ModelError:
        return None
    return commit if found == fingerprint else None


def _require_ours(api: Any, repo: str, there: set[str], revision: str | None) -> None:
    """Raises SharingError for a repository whose README would be overwritten though Polyneuron did not write it."""
    if CARD not in there:
        return
    with tempfile.TemporaryDirectory() as folder:
        page = Path(api.hf_hub_download(repo, CARD, revision=revision, local_dir=folder))
        try:
            cards.read(page.read_text(encoding="utf-8"), repo)
        except SharingError as error:
            raise SharingError(
                f"{repo} is a repository of something else, which a push would overwrite: name a new one ({error.message})"
            ) from error

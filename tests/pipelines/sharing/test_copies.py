"""A share belongs to a model's files, wherever they lie: on the hub or in a folder; to other files it does not belong."""

from pathlib import Path

import pytest

from tests.own_process import found_by
from tests.pipelines.sharing.hub_double import TOKEN, HubDouble, Repository
from tests.tiny_models import save_tiny_model


def on_hub(hub: HubDouble, name: str, folder: Path) -> None:
    hub.repositories[name] = Repository(private=False)
    hub.commit(name, {path.name: path.read_bytes() for path in folder.iterdir()})


@pytest.mark.long
def test_copies_are_accepted_and_other_models_refused(hub: HubDouble, tmp_path: Path) -> None:
    on_hub(hub, "org/tiny", save_tiny_model(tmp_path / "tiny", intermediate_size=200))
    on_hub(hub, "org/other", save_tiny_model(tmp_path / "other", intermediate_size=200, seed=5))
    found = found_by("tests.pipelines.sharing.hub_model", tmp_path, hub.url, TOKEN, threads=1, timeout_s=280)
    for repo, said in found.items():
        accepted = {model for model, words in said.items() if words == "accepted"}
        assert accepted == {"org/tiny", str(tmp_path / "elsewhere" / "copy")}, (repo, said)
        refused = [words for model, words in said.items() if model not in accepted]
        assert len(refused) == 4 and all("made for another model" in words for words in refused)

"""What the names in a configuration mean."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.corpora.presets import PRESETS, source_of
from polyneuron.neuron_core.corpora.sources import iter_texts


@pytest.mark.parametrize("name", ["embedded", "oscar", "culturax", "madlad400", "wikipedia"])
def test_a_preset_names_its_language(name: str) -> None:
    source = source_of(name)
    assert source is PRESETS[name]
    if name != "embedded":
        filled = source.for_language("sw")
        assert "sw" in f"{filled.path} {filled.config}" and "{" not in filled.describe()
        assert source.running_text


def test_files_urls_and_datasets(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for path in (str(tmp_path / "set"), "data/x.parquet", "s3://bucket/{language}", "./gone", "a/*.txt"):
        source = source_of(path)
        assert (source.kind, source.path, source.running_text) == ("files", path, False)
    plain = source_of("owner/name")
    assert (plain.kind, plain.path, plain.config, plain.split) == ("hub", "owner/name", None, "train")
    full = source_of("owner/name:{language}:dev").for_language("th")
    assert (full.path, full.config, full.split) == ("owner/name", "th", "dev")
    assert source_of("hub:c4").kind == "hub"


def test_a_relative_folder_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert source_of("owner/name").kind == "files"
    assert source_of("owner/{language}").kind == "files"


def test_a_name_that_is_not_in_a_folder_that_is_here_is_no_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "corpora" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match="the folder corpora holds mine.*hub:corpora/mien"):
        source_of("corpora/mien")
    assert source_of("corpora/mine").kind == "files"
    assert source_of("hub:corpora/mien").kind == "hub"
    assert source_of("corpora/mien:en").kind == "hub"
    assert source_of("owner/mien").kind == "hub"


@pytest.mark.parametrize("name", ["oskar", "", "two words"])
def test_an_unknown_name_lists_the_presets(name: str) -> None:
    presets = "embedded, oscar, culturax, madlad400, wikipedia, abstract-thought"
    with pytest.raises(CorpusError, match=presets):
        source_of(name)


@pytest.mark.parametrize("folder", ["", "detect/"])
def test_the_authors_set_is_found_in_any_folder(tmp_path: Path, folder: str) -> None:
    for name, text in (("en", "one\ntwo\n"), ("de", "eins\n")):
        path = tmp_path / f"{folder}{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    source = source_of("abstract-thought")
    assert source.path == "hf://datasets/Chen1999/Detection" and not source.running_text
    local = replace(source, path=str(tmp_path))
    assert list(iter_texts(local, "en")) == ["one", "two"]
    with pytest.raises(CorpusError, match=r"\*\*/sw\.\*"):
        list(iter_texts(local, "sw"))


def test_a_pinned_revision_is_a_whole_commit() -> None:
    pinned = {name: source.revision for name, source in PRESETS.items() if source.revision}
    assert set(pinned) == {"culturax", "wikipedia"}
    assert all(re.fullmatch("[0-9a-f]{40}", revision) for revision in pinned.values())

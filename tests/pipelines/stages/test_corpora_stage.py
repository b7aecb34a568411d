"""Texts of a study: read as the configuration says for each language, counted, doubted, and refused where two are one."""

import json
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.corpora.embedded_corpus import embedded
from polyneuron.neuron_core.training.data.documents import documents
from polyneuron.pipelines.config.corpus import CorpusConfig
from polyneuron.pipelines.config.training import TrainingConfig
from polyneuron.pipelines.stages.corpora import mixture_for, source_for
from tests.pipelines.in_process import TinyStudy, tiny_config
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def _written(folder: Path, **languages: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for code, sentences in languages.items():
        (folder / f"{code}.txt").write_text("\n".join(sentences), encoding="utf-8")
    return folder


def _rows(model: Path, store: Path, **corpus: Any) -> dict[str, dict[str, Any]]:
    settings = {"n_detection": 6, "n_heldout": 3, "max_tokens": 12, **corpus}
    with TinyStudy(tiny_config(model, store, corpus=settings), model) as study:
        study.do("corpora")
    return {row["language"]: row for row in Store(store).read("corpora").to_pylist()}


def test_a_folder_whose_name_holds_both_codes(tmp_path: Path, model: Path) -> None:
    folder = _written(tmp_path / "corpora-en-sw", en=embedded()["en"][:12], sw=embedded()["sw"][:12])
    rows = _rows(model, tmp_path / "store", source=str(folder))
    assert rows["en"]["sha"] != rows["sw"]["sha"]
    assert [json.loads(row["doubts_json"]) for row in rows.values()] == [[], []]


def test_one_text_for_two_languages_is_refused_and_nothing_is_stored(tmp_path: Path, model: Path) -> None:
    folder = _written(tmp_path / "texts", en=embedded()["en"][:9], sw=embedded()["en"][:9])
    with pytest.raises(CorpusError, match="'en' and 'sw' have 9 of 9"):
        _rows(model, tmp_path / "store", source=str(folder))
    assert Store(tmp_path / "store").read("corpora").num_rows == 0


def test_doubts_are_stored_and_told(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _written(tmp_path / "texts", en=embedded()["en"][:9], sw=embedded()["de"][:9])
    rows = _rows(model, tmp_path / "store", source=str(folder))
    [doubt] = json.loads(rows["sw"]["doubts_json"])
    assert (
        "9 de" in doubt and doubt in capsys.readouterr().err and json.loads(rows["en"]["doubts_json"]) == []
    )


@pytest.mark.parametrize(
    ("short", "detect_in"), [(True, "sentences"), (False, "sentences"), (True, "windows")]
)
def test_unequal_lengths_are_a_warning_by_name(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], short: bool, detect_in: str
) -> None:
    """At twelve tokens all sentences of both languages are cut, but not single letters with a number; windows are alike."""
    english = [f"x {i}" for i in range(9)] if short else embedded()["en"][:9]
    folder = _written(tmp_path / "texts", en=english, sw=embedded()["sw"][:9])
    rows = _rows(model, tmp_path / "store", source=str(folder), detect_in=detect_in)
    said = capsys.readouterr().err
    warned = short and detect_in == "sentences"
    assert ("longer in sw than in en" in said) is warned and ("not comparable" in said) is warned
    read = {(row["n_detection"], row["n_tokens_detection"], row["detect_in"]) for row in rows.values()}
    assert (len(read) == 1) is not warned
    if detect_in == "windows":  # six sentences of three tokens fill one window of twelve
        assert read == {(1, 12, "windows")} and "as many as corpus.n_detection=" in said


def test_too_little_text_for_a_window_says_which_language_and_what_to_do(tmp_path: Path, model: Path) -> None:
    folder = _written(tmp_path / "texts", en=[f"x {i}" for i in range(9)], sw=embedded()["sw"][:9])
    with pytest.raises(CorpusError, match=r"text of en has 18 tokens.*corpus\.max_tokens"):
        _rows(model, tmp_path / "store", source=str(folder), max_tokens=19)
    assert Store(tmp_path / "store").read("corpora").num_rows == 0


def test_what_was_cut_is_not_counted_as_dropped(tmp_path: Path, model: Path) -> None:
    folder = _written(tmp_path / "texts", en=embedded()["en"][:10], sw=embedded()["sw"][:9])
    rows = _rows(model, tmp_path / "store", source=str(folder))
    dropped = {code: sum(json.loads(row["dropped_json"]).values()) for code, row in rows.items()}
    assert dropped == {"en": 1, "sw": 0} and rows["sw"]["n_cut"] == 3


def test_a_local_copy_is_read_as_its_preset_reads_the_hub() -> None:
    config = CorpusConfig.model_validate(
        {
            "source": "./oscar/{language}_meta",
            "text_column": "content",
            "running_text": True,
            "sources": {
                "sw": {"text_column": "meta.text", "running_text": False},
                "th": "wikipedia",
                "zh": "embedded",
            },
        }
    )
    oscar, preset = source_for(config, "en"), source_for(CorpusConfig(source="oscar"), "en")
    assert (oscar.text_column, oscar.running_text) == (preset.text_column, preset.running_text)
    swahili = source_for(config, "sw")
    assert (swahili.path, swahili.text_column, swahili.running_text) == (oscar.path, "meta.text", False)
    assert (
        source_for(config, "th").path == "wikimedia/wikipedia" and source_for(config, "zh").kind == "embedded"
    )
    assert source_for(CorpusConfig(source="oscar"), "en").text_column == "content"


def test_documents_of_one_language_are_split(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "oscar" / "sw_meta"
    folder.mkdir(parents=True)
    documents = [" ".join(embedded()["sw"][i : i + 4]) for i in range(0, 24, 4)]
    (folder / "part_1.jsonl").write_text("".join(json.dumps({"content": d}) + "\n" for d in documents))
    own = {"sw": {"source": str(folder), "text_column": "content", "running_text": True}}
    assert _rows(model, tmp_path / "store", sources=own)["sw"]["n_read"] == 24


def test_a_local_copy_gives_training_the_documents_of_its_preset(tmp_path: Path) -> None:
    texts = ["One line.\nAnother line.", "A second document."]
    for name in ("plain", "escaped"):
        (tmp_path / name).mkdir()
    (tmp_path / "plain" / "sw.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    rows = [json.dumps({"page": {"body": text.replace("\n", "\\n")}}) for text in texts]
    (tmp_path / "escaped" / "part-0.jsonl").write_text("\n".join(rows))
    (tmp_path / "escaped" / "other.jsonl").write_text('{"page": {"body": "Not of the corpus."}}')
    said = {"share": 2.0, "text_column": "page.body", "escaped_newlines": True, "data_files": "part-*"}
    ways = ({str(tmp_path / "plain"): 2}, {str(tmp_path / "escaped"): said})
    plain, escaped = (mixture_for(TrainingConfig.model_validate({"mixture": way})) for way in ways)
    assert [share for _, share in (*plain, *escaped)] == [2.0, 2.0]
    read = [sorted(documents(mixture, "sw", "all")) for mixture in (plain, escaped)]
    assert read[0] == read[1] == sorted(texts)


@pytest.mark.parametrize(
    "part", [0, -1, "much", True, None, [], {"share": 0}, {"column": "text"}, {"text_column": ""}]
)
def test_a_part_of_a_mixture_that_means_nothing_is_refused(part: object) -> None:
    with pytest.raises(ValueError, match="mixture"):
        TrainingConfig.model_validate({"mixture": {"embedded": part}})

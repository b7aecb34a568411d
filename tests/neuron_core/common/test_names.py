"""Whatever users call their models, languages and trainings, the files stay in their folders."""

import os
import re
import tempfile
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polyneuron.eval.store.paths import partition_folder
from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.neuron_core.common.names import safe_name

NAMES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400),
    st.lists(
        st.sampled_from(["..", ".", "/", "\\", "\0", "~", "C:", "CON", "%2F", "\u202e", "ｅ", "a"]),
        min_size=1,
    ).map("".join),
)


def test_ordinary_names_are_readable() -> None:
    assert safe_name("Qwen/Qwen3-0.6B") == "Qwen%2FQwen3-0.6B"


@pytest.mark.parametrize("name", ["", "\udc80"])
def test_names_without_text_are_refused(name: str) -> None:
    with pytest.raises(StoreError):
        safe_name(name)


@given(NAMES)
@example("../../etc/passwd")
@example("/etc/passwd")
@example("a\0b")
@example("CON")
@example("nul.txt")
@example("\u2025/\u2025")
@example("x" * 10_000)
def test_a_name_is_one_part_of_a_path_and_says_what_it_was(name: str) -> None:
    safe = safe_name(name)
    assert re.fullmatch(r"[A-Za-z0-9%-][A-Za-z0-9%._~-]*", safe) and len(f"language={safe}.parquet") < 255
    assert os.path.normpath(f"/store/{safe}") == f"/store/{safe}" and Path(safe).name == safe
    if "~" not in safe:
        assert unquote(safe) == name


@given(NAMES, NAMES)
def test_two_names_are_two_files(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)


@settings(max_examples=40)
@given(NAMES, NAMES)
@example("../../../../x", "..")
@example("a\0b", "/etc")
def test_the_store_writes_nowhere_else(model: str, language: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "a", "b", "store")
        row = {
            "model": model, "weights": "w", "language": language, "source": "s", "revision": None, "sha": "0",
            "detect_in": "windows",
            "n_read": 1, "n_detection": 1, "n_heldout": 1, "n_tokens_detection": 1, "n_tokens_heldout": 1, "n_cut": 0,
            "dropped_json": "{}", "doubts_json": "[]",
        }  # fmt: skip
        store, unit = Store(root), f"{model}/{language}"
        store.write("corpora", pa.Table.from_pylist([row]), unit, {"model": model}, run_id="r")
        outside = [p for p in Path(folder).rglob("*") if p.is_file() and not p.is_relative_to(root)]
        assert outside == [] and store.has("corpora", unit)
        found = store.read("corpora", [("model", "=", model)]).to_pylist()
        assert [(row["model"], row["language"]) for row in found] == [(model, language)]


@given(st.text(st.characters(categories=["Cs"]), min_size=1))
def test_halves_of_characters_are_refused(name: str) -> None:
    with pytest.raises(StoreError, match="Unicode"):
        safe_name(name)
    with pytest.raises(StoreError):
        partition_folder(TABLES["corpora"], {"model": name})

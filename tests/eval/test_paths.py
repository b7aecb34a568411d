"""Names become single folder names that nothing can escape, and that readers of Hive folders decode again."""

import re
from urllib.parse import unquote

import pytest

from eval.paths import NULL_PARTITION, is_data_file, is_temporary, partition_folder, safe_name
from eval.schemas import TABLES
from neuron_core.errors import StoreError

NASTY = [
    "..", ".", "../../etc/passwd", "/abs/path", "a/b", "a\\b", "a=b", "nul\0l", "ไทย", "中文", ".hidden",
    "_meta",
    "%2e%2e", "%2F", "~x", "sp ace", "a\nb", NULL_PARTITION, "C:\\x", "x" * 400, "ж" * 100,
]  # fmt: skip


@pytest.mark.parametrize("name", NASTY)
def test_a_safe_name_is_one_plain_file_name(name: str) -> None:
    safe = safe_name(name)
    assert re.fullmatch(r"[A-Za-z0-9%~-][A-Za-z0-9%._~-]*", safe)
    assert len(safe) + len("selection=") < 255


@pytest.mark.parametrize("name", [name for name in NASTY if len(name) < 50])
def test_short_names_decode_to_themselves(name: str) -> None:
    assert unquote(safe_name(name)) == name


def test_different_names_stay_different() -> None:
    names = [*NASTY, "a", "A", "a%2Fb", "x" * 401, "x" * 180, "x" * 180 + "~", safe_name("x" * 400)]
    assert len({safe_name(name) for name in names}) == len(names)


def test_ordinary_names_are_readable() -> None:
    assert safe_name("Qwen/Qwen3-0.6B") == "Qwen%2FQwen3-0.6B"


@pytest.mark.parametrize("name", ["", "\udc80"])
def test_names_without_text_are_refused(name: str) -> None:
    with pytest.raises(StoreError):
        safe_name(name)


def test_partitions_follow_the_schema_whatever_their_order() -> None:
    folder = partition_folder(TABLES["neuron_sets"], {"kind": "shared", "language": None, "model": "a/b"})
    assert folder == f"neuron_sets/model=a%2Fb/kind=shared/language={NULL_PARTITION}"


def test_partitions_need_a_model_and_known_columns() -> None:
    with pytest.raises(StoreError, match="needs its model"):
        partition_folder(TABLES["impacts"], {"language": "en"})
    with pytest.raises(StoreError, match="no column tongue"):
        partition_folder(TABLES["impacts"], {"model": "m", "tongue": "en"})


def test_only_finished_files_are_data() -> None:
    assert is_data_file("impacts/model=m/0a.parquet")
    for path in (
        "impacts/.writing-12.tmp",
        "impacts/.0a.parquet",
        "impacts/0a.parquet.tmp",
        "impacts/notes.txt",
    ):
        assert not is_data_file(path)
    assert is_temporary("impacts/model=m/.writing-12.tmp") and not is_temporary("impacts/0a.parquet")

"""Names become single folder names that nothing can escape, and that readers of Hive folders decode again."""

import pytest

from polyneuron.eval.store.paths import NULL_PARTITION, is_data_file, is_temporary, partition_folder
from polyneuron.eval.store.schemas import TABLES
from polyneuron.neuron_core.common.errors import StoreError


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

"""Temporary files and folders beside those whose place they take: what killed writers left is removed, others' stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from polyneuron.neuron_core.common.errors import SetError
from polyneuron.neuron_core.common.files import temporary_beside, whole_folder, write_whole

KILLED = """
import os, signal, sys
from pathlib import Path
from polyneuron.neuron_core.common.files import whole_folder, write_whole
place = Path(sys.argv[1])
if sys.argv[2] == "file":
    write_whole(place, lambda file: (file.write_text("half"), os.kill(os.getpid(), signal.SIGKILL)), "set")
with whole_folder(place) as folder:
    (folder / "half").write_text("")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_is_removed_by_the_next(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "a[b]*.set"
    subprocess.run([sys.executable, "-c", KILLED, str(place), kind], cwd=Path(__file__).parents[3])
    assert len(list(tmp_path.iterdir())) == 1 and not place.exists()
    if kind == "file":
        write_whole(place, lambda file: file.write_text("whole"), "set")
    else:
        with whole_folder(place) as folder:
            (folder / "whole").touch()
    assert list(tmp_path.iterdir()) == [place]


def test_what_others_write_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "x"
    names = [temporary_beside(place) for _ in range(2)]
    elsewhere = place.with_name(".x.00000000.999999999.00.tmp")
    longer = temporary_beside(tmp_path / "x.y")
    for path in (*names, elsewhere, longer):
        path.touch()
    assert len(set(names)) == 2 and str(os.getpid()) in names[0].name
    assert temporary_beside(place) not in names
    assert all(path.exists() for path in (*names, elsewhere, longer))


@pytest.mark.parametrize(
    ("name", "reason"), [("none/set.json", "there is no folder"), ("taken", "is a folder")]
)
def test_why_a_file_cannot_be_written_names_no_temporary_file(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "taken" / "full").mkdir(parents=True)
    with pytest.raises(SetError, match=reason) as raised:
        write_whole(tmp_path / name, lambda file: file.write_text("x"), "set")
    assert ".tmp" not in str(raised.value) and "Errno" not in str(raised.value)

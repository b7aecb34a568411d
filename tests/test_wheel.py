"""The wheel in an environment of its own, in a folder where the user has packages called eval, cluster and pipelines."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.house import FLOORS, ROOT
from tests.tiny_models import save_tiny_model

SUITES = ("tests/neuron_core/sets", "tests/eval/store")
"""Tests that need nothing of the repository but the product."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what the build reads, so that nothing is left in the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("polyneuron", *FLOORS):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(out),
        str(source),
    ]
    subprocess.run(build, check=True, capture_output=True, timeout=200)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def beside(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A fresh environment's Python with the wheel and the locked libraries, and a folder with packages of our floors' names."""
    environment, folder = tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("beside")
    venv.create(environment, symlinks=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # a path named in a .pth file is searched, but its own .pth files, such as those of an editable install, are not read
    (packages / "locked.pth").write_text(sysconfig.get_path("purelib"))
    for name in FLOORS:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise ImportError('this is the user’s own package')\n")
    return environment / "bin" / "python", folder


def run(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(python), *arguments], cwd=folder, env=clean, capture_output=True, text=True, timeout=280
    )


def test_every_package_and_data_file_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = [
        *((floor, path) for floor in FLOORS for path in (ROOT / floor).rglob("*")),
        *(("", path) for path in (ROOT / "polyneuron").rglob("*")),
    ]
    wanted = {
        f"polyneuron/{path.relative_to(ROOT)}" if floor else str(path.relative_to(ROOT))
        for floor, path in ours
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == wanted


@pytest.mark.long
def test_tests_pass_from_the_wheel_beside_folders_of_the_floors_names(beside: tuple[Path, Path]) -> None:
    python, folder = beside
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    done = run(python, folder, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *SUITES)
    assert done.returncode == 0, done.stdout[-2000:]
    where = run(python, folder, "-c", "import polyneuron.eval.store.store as s; print(s.__file__)").stdout
    assert Path(where.strip()).is_relative_to(python.parents[1])


@pytest.mark.long
@pytest.mark.ray
def test_workers_find_the_wheel_and_not_the_folders(beside: tuple[Path, Path]) -> None:
    python, folder = beside
    model = save_tiny_model(folder / "tiny")
    (folder / "study.yaml").write_text(
        f"kind: study\nmodels: [{{path: {model}, name: tiny}}]\nlanguages: [en, sw]\nstore: {folder / 'store'}\n"
        "corpus: {n_detection: 6, n_heldout: 2, max_tokens: 12}\ndetection: {floor_fraction: 1.0}\n"
    )
    arguments = ("-m", "polyneuron.pipelines.cli", "detect", "--config", "study.yaml")
    done = run(python, folder, *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list((folder / "store" / "selections").rglob("*.parquet"))

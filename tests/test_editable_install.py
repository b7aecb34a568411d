"""What `make study` installs: the checkout itself, found from any folder, also from the one that the checkout lies in."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.house import FLOORS, ROOT

_BUILD = "import sys; from setuptools.build_meta import build_editable; build_editable(sys.argv[1])"
_ASK = "import site, sys; site.addsitedir(sys.argv[1]); import polyneuron as pn; print(pn.__file__, pn.open.__module__)"


@pytest.mark.long
def test_the_package_is_found_from_beside_a_checkout_of_its_name(tmp_path: Path) -> None:
    checkout, packages = tmp_path / "polyneuron", tmp_path / "packages"
    checkout.mkdir()
    for name in ("polyneuron", *FLOORS):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def python(folder: Path, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=clean, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    python(checkout, "-c", _BUILD, str(tmp_path))
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # without the site-packages of the tests, where another checkout may be installed, but with the libraries that are there
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    found = python(tmp_path, "-S", "-c", _ASK, str(packages)).split()
    assert found == [
        str(checkout / "polyneuron" / "__init__.py"),
        "polyneuron.pipelines.notebook.study",
    ]

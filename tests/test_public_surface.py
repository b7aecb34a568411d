"""The names of `import polyneuron as pn`: they mean the same at every use, a reader finds them, and a type checker knows them."""

import ast
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import polyneuron as pn
from polyneuron import neuron_core

ROOT = Path(__file__).parent.parent
FLOORS = ("neuron_core", "cluster", "eval", "pipelines")
PUBLIC = [name for name in pn.__all__ if name != "__version__"]


def in_fresh_process(script: str) -> Any:
    """What `script` prints as JSON in its last line, run by a Python that has imported nothing of ours."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


SAME_AT_EVERY_USE = """
import importlib, json
import polyneuron as pn
names = [name for name in pn.__all__ if name != "__version__"]
first = {name: getattr(pn, name) for name in names}
for module in json.loads('MODULES'):
    importlib.import_module(module)
from polyneuron import neuron_core
later = {name: (getattr(pn, name), getattr(neuron_core, name)) for name in names}
print(json.dumps({name: [first[name] is each for each in later[name]] for name in names}))
"""


@pytest.mark.parametrize("before", [False, True])
def test_a_name_is_the_same_object_at_every_use(before: bool) -> None:
    """Also when every module of neuron_core, and every floor, is imported in between, or was before."""
    files = sorted((ROOT / "neuron_core").rglob("*.py"))
    modules = [".".join(("polyneuron", *file.relative_to(ROOT).with_suffix("").parts)) for file in files]
    modules += [f"polyneuron.{floor}" for floor in FLOORS]
    script = SAME_AT_EVERY_USE.replace("MODULES", json.dumps(modules))
    if before:
        loop = script[script.index("for module") : script.index("from polyneuron import neuron_core")]
        script = script.replace("first =", f"{loop}first =", 1)
    same = in_fresh_process(script)
    assert sorted(same) == sorted(PUBLIC)
    assert all(all(uses) for uses in same.values())


def test_the_three_lists_of_names_agree() -> None:
    source = ast.parse((ROOT / "neuron_core" / "__init__.py").read_text(encoding="utf-8"))
    guarded = next(
        node for node in source.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    imported = {
        str(node.module).removeprefix("polyneuron.neuron_core."): tuple(alias.name for alias in node.names)
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
    }
    assert imported == neuron_core._MODULES
    listed = [name for names in neuron_core._MODULES.values() for name in names]
    assert sorted(listed) == sorted(neuron_core.__all__) == sorted(PUBLIC)
    assert len(set(listed)) == len(listed)


def test_no_name_is_that_of_a_package() -> None:
    """A package becomes an attribute of the one above it when it is imported, and would hide the name."""
    rooms = {path.name for path in (ROOT / "neuron_core").iterdir()}
    assert {"measures", "sets"} <= rooms
    assert not {*PUBLIC} & {*rooms, *FLOORS}


def test_dir_lists_every_name() -> None:
    assert {*PUBLIC, "__version__"} <= {*dir(pn)}
    assert {*PUBLIC} <= {*dir(neuron_core)}


def test_the_version_is_that_of_the_distribution() -> None:
    assert pn.__version__ == version("polyneuron")


@pytest.mark.parametrize("module", [pn, neuron_core])
def test_another_name_is_an_attribute_error(module: Any) -> None:
    name = "no_such_name"
    with pytest.raises(AttributeError, match=name):
        getattr(module, name)


def test_importing_the_surface_imports_no_torch() -> None:
    heavy = in_fresh_process(
        "import json, sys, polyneuron as pn\n"
        "dir(pn), pn.__version__\n"
        "print(json.dumps(sorted({'torch', 'transformers', 'numpy', 'pyarrow'} & {*sys.modules})))"
    )
    assert heavy == []


def test_every_floor_says_that_it_is_typed() -> None:
    assert all((ROOT / floor / "py.typed").is_file() for floor in ("polyneuron", *FLOORS))


MYPY = """
[mypy]
ignore_missing_imports = true
cache_dir = /dev/null
[mypy-polyneuron.*]
follow_imports = silent
[mypy-torch.*,transformers.*,safetensors.*]
follow_imports = skip
"""
SNIPPET = """
import polyneuron as pn
reveal_type(pn.NeuronSet.empty)
reveal_type(pn.perplexity)
reveal_type(pn.__version__)
pn.no_such_name
"""


def test_a_type_checker_sees_the_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    package = tmp_path / "polyneuron"
    package.mkdir()
    for name in ("polyneuron/__init__.py", "polyneuron/py.typed", *FLOORS):
        (package / Path(name).name).symlink_to(ROOT / name)
    (tmp_path / "mypy.ini").write_text(MYPY)
    (tmp_path / "snippet.py").write_text(SNIPPET)
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "snippet.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    revealed = {int(line.split(":")[1]): line for line in done.stdout.splitlines() if "snippet.py:" in line}
    assert "NeuronSet" in revealed[3] and "-> float" in revealed[4] and '"str"' in revealed[5], done.stdout
    assert "attr-defined" in revealed[6] and "no_such_name" in revealed[6]

"""The floors of the project: which package may import which, read from the source and not from a running
import.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FORBIDDEN = {
    "neuron_core": {"cluster", "eval", "pipelines", "ray", "deepspeed", "vllm", "lm_eval"},
    "eval": {"cluster", "pipelines", "ray", "deepspeed"},
    "cluster": {"eval", "pipelines"},
}


def imported_packages(source: str) -> set[str]:
    """Top-level names of every absolute import in `source`, those inside functions included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_imports_inside_functions_are_seen() -> None:
    source = "import ray.util as r\ndef f():\n    from polyneuron.eval.store.store import Store\nfrom . import pipelines\n"
    assert imported_packages(source) == {"ray", "eval"}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_package_imports_nothing_from_a_higher_floor(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in files
        if (found := imported_packages(path.read_text(encoding="utf-8")) & FORBIDDEN[package])
    }
    assert not wrong

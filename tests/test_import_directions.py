"""What may import what: floors, and the rooms of neuron_core, read from the source and not from a running import."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FORBIDDEN = {
    "neuron_core": {"cluster", "eval", "pipelines", "ray", "deepspeed", "vllm", "lm_eval"},
    "eval": {"cluster", "pipelines", "ray", "deepspeed"},
    "cluster": {"eval", "pipelines"},
}


def imported_modules(source: str) -> set[str]:
    """Full names of every absolute import in `source`, those inside functions included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def imported_packages(source: str) -> set[str]:
    """What each import names first: a library, or a floor of ours."""
    return {module.removeprefix("polyneuron.").split(".")[0] for module in imported_modules(source)}


def test_imports_inside_functions_are_seen() -> None:
    source = (
        "import ray.util as r\ndef f():\n    from polyneuron.eval.store.store import Store\n"
        "from polyneuron import cluster\nfrom . import pipelines\n"
    )
    assert imported_packages(source) == {"ray", "eval", "cluster"}


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


def rooms(*inside: str) -> dict[str, set[str]]:
    """Every room of a folder of the product, with the rooms of the same folder that it imports."""
    folder, prefix = ROOT.joinpath(*inside), ["polyneuron", *inside]
    graph: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        room = path.relative_to(folder).parts[0]
        if room.endswith(".py"):
            continue
        modules = (module.split(".") for module in imported_modules(path.read_text(encoding="utf-8")))
        others = {parts[len(prefix)] for parts in modules if parts[: len(prefix)] == prefix}
        graph.setdefault(room, set()).update(others - {room})
    return graph


def listed_rooms() -> dict[str, set[str]]:
    """The same graph as CONTRIBUTING.md lists it."""
    _, _, rest = (
        (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("| room | imports |\n|---|---|\n")
    )
    rows = (line.strip("|").split("|") for line in rest.partition("\n\n")[0].splitlines())
    return {room.strip(): set(re.findall(r"\w+", imports)) for room, imports in rows}


def test_the_graph_of_rooms_is_the_one_that_is_listed() -> None:
    assert listed_rooms() == rooms("neuron_core")


@pytest.mark.parametrize(("inside", "n_rooms"), [(("neuron_core",), 11), (("neuron_core", "training"), 4)])
def test_rooms_form_no_circle(inside: tuple[str, ...], n_rooms: int) -> None:
    graph = rooms(*inside)
    assert len(graph) >= n_rooms and any(graph.values())
    list(TopologicalSorter(graph).static_order())  # raises CycleError and names the circle

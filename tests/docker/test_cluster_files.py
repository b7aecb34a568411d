"""Compose and Kubernetes: commands that our CLI takes, a token in a file, pods without privileges, Ray's version, room enough."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from polyneuron.pipelines.cli import app
from polyneuron.pipelines.config.load import CONFIGS, load_nightly, load_study
from tests.docker.files import DOCKER, ROOT, commands, compose, pods, resources

LOADERS = {"study": load_study, "nightly": load_nightly}


@pytest.mark.parametrize("where", sorted(commands()))
def test_every_command_is_one_of_ours_and_its_configuration_loads(where: str) -> None:
    arguments = commands()[where]
    if arguments == ["--help"]:
        return
    click = typer.main.get_command(app)
    name, command, rest = click.resolve_command(
        click.make_context("polyneuron", [], resilient_parsing=True), arguments
    )
    given = command.make_context(name, rest).params
    assert (CONFIGS / f"{given['config']}.yaml").exists()
    config = LOADERS[name](given["config"], given["overrides"])
    assert config.store.startswith("/results/")


def test_the_workflow_runs_a_launcher_a_target_and_a_configuration_that_exist() -> None:
    (job,) = yaml.safe_load((DOCKER / "github-actions-nightly.yml").read_text())["jobs"].values()
    steps = {step["name"]: step for step in job["steps"] if "name" in step}
    launcher = steps["Judge against the last good night"]
    assert (ROOT / launcher["run"].split()[1]).is_file()
    load_nightly(launcher["env"]["CONFIG"], [f"store={launcher['env']['STORE']}"])
    target = steps["Install"]["run"].removeprefix("make ")
    assert f"\n{target}:" in (ROOT / "Makefile").read_text()


def test_the_study_has_room_on_the_cluster_it_is_sent_to() -> None:
    config = load_study("llama3_70b")
    (cluster,) = resources("RayCluster")
    (group,) = cluster["spec"]["workerGroupSpecs"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert int(limits["nvidia.com/gpu"]) == config.cluster.world_size * config.cluster.gpus_per_worker
    assert int(limits["cpu"]) >= config.cluster.world_size * config.cluster.threads_per_worker
    small = load_study("study_smollm2")
    services = compose()["services"]
    cpus = sum(
        int(part.split("=")[1]) for s in services.values() for part in s["command"] if "--num-cpus" in part
    )
    assert cpus >= small.cluster.world_size * small.cluster.threads_per_worker


def test_rays_version_is_the_locks() -> None:
    for kind in ("cpu", "cuda"):
        lock = (ROOT / "requirements" / f"{kind}.lock").read_text().splitlines()
        (locked,) = [line.partition("==")[2] for line in lock if line.startswith("ray==")]
        assert [cluster["spec"]["rayVersion"] for cluster in resources("RayCluster")] == [locked]


def test_compose_wants_the_token_and_keeps_it_in_a_file() -> None:
    file = compose()
    assert all(not secret.keys() - {"file"} for secret in file["secrets"].values())
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for secret in file["secrets"].values():
        assert f"docker/{Path(secret['file']).parent}/" in ignored
    for service in file["services"].values():
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        token = service["environment"]["RAY_AUTH_TOKEN_PATH"]
        assert Path(token).name in service["secrets"] and "RAY_AUTH_TOKEN" not in service["environment"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert service["cap_drop"] == ["ALL"] and service["read_only"]
        assert service["mem_limit"]


def mounted_secrets(pod: dict[str, Any]) -> set[str]:
    return {volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume}


def test_no_pod_has_privileges_a_kubernetes_token_or_a_secret_in_its_environment() -> None:
    found = list(pods())
    assert {kind for kind, _ in found} == {"RayCluster", "RayJob", "CronJob"}
    for _, pod in found:
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False and context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
            assert not [variable for variable in container.get("env", ()) if "valueFrom" in variable]
            mounts = {mount["name"] for mount in container["volumeMounts"]}
            assert mounts == {volume["name"] for volume in spec["volumes"]} and "tmp" in mounts


def test_volumes_secrets_and_clusters_that_are_named_exist() -> None:
    (cluster,) = resources("RayCluster")
    name = cluster["metadata"]["name"]
    assert cluster["spec"]["authOptions"] == {"mode": "token"}
    claims = {claim["metadata"]["name"] for claim in resources("PersistentVolumeClaim")}
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    for _, pod in pods():
        used = {
            v["persistentVolumeClaim"]["claimName"]
            for v in pod["spec"]["volumes"]
            if "persistentVolumeClaim" in v
        }
        assert used <= claims
        for secret in mounted_secrets(pod) - {name}:  # KubeRay makes the cluster's own
            assert f"create secret generic {secret}" in page
    (job,) = resources("RayJob")
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": name}
    (policy,) = resources("NetworkPolicy")
    assert policy["spec"]["podSelector"]["matchLabels"] == {"ray.io/cluster": name}
    (nightly,) = resources("CronJob")
    spec = nightly["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert mounted_secrets({"spec": spec}) == {name}
    environment = {variable["name"]: variable["value"] for variable in spec["containers"][0]["env"]}
    assert environment["RAY_API_SERVER_ADDRESS"] == f"http://{name}-head-svc:8265"


def test_submitters_are_let_through_to_the_dashboard() -> None:
    (policy,) = resources("NetworkPolicy")
    (beside,) = [rule for rule in policy["spec"]["ingress"] if "ports" in rule]
    allowed = beside["from"][0]["podSelector"]["matchLabels"]
    for kind, pod in pods():
        labels = pod["metadata"]["labels"]
        assert (allowed.items() <= labels.items()) == (kind != "RayCluster")


def test_kustomizations_name_every_file_and_every_path_of_the_page_exists() -> None:
    for folder in (DOCKER / "kubernetes").iterdir():
        listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
        assert sorted([*listed, "kustomization.yaml"]) == sorted(file.name for file in folder.iterdir())
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    named = set(re.findall(r"docker/[\w./-]*\w", page))
    assert len(named) >= 7 and [name for name in named if not (ROOT / name).exists()] == []

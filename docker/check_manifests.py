"""Checks the Kubernetes manifests against schemas: KubeRay's resources against the CRDs of a KubeRay checkout, the others with
the tool kubernetes-validate, where it is installed.

    git clone --depth 1 --branch v1.7.0 https://github.com/ray-project/kuberay
    pip install jsonschema kubernetes-validate
    python docker/check_manifests.py kuberay/ray-operator/config/crd/bases
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

MANIFESTS = Path(__file__).parent / "kubernetes"


def main(crds: Path) -> int:
    """Prints one line per resource; returns 1 where one does not fit its schema."""
    schemas = dict(_schemas(crds))
    failures = 0
    for path in sorted(MANIFESTS.rglob("*.yaml")):
        for resource in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if resource["kind"] == "Kustomization":
                continue
            kind = (resource["apiVersion"], resource["kind"])
            problems = _problems(schemas[kind], resource) if kind in schemas else _kubernetes(resource)
            failures += bool(problems)
            print(f"{path.relative_to(MANIFESTS)} {resource['kind']}: {'; '.join(problems) or 'ok'}")
    return int(failures > 0)


def _schemas(crds: Path) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for path in crds.glob("*.yaml"):
        crd = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
        for version in crd["versions"]:
            schema = _closed(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            yield (f"{crd['group']}/{version['name']}", crd["names"]["kind"]), schema


def _closed(schema: Any) -> Any:
    """The schema with unknown keys refused, as an API server with strict validation does."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(part) for key, part in schema.items()}
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and "type" in schema and not open_ended:
        closed["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        closed = {"type": ["integer", "string"]}
    return closed


def _problems(schema: dict[str, Any], resource: dict[str, Any]) -> list[str]:
    found = jsonschema.Draft202012Validator(schema).iter_errors(resource)
    return [f"{error.json_path}: {error.message}" for error in found]


def _kubernetes(resource: dict[str, Any]) -> list[str]:
    import kubernetes_validate

    try:
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{error.message}"]
    return []


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""Connecting to Ray: a running cluster where there is one, else a quiet local one that only this study can reach."""

import logging
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants
from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

import polyneuron

_LOCAL_OBJECT_STORE_BYTES = 512 << 20


@contextmanager
def ray_session(n_cpus: int | None = None) -> Iterator[None]:
    """Inside, Ray is up. Joins the cluster of `ray job submit` or $RAY_ADDRESS; starts and stops a local one otherwise, bound
    to loopback and behind a token of its own. A session that was up already is used and left alone."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    local: dict[str, Any] = {}
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        local = {
            "address": "local",
            "num_cpus": n_cpus,
            "include_dashboard": False,
            "object_store_memory": _LOCAL_OBJECT_STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
        }
    with _private() if local else nullcontext():
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **local)
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _private() -> Iterator[None]:
    """Inside, a Ray that starts listens on 127.0.0.1 alone, and asks for a token that lies in a file only this user can read.
    On Linux Ray replaces 127.0.0.1 by an address that others can reach, unless it believes that there are no clusters; it
    reads the variable when it is imported, and its processes read it again."""
    clusters, loader = ray_constants.ENABLE_RAY_CLUSTER, AuthenticationTokenLoader.instance()
    with tempfile.TemporaryDirectory(prefix="polyneuron-ray-") as folder:
        file = Path(folder) / "token"
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32), encoding="ascii")
        variables = {
            ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0",
            "RAY_AUTH_TOKEN_PATH": str(file),
            "RAY_AUTH_MODE": None,  # without a mode Ray turns tokens on
            "RAY_AUTH_TOKEN": None,
        }
        with _environment(variables):
            ray_constants.ENABLE_RAY_CLUSTER = False
            loader.reset_cache()
            try:
                yield
            finally:
                ray_constants.ENABLE_RAY_CLUSTER = clusters
                loader.reset_cache()


@contextmanager
def _environment(wanted: Mapping[str, str | None]) -> Iterator[None]:
    """Inside, these variables of the environment are so (None: not set); after, what they were."""
    before = {name: os.environ.get(name) for name in wanted}
    _set(wanted)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def import_path() -> str:
    """Returns PYTHONPATH for workers: the folder our packages lie in, then what the driver has."""
    root = str(Path(polyneuron.__file__).resolve().parents[1])
    inherited = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != root]
    return os.pathsep.join([root, *inherited])

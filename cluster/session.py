"""Connecting to Ray: a running cluster where there is one, else a quiet local one bound to loopback."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

_LOCAL_OBJECT_STORE_BYTES = 512 << 20


@contextmanager
def ray_session(n_cpus: int | None = None) -> Iterator[None]:
    """Inside, Ray is up. Joins the cluster of `ray job submit` or $RAY_ADDRESS; starts and stops a local one
    otherwise.

    A session that was up already is used and left alone.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    else:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            address="local",
            num_cpus=n_cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_LOCAL_OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
        )
    try:
        yield
    finally:
        ray.shutdown()


def import_path() -> str:
    """PYTHONPATH for workers: the folder our packages lie in, then what the driver has."""
    root = str(Path(__file__).resolve().parents[1])
    inherited = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != root]
    return os.pathsep.join([root, *inherited])

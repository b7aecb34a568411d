"""Connecting to Ray: a running cluster where there is one, else a quiet local one that only this study can reach."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray

import polyneuron
from polyneuron.cluster.actors.local_ray import install_signals_again, nothing_left, private
from polyneuron.cluster.actors.session_folder import private_folders
from polyneuron.neuron_core.common.errors import ClusterError

_LOCAL_OBJECT_STORE_BYTES = 512 << 20
_MOST_A_CORE = 16
"""Processes on one core that make no sense any more; a few do no harm."""
_TRIES, _BETWEEN_TRIES_S = 3, 3.0


@contextmanager
def ray_session(n_cpus: int | None = None) -> Iterator[None]:
    """Inside, Ray is up. Joins the cluster of `ray job submit` or $RAY_ADDRESS; starts and stops a local one
    otherwise, bound to loopback and behind a token of its own.

    A session that was up already is used and left alone. Of a local one nothing is left, however the block ends.

    Raises:
        ClusterError: Ray did not come up in several tries, as on a machine that is too busy, or far more cores are asked of a
            local one than there are.
    """
    if ray.is_initialized():
        yield
        return
    n_here = os.cpu_count() or 1
    if n_cpus is not None and n_cpus > _MOST_A_CORE * n_here and not os.environ.get("RAY_ADDRESS"):
        raise ClusterError(
            f"Workers or engine ask for {n_cpus:,} cores, and this machine has {n_here}: lower world_size, threads_per_worker or "
            "threads, or set RAY_ADDRESS to a cluster that has them"
        )
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with ExitStack() as session:
        _started(n_cpus, session)
        yield


def _started(n_cpus: int | None, session: ExitStack) -> None:
    """Brings Ray up, in a few tries; what ends it is left to `session`."""
    began = time.monotonic()
    for n_tried in range(1, _TRIES + 1):
        with ExitStack() as one_try:
            try:
                _start(n_cpus, one_try)
            except Exception as error:  # Ray raises whatever it meets, Exception itself too
                failure = error
            else:
                session.push(one_try.pop_all())
                return
        logging.getLogger(__name__).warning(
            "Ray did not start (try %d of %d)", n_tried, _TRIES, exc_info=failure
        )
        if n_tried < _TRIES:
            time.sleep(_BETWEEN_TRIES_S)
    reason = (str(failure).strip().splitlines() or [type(failure).__name__])[0]
    raise ClusterError(
        f"Ray did not start in {_TRIES} tries, {time.monotonic() - began:.0f} s: {reason}. "
        + (
            f"Is there a cluster at RAY_ADDRESS={os.environ['RAY_ADDRESS']}?"
            if os.environ.get("RAY_ADDRESS")
            else "The machine may be too busy, or short of memory, of room in its temporary folder or of processes: end other "
            "work on it, then run the same command again"
        )
    ) from failure


def _start(n_cpus: int | None, stack: ExitStack) -> None:
    """One try; what was made on the way is undone by `stack`."""
    stack.callback(install_signals_again)
    local: dict[str, Any] = {}
    if os.environ.get("RAY_ADDRESS"):
        stack.callback(ray.shutdown)
    else:
        folder, temporary = stack.enter_context(private_folders())
        stack.enter_context(private(folder, temporary))
        stack.enter_context(nothing_left((folder, temporary)))
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        local = {
            "address": "local",
            "num_cpus": n_cpus,
            "include_dashboard": False,
            "object_store_memory": _LOCAL_OBJECT_STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
            "_temp_dir": str(
                folder / "r"
            ),  # which Ray opens to everybody, inside a folder that is ours alone
        }
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **local)
    install_signals_again()


def import_path() -> str:
    """Returns PYTHONPATH for workers: the folder our packages lie in, then what the driver has."""
    root = str(Path(polyneuron.__file__).resolve().parents[1])
    inherited = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != root]
    return os.pathsep.join([root, *inherited])

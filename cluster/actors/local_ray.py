"""A Ray of our own on this machine, which only this user can reach: it starts in a folder of its own, and nothing of it is left
afterwards, neither a process nor a file."""

import ctypes
import os
import secrets
import shutil
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._private import ray_constants
from ray._private.node import Node
from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

from polyneuron.cluster.actors.vigil import started_by, survived, vigil

_LAST_PROCESSES_S = 10
_PR_SET_CHILD_SUBREAPER = 36


@contextmanager
def private(folder: Path, temporary: Path) -> Iterator[None]:
    """Inside, a Ray that starts listens on 127.0.0.1 alone, and asks for a token that lies in a file of `folder`, which only
    this user can read; its processes put their temporary files, and their libraries', into `temporary`. On Linux Ray replaces
    127.0.0.1 by an address that others can reach, unless it believes that there are no clusters; it reads the variable when it
    is imported, and its processes read it again."""
    clusters, loader = ray_constants.ENABLE_RAY_CLUSTER, AuthenticationTokenLoader.instance()
    file = folder / "token"
    file.touch(mode=0o600)
    file.write_text(secrets.token_hex(32), encoding="ascii")
    variables = {
        ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0",
        "RAY_AUTH_TOKEN_PATH": str(file),
        "TMPDIR": str(temporary),
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
def nothing_left(folders: Sequence[Path]) -> Iterator[None]:
    """Inside, Ray may start, fail to, lose a process or be interrupted; after, none of its processes is alive. Signals stay ours:
    Ray would end this process at SIGTERM by itself, without a word to the store. folders: to be removed where this process
    must be ended because Ray's calls do not come back."""
    with survived(f"RAY_AUTH_TOKEN_PATH={os.environ['RAY_AUTH_TOKEN_PATH']}", folders) as closed:
        yield from _nothing_left(folders, closed)


def _nothing_left(folders: Sequence[Path], closed: Callable[[], None]) -> Iterator[None]:
    nodes: list[Node] = []
    own = psutil.Process()
    before = set(own.children(recursive=True))
    _adopt_orphans(True)
    make, set_handler = Node.__init__, ray._private.utils.set_sigterm_handler
    ray._private.utils.set_sigterm_handler = lambda handler: None

    def made(node: Node, *arguments: Any, **named: Any) -> None:
        nodes.append(node)
        make(node, *arguments, **named)

    Node.__init__ = made  # type: ignore[method-assign, assignment]

    def end_all() -> None:
        closed()
        _end_processes(nodes, before)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    try:
        with vigil(nodes, end_all) as closing:
            try:
                yield
            finally:
                closing.set()
                Node.__init__ = make  # type: ignore[method-assign]
                ray._private.utils.set_sigterm_handler = set_handler
                _shut_down()
    finally:
        _end_processes(nodes, before)
        _adopt_orphans(False)


def _shut_down() -> None:
    """Disconnects from Ray, whose processes are then ended here: Ray would do so with its own handlers of signals gone and ours
    not back yet, and once more when this process ends, which makes the session's folder anew."""
    ray._private.worker._global_node = None
    try:
        with suppress(Exception):  # what could not start may not be able to end in order either
            ray.shutdown()
    finally:
        install_signals_again()


def install_signals_again() -> None:
    """To be called after Ray was started or shut down: its own code, below Python, sets SIGTERM and others to their defaults,
    and Python does not notice."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            if (handler := signal.getsignal(number)) is not None:  # which Python did not install
                signal.signal(number, handler)


def _end_processes(nodes: Sequence[Node], before: Collection[psutil.Process]) -> None:
    """Ends what the nodes started, and what that started, but nothing of `before`."""
    processes = {process for node in nodes for process in _processes_of(node)}
    for node in nodes:
        with suppress(Exception):
            node.kill_all_processes(check_alive=False, allow_graceful=False)
    psutil.wait_procs(processes, timeout=_LAST_PROCESSES_S)
    own = psutil.Process()
    for _ in range(_LAST_PROCESSES_S):  # what Ray started while it ended may start something itself
        alive = {p for p in (*processes, *own.children(recursive=True)) if p not in before and _is_rays(p)}
        if not alive:
            break
        for process in alive:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=1)
    ended = [p for p in own.children() if p not in before and _is_zombie(p)]
    psutil.wait_procs(
        ended, timeout=1
    )  # adopted ones stay in the table of processes until they are asked for


def _adopt_orphans(adopt: bool) -> None:
    """Whether what a dead process of ours had started counts as ours from now on; Linux alone can do that."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)


def _is_rays(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        words = " ".join(process.cmdline())
        return not _is_zombie(process) and ("ray::" in words or "/ray/" in words)
    return False


def _is_zombie(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return False


def _processes_of(node: Any) -> Iterator[psutil.Process]:
    """What a node started, and what that started."""
    for info in [info for infos in started_by(node).values() for info in infos]:
        with suppress(psutil.Error):
            process = psutil.Process(info.process.pid)
            yield process
            yield from process.children(recursive=True)


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

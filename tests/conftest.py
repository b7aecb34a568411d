"""No test asks a hub: what is not here is missing, on every machine alike. Tiny tensors are computed by one thread, and no
example is held against the clock. Signals that a shell lets its background jobs ignore are heard by what tests start.
Several processes share the tests out by files. No test cuts the power, so nothing written here waits for a disk.
"""

import os
import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported, so here
# Read by torch: threads that wait for each other cost more than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A signal that is ignored stays so in every program started from here; one with a handler is at its default there.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

os.fsync = lambda descriptor: None

settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.sharing_out import FilesTogether

    return FilesTogether(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        from tests.sharing_out import place_in_line

        items.sort(key=lambda item: place_in_line(item.nodeid))

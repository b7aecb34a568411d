"""No test asks a hub: what is not here is missing, on every machine alike. Tiny tensors are computed by one thread. Signals that
a shell lets its background jobs ignore are heard by what tests start."""

import os
import signal

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported, so here
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch; threads that wait for each other cost more than they compute

# A signal that is ignored stays so in every program started from here; one with a handler is at its default there.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

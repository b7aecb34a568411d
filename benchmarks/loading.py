"""What loading under ZeRO-3 costs each of two workers: peak resident memory, bytes read, seconds.

python -m benchmarks.loading [--layers 6] [--world-size 2]

The model has Llama-2-7B's shape with fewer layers (2.95 GB at 6), random weights, bfloat16, and lies in a temporary folder.
"""

import argparse
import re
import tempfile
import time
from pathlib import Path

from benchmarks.streaming import write_model
from cluster.group import ModelGroup
from cluster.session import ray_session
from cluster.spec import GroupSpec, ModelSpec


def of_process(pid: int, file: str, field: str) -> int:
    """A number from /proc: VmHWM in kB, or bytes read so far."""
    found = re.search(rf"{field}:\s+(\d+)", Path(f"/proc/{pid}/{file}").read_text())
    assert found is not None
    return int(found[1])


def main() -> None:
    """Loads once and prints a line a worker."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--world-size", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="polyneuron-load-") as folder, ray_session(options.world_size):
        write_model(Path(folder), options.layers)
        start = time.perf_counter()
        with ModelGroup(ModelSpec(folder, "bfloat16"), GroupSpec(world_size=options.world_size)) as group:
            print(f"{time.perf_counter() - start:.1f} s from start to loaded")
            for rank in group.stats():
                pid, model_bytes = rank["pid"], rank["model_bytes"]
                peak = of_process(pid, "status", "VmHWM") * 1024
                now = of_process(pid, "status", "VmRSS") * 1024
                print(
                    f"rank {rank['rank']}: model {model_bytes / 10**9:.2f} GB, share "
                    f"{model_bytes / options.world_size / 10**9:.2f} GB, peak resident {peak / 10**9:.2f} GB, "
                    f"now {now / 10**9:.2f} GB, read(2) {of_process(pid, 'io', 'rchar') / 10**9:.2f} GB"
                )


if __name__ == "__main__":
    main()

"""Reads what W&B wrote into its offline files: records of protobuf in LevelDB's log format."""

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK = 32768
_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _LAST = 1, 2, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class OfflineRun:
    """One session of a run: a folder `offline-run-…`."""

    id: str
    """The run's id, the same in all its sessions."""
    config: dict[str, Any]
    """As it was told, with W&B's own additions under `_wandb`."""
    history: list[dict[str, Any]]
    """A row for each point, without W&B's own columns."""
    summary: dict[str, Any]
    """Values of the run as a whole, without W&B's own."""
    axes: dict[str, str]
    """The axis of each curve."""
    exit_code: int | None
    """None where the session was never ended."""
    host: str
    """The machine's name, as far as W&B wrote it."""


def offline_runs(folder: Path) -> list[OfflineRun]:
    """The sessions that are kept below `folder`, in the order in which they began. Waits a little for the end of the last,
    which a process of W&B writes."""
    folders = sorted(
        folder.glob("wandb/offline-run-*"), key=lambda found: (found / "logs").stat().st_mtime_ns
    )
    deadline = time.monotonic() + 5
    while True:
        found = [_read(file) for each in folders for file in each.glob("*.wandb")]
        if time.monotonic() > deadline or all(session.exit_code is not None for session in found):
            return found
        time.sleep(0.05)


def _read(file: Path) -> OfflineRun:
    config, summary, axes = dict[str, Any](), dict[str, Any](), dict[str, str]()
    history, ids, hosts, exits = list[dict[str, Any]](), [""], [""], list[int]()
    for record in _records(file.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            ids.append(record.run.run_id)
            hosts.append(record.run.host)
            config |= _items(record.run.config.update)
        elif kind == "config":
            config |= _items(record.config.update)
        elif kind == "history":
            history.append(_own(_items(record.history.item)))
        elif kind == "summary":
            summary |= _own(_items(record.summary.update))
        elif kind == "metric":
            axes[record.metric.name] = record.metric.step_metric
        elif kind == "exit":
            exits.append(record.exit.exit_code)
    return OfflineRun(
        id=ids[-1],
        config=config,
        history=history,
        summary=summary,
        axes=axes,
        exit_code=exits[-1] if exits else None,
        host=hosts[-1],
    )


def _items(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def _own(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not name.startswith("_")}


def _records(data: bytes) -> Iterator[Any]:
    from wandb.proto import wandb_internal_pb2

    at, part = 7, b""
    while at + _HEADER.size <= len(data):
        left = _BLOCK - at % _BLOCK
        _, n_bytes, kind = _HEADER.unpack_from(data, at)
        if left < _HEADER.size or kind == 0:
            at += left
            continue
        begins = at + _HEADER.size
        chunk = data[begins : begins + n_bytes]
        part = chunk if kind in (_FULL, _FIRST) else part + chunk
        at = begins + n_bytes
        if kind in (_FULL, _LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            yield record

"""A plan as the page people read: tables for the terminal, and the same as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyneuron.cluster.capacity.estimate import StagePlan, gib
from polyneuron.cluster.capacity.rates import Rates
from polyneuron.pipelines.plan.advice import DEVICES_ON_NODE
from polyneuron.pipelines.plan.planning import ModelPlan, StudyPlan

_UNITS = {
    "flops_per_s": ("computing, a rank", 1e12, "TFLOP/s"),
    "gather_bytes_per_s": ("gathering, a rank", 1e9, "GB/s"),
    "host_bytes_per_s": ("between host and device", 1e9, "GB/s"),
    "read_bytes_per_s": ("reading files, a node", 1e9, "GB/s"),
    "memory_bytes_per_s": ("reading weights and cache to generate", 1e9, "GB/s"),
    "score_slowdown": ("an operation on attention scores, beside a plain one", 1, "x"),
}


def print_plan(plan: StudyPlan, console: Console) -> None:
    """The page: a model after the other, then what was assumed."""
    console.print(f"Machines ({plan.machines.source}): {plan.machines}", soft_wrap=True)
    for model in plan.models:
        console.print()
        for part in _model_page(model):
            console.print(part, soft_wrap=not isinstance(part, Table))
    console.print()
    console.print("Taken for granted:\n  " + "\n  ".join(plan.assumptions), soft_wrap=True)


def _model_page(model: ModelPlan) -> Iterator[Table | Text | str]:
    if model.error is not None or model.shape is None:
        yield Text(f"{model.model}: {model.error}")
        return
    shape = model.shape
    neurons = ", ".join(f"{group} {count:,}" for group, count in model.neurons.items())
    yield Text(
        f"{model.model} ({model.family}): {shape.parameters / 1e9:.2f} billion parameters in {model.dtype}, "
        f"{gib(shape.model_bytes)}; a layer of {shape.n_layers} {gib(shape.layer_bytes)}, outside the layers "
        f"{gib(shape.outside_bytes)}"
    )
    yield Text(f"Neurons: {neurons}")
    if model.units:
        yield Text(f"Units: {_units(model.units)}")
    yield _stages_table(model.stages)
    for one in model.stages:
        yield from (Text(f"{one.stage.name}: {note}") for note in one.stage.notes)
    yield from _verdict(model)
    yield Text("Rates:\n  " + "\n  ".join(_rates(model)))


def _units(units: dict[str, Any]) -> str:
    if "unknown" in units:
        return str(units["unknown"])
    parts = []
    for stage, counts in units.items():
        todo = counts.get("to_do", counts.get("to_do_at_most"))
        most = "at most " if "to_do_at_most" in counts else ""
        parts.append(
            f"{stage.replace('_', ' ')} {counts['done']} done, {most}{todo} to do"
            if counts.get("done")
            else f"{stage.replace('_', ' ')} {most}{todo}"
        )
    return "; ".join(parts)


def _stages_table(stages: Sequence[StagePlan]) -> Table:
    """A column a stage: what a rank holds in its fullest phase, then traffic, arithmetic and time."""
    table = Table("", *(one.stage.name for one in stages), box=SIMPLE_HEAD, pad_edge=False)
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"

    def row(title: str, cells: Iterable[str], style: str = "", end: bool = False) -> None:
        table.add_row(title, *cells, style=style, end_section=end)

    row("ranks", (_ranks(one) for one in stages))
    row("fullest phase", (one.peak.name for one in stages), end=True)
    for place, held in (("device", _on_device), ("host", _in_host)):
        names = dict.fromkeys(name for one in stages for name in held(one))
        for name in names:
            row(f"  {name}", (gib(held(one)[name]) if name in held(one) else "" for one in stages))
        if names:
            row(
                f"a rank's {place} memory",
                (gib(sum(held(one).values())) if held(one) else "" for one in stages),
                "bold",
                True,
            )
    row("received by a rank", (gib(one.stage.received_bytes) for one in stages))
    row("read by a node", (gib(one.stage.read_bytes) for one in stages))
    if any(one.stage.spilled_bytes for one in stages):
        row("spilled, read back", (gib(one.stage.spilled_bytes) for one in stages))
    row("computed", (_flop(one.stage.flops) for one in stages))
    row("time, at most", (duration(one.total_s) for one in stages))
    row("held", (f"{one.device_hours:.3g} {_unit(one)}" for one in stages))
    row("fits", ("yes" if one.fits else "NO" for one in stages), "bold")
    return table


def _ranks(one: StagePlan) -> str:
    return f"{one.stage.world_size} {'GPU' if one.stage.on_gpu else 'CPU'}"


def _unit(one: StagePlan) -> str:
    return "GPU-h" if one.stage.on_gpu else "core-h"


def _on_device(one: StagePlan) -> dict[str, int]:
    return one.peak.device


def _in_host(one: StagePlan) -> dict[str, int]:
    return max(one.stage.phases, key=lambda phase: phase.host_bytes).host


def _flop(flops: float) -> str:
    for unit, size in (("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12)):
        if flops >= size:
            return f"{flops / size:.3g} {unit}"
    return f"{flops / 1e9:.3g} GFLOP"


def _verdict(model: ModelPlan) -> Iterator[Text | Table]:
    yield Text(f"All stages: at most {_sum(model.stages)}; starting workers and engine is not counted.")
    if model.fits:
        yield Text("Everything fits.")
        return
    advice = model.advice
    for one in model.stages:
        if one.fits:
            continue
        yield Text(f"{one.stage.name} does not fit: {'; '.join(one.missing)}.")
        if advice is None:
            continue
        change = advice.by_stage[one.stage.name]
        if change is None:
            yield Text("  No change of the configuration that the planner knows makes it fit here.")
        else:
            yield Text(f"  It fits with: {' '.join(change)}")
    if advice is None:
        return
    if advice.together is not None:
        left = ", ".join(name for name, change in advice.by_stage.items() if change is None)
        what = f"All but {left} fit" if left else "Everything fits"
        yield Text(f"{what} with: {' '.join(advice.together)}")
        yield Text(f"  and takes at most {_sum(model.mended)}:")
        yield _stages_table(model.mended)
    if advice.devices is not None:
        yield Text(f"The fewest such devices with which these stages fit: {_layout(advice.devices)}.")


def _layout(n_devices: int) -> str:
    if n_devices == 1:
        return "1"
    n_nodes = -(-n_devices // DEVICES_ON_NODE)
    return f"{n_devices} in {f'{n_nodes} nodes' if n_nodes > 1 else 'one node'}"


def _sum(stages: Iterable[StagePlan]) -> str:
    every = list(stages)
    by_unit = {
        unit: sum(one.device_hours for one in every if one.stage.on_gpu == on_gpu)
        for unit, on_gpu in (("GPU", True), ("core", False))
    }
    hours = " and ".join(f"{value:.3g} {unit}-hours" for unit, value in by_unit.items() if value)
    return f"{duration(sum(one.total_s for one in every))}, {hours}"


def _rates(model: ModelPlan) -> Iterator[str]:
    seen: dict[str, list[str]] = {}
    for stage, rates in model.rates:
        for name, text in _rate_lines(rates):
            seen.setdefault(f"{name} {text}", []).append(stage)
    n_stages = len(model.rates)
    for text, stages in seen.items():
        yield text if len(stages) == n_stages else f"{text} [{', '.join(stages)}]"


def _rate_lines(rates: Rates) -> Iterator[tuple[str, str]]:
    for name, (what, scale, unit) in _UNITS.items():
        if name in rates.origin:
            yield what, f"{getattr(rates, name) / scale:.3g} {unit} ({rates.origin[name]})"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    for unit, size in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"


def as_data(plan: StudyPlan) -> dict[str, Any]:
    """The plan as numbers and words for JSON: bytes, seconds, operations."""
    return {
        "machines": dataclasses.asdict(plan.machines) | {"words": str(plan.machines)},
        "assumptions": list(plan.assumptions),
        "models": [_model_data(model) for model in plan.models],
    }


def _model_data(model: ModelPlan) -> dict[str, Any]:
    if model.error is not None or model.shape is None:
        return {"model": model.model, "error": model.error}
    return {
        "model": model.model,
        "family": model.family,
        "dtype": model.dtype,
        "parameters": model.shape.parameters,
        "shape": dataclasses.asdict(model.shape),
        "neurons": model.neurons,
        "units": model.units,
        "fits": model.fits,
        "stages": {one.stage.name: _stage_data(one) for one in model.stages},
        "rates": {stage: dataclasses.asdict(rates) for stage, rates in model.rates},
        "measured": None if model.measured is None else dataclasses.asdict(model.measured),
        "advice": None if model.advice is None else dataclasses.asdict(model.advice),
    }


def _stage_data(one: StagePlan) -> dict[str, Any]:
    stage = one.stage
    return {
        "ranks": stage.world_size,
        "device_bytes": one.peak.device_bytes,
        "host_bytes": stage.host_bytes,
        "phases": [dataclasses.asdict(phase) for phase in stage.phases],
        "fullest_phase": one.peak.name,
        "flops": stage.flops,
        "received_bytes": stage.received_bytes,
        "read_bytes": stage.read_bytes,
        "spilled_bytes": stage.spilled_bytes,
        "seconds": one.seconds,
        "device_hours": one.device_hours,
        "device": "gpu" if stage.on_gpu else "core",
        "notes": list(stage.notes),
        "fits": one.fits,
        "missing": list(one.missing),
    }

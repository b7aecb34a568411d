"""A plan as the page people read: tables for the terminal, and the same as plain data."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyneuron.cluster.capacity.estimate import StagePlan, gib
from polyneuron.eval.tables.grid import Cell, grid
from polyneuron.eval.tables.text import terminal
from polyneuron.pipelines.plan.advice import DEVICES_ON_NODE
from polyneuron.pipelines.plan.planning import ModelPlan, StudyPlan

_RATES = {
    "flops_per_s": ("computing, a rank", 1e12, "TFLOP/s"),
    "gather_bytes_per_s": ("gathering, a rank", 1e9, "GB/s"),
    "host_bytes_per_s": ("between host and device", 1e9, "GB/s"),
    "read_bytes_per_s": ("reading files, a node", 1e9, "GB/s"),
    "memory_bytes_per_s": ("reading weights and cache to generate", 1e9, "GB/s"),
    "score_slowdown": ("an operation on attention scores, beside a plain one", 1, "x"),
}
_FLOP = (("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9))
_TIMES = (("days", 86_400.0), ("h", 3600.0), ("min", 60.0))


def print_plan(plan: StudyPlan, console: Console) -> None:
    """Prints the page: a model after the other, then what was assumed."""
    console.print(f"Machines ({plan.machines.source}): {plan.machines}", soft_wrap=True)
    for model in plan.models:
        console.print()
        for part in _model_page(model):
            console.print(part, soft_wrap=not isinstance(part, Table))
    console.print()
    console.print("Taken for granted:\n  " + "\n  ".join(plan.assumptions), soft_wrap=True)


def _model_page(model: ModelPlan) -> Iterator[Table | Text]:
    shape = model.shape
    if shape is None:
        yield Text(f"{model.model}: {model.error}")
        return
    yield Text(
        f"{model.model} ({model.family}): {shape.parameters / 1e9:.2f} billion parameters in {model.dtype}, "
        f"{gib(shape.model_bytes)}; a layer of {shape.n_layers} {gib(shape.layer_bytes)}, outside the layers "
        f"{gib(shape.outside_bytes)}"
    )
    if model.neurons:
        yield Text(f"Neurons: {', '.join(f'{group} {count:,}' for group, count in model.neurons.items())}")
    if model.units:
        yield Text(f"Units: {_units(model.units)}")
    yield _stages_table(model.stages)
    for planned in model.stages:
        yield from (Text(f"{planned.stage.name}: {note}") for note in planned.stage.notes)
    yield from _verdict(model)
    yield Text("Rates:\n  " + "\n  ".join(_rates(model)))


def _units(units: dict[str, Any]) -> str:
    if "unknown" in units:
        return str(units["unknown"])
    parts = []
    for stage, counts in units.items():
        most = "at most " if "to_do_at_most" in counts else ""
        todo = f"{most}{counts.get('to_do', counts.get('to_do_at_most'))}"
        done = f"{counts['done']} done, {todo} to do" if counts.get("done") else todo
        parts.append(f"{stage.replace('_', ' ')} {done}")
    return "; ".join(parts)


def _stages_table(stages: Sequence[StagePlan]) -> Table:
    """A column a stage: what a rank holds in its fullest phase, then traffic, arithmetic and time."""
    rows: list[list[Cell | str]] = []

    def row(title: str, texts: Iterable[str], tone: str = "") -> None:
        rows.append([title, *(Cell(text=text, tone=tone) for text in texts)])

    row("ranks", (f"{planned.stage.world_size} {_device(planned)}" for planned in stages))
    row("fullest phase", (planned.stage.peak.name for planned in stages))
    on_device = [planned.stage.peak.device for planned in stages]
    in_host = [max(p.stage.phases, key=lambda phase: phase.host_bytes).host for p in stages]
    for place, held in (("device", on_device), ("host", in_host)):
        names = dict.fromkeys(name for parts in held for name in parts)
        for name in names:
            row(f"  {name}", (gib(parts[name]) if name in parts else "" for parts in held))
        if names:
            row(f"a rank's {place} memory", (gib(sum(p.values())) if p else "" for p in held), "firm")
    row("received by a rank", (gib(planned.stage.received_bytes) for planned in stages))
    row("read by a node", (gib(planned.stage.read_bytes) for planned in stages))
    if any(planned.stage.spilled_bytes for planned in stages):
        row("spilled, read back", (gib(planned.stage.spilled_bytes) for planned in stages))
    units = [next((step for step in _FLOP if p.stage.flops >= step[1]), _FLOP[-1]) for p in stages]
    row(
        "computed",
        (f"{p.stage.flops / size:.3g} {unit}" for p, (unit, size) in zip(stages, units, strict=True)),
    )
    row("time, at most", (duration(planned.total_s) for planned in stages))
    row("held", (f"{planned.device_hours:.3g} {_device(planned, 'core')}-h" for planned in stages))
    row("fits", ("yes" if planned.fits else "NO" for planned in stages), "firm")
    return terminal(grid("", ["", *(planned.stage.name for planned in stages)], rows))


def _device(planned: StagePlan, otherwise: str = "CPU") -> str:
    return "GPU" if planned.stage.on_gpu else otherwise


def _verdict(model: ModelPlan) -> Iterator[Text | Table]:
    yield Text(f"All stages: at most {_sum(model.stages)}; starting workers and engine is not counted.")
    if model.fits:
        yield Text("Everything fits.")
        return
    advice = model.advice
    for planned in model.stages:
        if not planned.fits:
            yield Text(f"{planned.stage.name} does not fit: {'; '.join(planned.missing)}.")
        if not planned.fits and advice is not None:
            change = advice.by_stage[planned.stage.name]
            mended = None if change is None else f"It fits with: {' '.join(change)}"
            none_known = "No change of the configuration that the planner knows makes it fit here."
            yield Text(f"  {mended or none_known}")
    if advice is not None and advice.together is not None:
        left = ", ".join(name for name, change in advice.by_stage.items() if change is None)
        what = f"All but {left} fit" if left else "Everything fits"
        yield Text(f"{what} with: {' '.join(advice.together)}")
        yield Text(f"  and takes at most {_sum(model.mended)}:")
        yield _stages_table(model.mended)
    if advice is not None and advice.devices is not None:
        n_nodes = -(-advice.devices // DEVICES_ON_NODE)
        where = f" in {f'{n_nodes} nodes' if n_nodes > 1 else 'one node'}" if advice.devices > 1 else ""
        yield Text(f"The fewest such devices with which these stages fit: {advice.devices}{where}.")


def _sum(stages: Sequence[StagePlan]) -> str:
    by_unit = {
        unit: sum(planned.device_hours for planned in stages if _device(planned, "core") == unit)
        for unit in ("GPU", "core")
    }
    hours = " and ".join(f"{value:.3g} {unit}-hours" for unit, value in by_unit.items() if value)
    return f"{duration(sum(planned.total_s for planned in stages))}, {hours}"


def _rates(model: ModelPlan) -> Iterator[str]:
    stages_by_line: dict[str, list[str]] = {}
    for planned in model.stages:
        rates = planned.rates
        for name, (what, scale, unit) in _RATES.items():
            if name in rates.origin:
                line = f"{what} {getattr(rates, name) / scale:.3g} {unit} ({rates.origin[name]})"
                stages_by_line.setdefault(line, []).append(planned.stage.name)
    for line, stages in stages_by_line.items():
        yield line if len(stages) == len(model.stages) else f"{line} [{', '.join(stages)}]"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    for unit, size in _TIMES:
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
    if model.shape is None:
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
        "stages": {planned.stage.name: _stage_data(planned) for planned in model.stages},
        "rates": {planned.stage.name: dataclasses.asdict(planned.rates) for planned in model.stages},
        "measured": None if model.measured is None else dataclasses.asdict(model.measured),
        "advice": None if model.advice is None else dataclasses.asdict(model.advice),
    }


def _stage_data(planned: StagePlan) -> dict[str, Any]:
    stage = planned.stage
    return {
        "ranks": stage.world_size,
        "device_bytes": stage.peak.device_bytes,
        "host_bytes": stage.host_bytes,
        "phases": [dataclasses.asdict(phase) for phase in stage.phases],
        "fullest_phase": stage.peak.name,
        "flops": stage.flops,
        "received_bytes": stage.received_bytes,
        "read_bytes": stage.read_bytes,
        "spilled_bytes": stage.spilled_bytes,
        "seconds": planned.seconds,
        "device_hours": planned.device_hours,
        "device": "gpu" if stage.on_gpu else "core",
        "notes": list(stage.notes),
        "fits": planned.fits,
        "missing": list(planned.missing),
    }

"""A plan as the page people read: tables for the terminal, and the same as plain data."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from polyneuron.cluster.capacity.estimate import StagePlan, gib
from polyneuron.eval.tables.grid import Cell, grid
from polyneuron.eval.tables.text import TerminalTable, terminal
from polyneuron.pipelines.plan.advice import DEVICES_ON_NODE
from polyneuron.pipelines.plan.planning import ModelPlan, StudyPlan

_RATES = {
    "flops_per_s": ("computing", "computing, a rank", 1e9, "GFLOP/s"),
    "gather_bytes_per_s": ("gathering", "gathering, a rank", 1e9, "GB/s"),
    "host_bytes_per_s": ("moving", "between host and device", 1e9, "GB/s"),
    "read_bytes_per_s": ("reading", "reading files, a node", 1e9, "GB/s"),
    "memory_bytes_per_s": ("generating", "reading weights and cache to generate", 1e9, "GB/s"),
    "score_slowdown": ("computing", "an operation on attention scores, beside a plain one", 1, "x"),
}
"""By field: what takes time at this rate, the rate in words, its unit."""
_FLOP = (("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9))
_TIMES = (("days", 86_400.0), ("h", 3600.0), ("min", 60.0))


def print_plan(plan: StudyPlan, console: Console) -> None:
    """Prints the page: a model after the other, then what was assumed."""
    console.print(f"Machines ({plan.machines.source}): {plan.machines}", soft_wrap=True)
    for model in plan.models:
        console.print()
        for part in _model_page(model):
            console.print(part, soft_wrap=not isinstance(part, TerminalTable))
    console.print()
    console.print("Taken for granted:\n  " + "\n  ".join(plan.assumptions), soft_wrap=True)


def _model_page(model: ModelPlan) -> Iterator[TerminalTable | Text]:
    shape = model.shape
    if shape is None:
        yield Text(f"{model.model}: {model.error}")
        return
    yield Text(
        f"{model.model} ({model.family}): {_parameters(shape.parameters)} in {model.dtype}, {gib(shape.model_bytes)}; "
        f"each of {shape.n_layers} layers {gib(shape.layer_bytes)}, outside the layers {gib(shape.outside_bytes)}"
    )
    if model.neurons:
        yield Text(f"Neurons: {', '.join(f'{group} {count:,}' for group, count in model.neurons.items())}")
    if model.units:
        yield Text(f"Units: {_units(model.units)}")
    yield _stages_table(model.stages)
    for planned in model.stages:
        yield from (Text(f"{planned.stage.name}: {note}") for note in planned.stage.notes)
    yield from _verdict(model)
    if rates := "\n  ".join(_rates(model)):
        yield Text(f"Rates:\n  {rates}")


def _units(units: dict[str, Any]) -> str:
    if "unknown" in units:
        return str(units["unknown"])
    parts = []
    for stage, counts in units.items():
        if not any(counts.values()):
            continue  # the study has none
        most = "at most " if "to_do_at_most" in counts else ""
        todo = f"{most}{counts.get('to_do', counts.get('to_do_at_most'))}"
        done = f"{counts['done']} done, {todo} to do" if counts.get("done") else todo
        parts.append(f"{stage.replace('_', ' ')} {done}")
    return "; ".join(parts)


def _stages_table(stages: Sequence[StagePlan]) -> TerminalTable:
    """A column a stage: what a rank holds in its fullest phase, then traffic, arithmetic, and the time of a stage that fits."""
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
    received = [planned.stage.received_bytes for planned in stages]
    if any(received):
        row("received by a rank", (gib(n_bytes) if n_bytes else "" for n_bytes in received))
    if any(planned.stage.n_steps and planned.stage.received_bytes for planned in stages):
        row("  in a training step", (_in_a_step(planned) for planned in stages))
    row("read by a node", (gib(planned.stage.read_bytes) for planned in stages))
    if any(planned.stage.spilled_bytes for planned in stages):
        row("spilled, read back", (gib(planned.stage.spilled_bytes) for planned in stages))
    units = [next((step for step in _FLOP if p.stage.flops >= step[1]), _FLOP[-1]) for p in stages]
    row(
        "computed",
        (f"{_figure(p.stage.flops / size)} {unit}" for p, (unit, size) in zip(stages, units, strict=True)),
    )
    row("time, at most", (duration(planned.total_s) if planned.fits else "" for planned in stages))
    for cause in dict.fromkeys(cause for planned in stages if planned.fits for cause in planned.seconds):
        times = (planned.seconds.get(cause) if planned.fits else None for planned in stages)
        row(f"  {cause}", ("" if s is None else duration(s) for s in times))
    holding = (f"{_figure(p.device_hours)} {_device(p, 'core')}-h" if p.fits else "" for p in stages)
    row("held", holding)
    row("fits", ("yes" if planned.fits else "NO" for planned in stages), "firm")
    return terminal(grid("", ["", *(planned.stage.name for planned in stages)], rows))


def _in_a_step(planned: StagePlan) -> str:
    stage = planned.stage
    return gib(stage.received_bytes / stage.n_steps) if stage.n_steps and stage.received_bytes else ""


def _device(planned: StagePlan, otherwise: str = "CPU") -> str:
    return "GPU" if planned.stage.on_gpu else otherwise


def _verdict(model: ModelPlan) -> Iterator[Text | TerminalTable]:
    if fitting := [planned for planned in model.stages if planned.fits]:
        which = (
            "All stages" if model.fits else f"What fits ({', '.join(each.stage.name for each in fitting)})"
        )
        yield Text(f"{which}: at most {_sum(fitting)}; starting workers and engine is not counted.")
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
    hours = " and ".join(f"{_figure(value)} {unit}-hours" for unit, value in by_unit.items() if value)
    return f"{duration(sum(planned.total_s for planned in stages))}, {hours}"


def _rates(model: ModelPlan) -> Iterator[str]:
    """Those that times above rest on; of a stage that fits once it is changed, its rates then."""
    stages_by_line: dict[str, list[str]] = {}
    timed = {planned.stage.name: planned for planned in (*model.stages, *model.mended) if planned.fits}
    for planned in timed.values():
        rates = planned.rates
        for name, (cause, what, scale, unit) in _RATES.items():
            used = planned.stage.score_flops if name == "score_slowdown" else planned.seconds.get(cause)
            if used and name in rates.origin:
                line = f"{what} {_figure(getattr(rates, name) / scale)} {unit} ({rates.origin[name]})"
                stages_by_line.setdefault(line, []).append(planned.stage.name)
    for line, stages in stages_by_line.items():
        yield line if len(stages) == len(timed) else f"{line} [{', '.join(stages)}]"


def _parameters(n: int) -> str:
    return f"{n / 1e9:.2f} billion parameters" if n >= 1e9 else f"{n / 1e6:.1f} million parameters"


def _figure(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


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
        "training_steps": stage.n_steps,
        "read_bytes": stage.read_bytes,
        "spilled_bytes": stage.spilled_bytes,
        "seconds": planned.seconds,
        "device_hours": planned.device_hours,
        "device": "gpu" if stage.on_gpu else "core",
        "notes": list(stage.notes),
        "fits": planned.fits,
        "missing": list(planned.missing),
    }

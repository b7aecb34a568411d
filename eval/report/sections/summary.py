"""A study's result in one table of languages, short enough for a terminal, and what is left to say of benchmarks and training."""

from collections.abc import Iterator
from dataclasses import replace

from polyneuron.eval.report.numbers.benchmarks import SAMPLE, Results, results_of, title_of
from polyneuron.eval.report.numbers.chance import OWN_SETS, beside_all_kinds
from polyneuron.eval.report.numbers.effects import Effect, Effects, effects_of
from polyneuron.eval.report.numbers.estimates import NoiseFloor, noise_floor_of
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.trained_effects import trained_effects
from polyneuron.eval.report.numbers.variants import Variants
from polyneuron.eval.report.sections.benchmarks import benchmark_grid, heading
from polyneuron.eval.report.sections.perplexity import SETS
from polyneuron.eval.report.words.wording import (
    DASH,
    count,
    fine_times,
    language_name,
    number,
    plural,
    span,
    times,
    unfinished,
)
from polyneuron.eval.tables.grid import Cell, Column, Grid, Line, grid, line
from polyneuron.neuron_core.sets.variant_name import CONTROL_KINDS, CONTROL_NAMES


def summary(study: ShownStudy) -> list[Grid]:
    """What the study of one model found: sets and perplexities by language, then trained variants and scores, where there are
    any. Benchmarks all of whose items are samples are left out, since their scores are no finding."""
    effects = effects_of(study.variants)
    grids = [set_summary(study, effects)]
    if study.trainings and effects:
        grids.append(training_summary(study, effects))
    results = results_of(study)
    return grids + (list(_scores(results)) if results else [])


def set_summary(study: ShownStudy, effects: Effects | None) -> Grid:
    """Languages down; across, the perplexity, and of every kind of set its size and the multiple of the perplexity without it;
    below, the p-values of all languages together beside each kind of draws."""
    noise = noise_floor_of(study)
    codes = list(study.languages)
    heads: list[Column | str] = ["language", "perplexity"]
    for kind, name in SETS.items():
        detail = f"{name} ({plural(study.sets.total(kind), 'neuron')})" if kind == "shared" else name
        heads += [Column(text="neurons", over=detail)] if kind in OWN_SETS else []
        heads.append(Column(text="without", over=detail))
    rows = [_language_line(study, effects, noise, code) for code in codes]
    if effects is not None:
        rows += _draws_lines(study, effects, codes)
    caption = (
        "neurons: of a language's own set, and how many it would have by chance. without: the multiple of held-out perplexity "
        "without the set, with its 95% interval. p: of all languages together, that draws do as much."
    )
    if not_at_its_end := unfinished(study.run_status):
        caption = f"{not_at_its_end} {caption}"
    return grid(study.model, heads, rows, caption=caption)


def _language_line(study: ShownStudy, effects: Effects | None, noise: NoiseFloor | None, code: str) -> Line:
    base = effects.base.get(code) if effects else None
    cells: list[Cell | str] = [language_name(code), number(base)]
    for kind in SETS:
        own = None if kind == "shared" else code
        if own:
            row = noise.rows.get((kind, code)) if noise and not noise.reason else None
            chance = (f"{number(row['chance_size'], 2)} by chance",) if row else ()
            cells.append(Cell(text=count(study.sets.total(kind, code)), details=chance))
        effect = effects.of(study.variants.of_set(kind, own), code) if effects else None
        cells.append(_effect_cell(effect))
    return line(*cells)


def _effect_cell(effect: Effect | None) -> Cell:
    if effect is None:
        return Cell(text=DASH)
    return Cell(text=times(effect.times), details=(span(effect.low, effect.high, times),))


def _draws_lines(study: ShownStudy, effects: Effects, codes: list[str]) -> Iterator[Line]:
    """One line for each kind of draws that any set stands beside."""
    beside = {kind: beside_all_kinds(study.variants, effects, codes, kind) for kind in SETS}
    for control in CONTROL_KINDS:
        if not any(control in of_kind for of_kind in beside.values()):
            continue
        cells: list[Cell | str] = [f"p beside {CONTROL_NAMES[control]}", ""]
        for kind, of_kind in beside.items():
            cells += [""] if kind in OWN_SETS else []
            draws = of_kind.get(control)
            if draws is None:
                cells.append(DASH)
                continue
            won = f"{draws.n_won} of {len(draws.times)} languages"
            cells.append(Cell(text=DASH if draws.p_all is None else number(draws.p_all, 2), details=(won,)))
        yield line(*cells, tone="draws")


def training_summary(study: ShownStudy, effects: Effects) -> Grid:
    """Trained variants down and languages across: the multiple of the base model's perplexity, and its verdict."""
    changed = trained_effects(study, effects)
    codes = [code for code in study.languages if code in effects.base]
    rows: list[Line] = []
    for training in study.trainings:
        cells: list[Cell] = []
        for code in codes:
            effect = changed.on_base(training, code)
            cells.append(
                Cell(text=DASH)
                if effect is None
                else Cell(text=fine_times(effect.times), details=(effect.verdict,))
            )
        rows.append(line(training.name, *cells))
    caption = "Multiples of the unchanged model's held-out perplexity; verdicts are Holm-corrected over all of them."
    return grid("Trained variants", ["variant", *map(language_name, codes)], rows, caption=caption)


def _scores(results: Results) -> Iterator[Grid]:
    for name in results.benchmarks:
        if results.data(name) != {SAMPLE} and results.data(name):
            sets = Variants(v for v in results.variants if v.control_of is None)
            yield benchmark_grid(replace(results, variants=sets), name, heading(results, name))


def sample_benchmarks(study: ShownStudy) -> list[str]:
    """The benchmarks that were judged on samples alone, by title."""
    results = results_of(study)
    names = results.benchmarks if results else ()
    return [title_of(name) for name in names if results and results.data(name) == {SAMPLE}]

"""The numbers of a study for programs: `results.json` beside the report, whose scores have the shape of lm-eval's results."""

import json
from dataclasses import asdict
from typing import Any

from polyneuron.eval.report.numbers.benchmarks import NO_DATA
from polyneuron.eval.report.numbers.chance import OWN_SETS, beside_all_kinds
from polyneuron.eval.report.numbers.effects import Effects, effects_of
from polyneuron.eval.report.numbers.estimates import noise_floor_of
from polyneuron.eval.report.numbers.study import Report, ShownStudy
from polyneuron.eval.report.numbers.units import Row
from polyneuron.eval.report.numbers.variants import BASE

RESULTS_FILE = "results.json"
"""Its name, in the report's folder."""
_SET_KINDS = ("shared", *OWN_SETS)


def results_json(report: Report, indent: int | None = 1) -> str:
    """All models of a report as one JSON text: sets, perplexities, p-values, scores. Numbers that are missing or infinite are
    null; ``indent`` None: in one line."""
    models = {study.model: study_results(study) for study in report.studies}
    return json.dumps(_finite({"models": models}), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def study_results(study: ShownStudy) -> dict[str, Any]:
    """One model's numbers, by what they are about.

    `evaluations` holds, by variant, what lm-eval's `simple_evaluate` returns under results, versions, n-shot and n-samples,
    by task; an interval stands beside each standard error.
    """
    effects = effects_of(study.variants)
    return {
        "selection": study.selection,
        "languages": list(study.languages),
        "n_neurons": study.anatomy.n_neurons,
        "sets": _sets(study),
        "perplexity": _perplexities(effects),
        "beside_draws": _beside_draws(study, effects),
        "metrics": [
            _only(row, "metric language value low high null_reason") for row in study.rows["metrics"]
        ],
        "evaluations": _evaluations(study),
    }


def _sets(study: ShownStudy) -> list[dict[str, Any]]:
    noise = noise_floor_of(study)
    found = []
    for kind, code in study.sets.counts:
        row = noise.rows.get((kind, code)) if noise else None
        chance = {} if row is None else _only(row, "chance_size chance_low chance_high p_value null_reason")
        found.append(
            {"kind": kind, "language": code or None, "n_neurons": study.sets.total(kind, code), **chance}
        )
    return found


def _perplexities(effects: Effects | None) -> dict[str, Any]:
    """By variant and language; of the base model the perplexity, of others its multiple as well."""
    if effects is None:
        return {}
    found: dict[str, Any] = {BASE: {code: {"ppl": ppl} for code, ppl in effects.base.items()}}
    names = ("ppl", "times", "low", "high", "n_sentences")
    for variant, by_language in effects.by.items():
        found[variant] = {code: {n: getattr(e, n) for n in names} for code, e in by_language.items()}
    return found


def _beside_draws(study: ShownStudy, effects: Effects | None) -> list[dict[str, Any]]:
    if effects is None:
        return []
    return [
        {"set": kind, **asdict(beside)}
        for kind in _SET_KINDS
        for beside in beside_all_kinds(study.variants, effects, list(study.languages), kind).values()
    ]


def _evaluations(study: ShownStudy) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in study.rows["scores"]:
        if row["data"] == NO_DATA or row["stand_in"]:
            continue
        settings = json.loads(row["settings_json"] or "{}")
        task = settings.get("task") or f"{row['benchmark']}_{row['language']}"
        of_variant = found.setdefault(
            row["variant"], {"results": {}, "versions": {}, "n-shot": {}, "n-samples": {}}
        )
        result = of_variant["results"].setdefault(task, {"alias": task})
        metric, filter_name = row["metric"], row["filter"]
        result[f"{metric},{filter_name}"] = row["value"]
        result[f"{metric}_stderr,{filter_name}"] = row["stderr"]
        result[f"{metric}_interval,{filter_name}"] = [row["low"], row["high"]]
        of_variant["versions"][task] = row["task_version"]
        of_variant["n-shot"][task] = row["n_shots"]
        of_variant["n-samples"][task] = {"original": row["n"] + row["n_unscored"], "effective": row["n"]}
    return found


def _only(row: Row, names: str) -> dict[str, Any]:
    return {name: row[name] for name in names.split()}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value

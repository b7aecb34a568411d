"""The tables of the store: explicit Arrow schemas of one version, and what a row is keyed by.

Every table also holds `run_id` (the run that wrote the row) and `unit` (the unit of work it belongs to; in `studies`, the
unit that the row lists). A
value that was not scored is null, never 0 and never NaN. Columns that may be null are listed in
`TableSpec.optional`; the Arrow fields themselves stay nullable, so that tables read back combine with tables
built elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from polyneuron.neuron_core.common.errors import StoreError

SCHEMA_VERSION = 1
"""Version of all tables together: what is written with another one is refused."""

TEXT, BOOL = pa.string(), pa.bool_()
INT32, INT64, FLOAT32, FLOAT64 = pa.int32(), pa.int64(), pa.float32(), pa.float64()


@dataclass(frozen=True)
class TableSpec:
    """One table. `key`: columns that name a row within one unit of work; `optional`: columns that may hold
    nulls."""

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    optional: frozenset[str]

    @property
    def about_runs(self) -> bool:
        """True for the tables that say what a run did (`runs`, `studies`), false for those of results."""
        return "run_id" in self.key

    @property
    def lists_units(self) -> bool:
        """True for `studies`, whose rows each name a unit of another table; else all rows of a file are of one unit."""
        return "unit" in self.key

    @property
    def partitioned_by_model(self) -> bool:
        """True for every table with a `model` column, that is all but `runs`."""
        return "model" in self.schema.names


def _table(name: str, key: tuple[str, ...], columns: Mapping[str, pa.DataType]) -> TableSpec:
    """A column written with a question mark may hold nulls."""
    columns = {"run_id": TEXT, "unit": TEXT, **columns}
    fields = [pa.field(column.rstrip("?"), kind) for column, kind in columns.items()]
    metadata = {"polyneuron.table": name, "polyneuron.schema_version": str(SCHEMA_VERSION)}
    optional = frozenset(column[:-1] for column in columns if column.endswith("?"))
    return TableSpec(name, pa.schema(fields, metadata=metadata), key, optional)


RUNS = _table(
    "runs",
    ("run_id",),
    {
        "started_at": TEXT,
        "finished_at?": TEXT,
        "status": TEXT,
        "config_json?": TEXT,
        "versions_json?": TEXT,
        "hardware_json?": TEXT,
        "seeds_json?": TEXT,
        "timings_json?": TEXT,
        "failures_json?": TEXT,
        "command?": TEXT,
    },
)
"""failures_json: the models that failed, each with stage and reason; null until all models have been worked on, and of a night.
One row a run, ISO 8601 times; the only table with times, so the only one that differs between equal
studies."""

STUDIES = _table("studies", ("run_id", "model", "table", "unit"), {"model": TEXT, "table": TEXT})
"""One row per unit of work that a run wrote or found done: `unit` of the table `table`, which `run_id` need not have written."""

CORPORA = _table(
    "corpora",
    ("model", "language"),
    {
        "model": TEXT,
        "language": TEXT,
        "source": TEXT,
        "revision?": TEXT,
        "sha": TEXT,
        "n_read": INT64,
        "n_detection": INT64,
        "n_heldout": INT64,
        "n_tokens_detection": INT64,
        "n_tokens_heldout": INT64,
        "dropped_json": TEXT,
    },
)
"""One row per model and language. sha: hash of the sampled text; dropped_json: how many sentences were
dropped, by reason."""

IMPACTS = _table(
    "impacts",
    ("model", "language", "layer", "group", "neuron"),
    {
        "model": TEXT,
        "language": TEXT,
        "layer": INT32,
        "group": TEXT,
        "neuron": INT32,
        "impact_min": FLOAT32,
        "impact_mean?": FLOAT32,
        "impact_max?": FLOAT32,
        "impact_rms_min": FLOAT32,
        "impact_smallest?": pa.list_(FLOAT32),
        "rank_worst?": FLOAT32,
        "bounded": BOOL,
    },
)
"""One row per language and neuron: see `polyneuron.neuron_core.impacts.table.IMPACTS_SCHEMA` for what each number is."""

DETECTIONS = _table(
    "detections",
    ("model", "language", "group"),
    {
        "model": TEXT,
        "language": TEXT,
        "group": TEXT,
        "n_sentences": INT64,
        "n_tokens": INT64,
        "seed_mean_square": FLOAT64,
        "seed_mean_square_raw?": FLOAT64,
        "floor_raw?": FLOAT32,
        "floor_rms?": FLOAT32,
        "n_bounded": INT64,
        "mode": TEXT,
    },
)
"""One row per language and group; floors are null where every neuron was measured."""

ACTIVATIONS = _table(
    "activations",
    ("model", "site", "language", "layer", "neuron"),
    {
        "model": TEXT,
        "language": TEXT,
        "site": TEXT,
        "layer": INT32,
        "neuron": INT32,
        "n_tokens": INT64,
        "n_positive": INT64,
        "mean": FLOAT64,
        "minimum": FLOAT32,
        "maximum": FLOAT32,
        "p5": FLOAT32,
        "p10": FLOAT32,
        "p25": FLOAT32,
        "p50": FLOAT32,
        "p75": FLOAT32,
        "p90": FLOAT32,
        "p95": FLOAT32,
        "above_own": pa.list_(INT64),
        "pooled": pa.list_(FLOAT32),
        "above_pooled": pa.list_(INT64),
    },
)
"""One row per language and ffn neuron at a site; see `neuron_core.activations.table.ACTIVATIONS_SCHEMA` for what each
number is. The lists follow p5 to p95."""

NEURON_SETS = _table(
    "neuron_sets",
    ("model", "selection", "variant", "kind", "language", "seed", "layer", "group", "neuron"),
    {
        "model": TEXT,
        "selection": TEXT,
        "kind": TEXT,
        "language?": TEXT,
        "seed?": INT64,
        "variant": TEXT,
        "layer": INT32,
        "group": TEXT,
        "neuron": INT32,
    },
)
"""One row per neuron of a set. kind: related, shared, exclusive, strict_exclusive, detected (by a detector, whose
selection the table detectors describes) or control; language null: all of them."""

SELECTIONS = _table(
    "selections",
    ("model", "selection"),
    {
        "model": TEXT,
        "selection": TEXT,
        "rule_json": TEXT,
        "thresholds_json": TEXT,
        "n_neurons": INT64,
    },
)

DETECTORS = _table(
    "detectors",
    ("model", "selection"),
    {
        "model": TEXT,
        "selection": TEXT,
        "detector": TEXT,
        "site": TEXT,
        "activations": TEXT,
        "rule_json": TEXT,
        "thresholds_json": TEXT,
        "n_neurons": INT64,
    },
)
"""What `selections` is for impacts, for methods that read activations. activations: unit of the statistics that were
read; n_neurons: ffn neurons of the model."""

SET_OVERLAPS = _table(
    "set_overlaps",
    ("model", "selection", "method_a", "method_b", "language", "layer"),
    {
        "model": TEXT,
        "selection": TEXT,
        "method_a": TEXT,
        "method_b": TEXT,
        "language": TEXT,
        "layer?": INT32,
        "n_a": INT64,
        "n_b": INT64,
        "n_common": INT64,
        "jaccard?": FLOAT64,
        "chance_common": FLOAT64,
        "chance_low": INT64,
        "chance_high": INT64,
        "chance_jaccard?": FLOAT64,
        "p_value": FLOAT64,
    },
)
"""Two methods' sets of ffn neurons for a language, beside random sets of the same sizes per layer; see
`neuron_core.sets.overlap.Overlap`. selection: whose sets impact_related and impact_exclusive are; layer null: the whole
model. Jaccards are null where both sets are empty."""

SENSITIVITY = _table(
    "sensitivity",
    ("model", "selection", "neighbour", "language"),
    {
        "model": TEXT,
        "selection": TEXT,
        "neighbour": TEXT,
        "sigma?": FLOAT64,
        "language?": TEXT,
        "n_related?": INT64,
        "n_shared?": INT64,
        "n_exclusive?": INT64,
        "shared_ratio?": FLOAT64,
        "jaccard_related?": FLOAT64,
        "jaccard_shared?": FLOAT64,
        "null_reason?": TEXT,
    },
)
"""What a neighbouring rule would have selected; null_reason says why numbers are missing."""

PERPLEXITIES = _table(
    "perplexities",
    ("model", "selection", "variant", "language", "sentence"),
    {
        "model": TEXT,
        "selection": TEXT,
        "variant": TEXT,
        "kind": TEXT,
        "control_of?": TEXT,
        "set_language?": TEXT,
        "seed?": INT64,
        "n_neurons": INT64,
        "language": TEXT,
        "sentence": INT32,
        "nll_nats?": FLOAT64,
        "n_tokens": INT32,
    },
)
"""One row per variant and held-out sentence: its negative log likelihood in nats over n_tokens predicted
tokens. A detector's selection repeats the rows of the base model."""

METRICS = _table(
    "metrics",
    ("model", "selection", "metric", "language"),
    {
        "model": TEXT,
        "selection": TEXT,
        "metric": TEXT,
        "language?": TEXT,
        "value?": FLOAT64,
        "low?": FLOAT64,
        "high?": FLOAT64,
        "null_reason?": TEXT,
        "n_bootstrap?": INT64,
        "seed?": INT64,
    },
)
"""Equations 4 to 6 with bootstrap intervals; language null: of the whole model."""

TRAINING = _table(
    "training",
    ("model", "variant", "step"),
    {
        "model": TEXT,
        "variant": TEXT,
        "strategy": TEXT,
        "reason": TEXT,
        "language": TEXT,
        "seed": INT64,
        "n_neurons": INT64,
        "n_trainable": INT64,
        "step": INT32,
        "loss_nats": FLOAT64,
        "learning_rate": FLOAT64,
        "gradient_norm": FLOAT64,
        "n_tokens": INT64,
        "edit?": TEXT,
    },
)
"""One row per optimizer step of a trained variant. strategy: what was trained, reason: why; language: languages
trained together are joined by "+"; loss_nats: mean over the n_tokens predicted tokens of the global batch, before the
step; gradient_norm: before clipping; edit: fingerprint of the trained edit, by which damage to its file is found."""

VALIDATIONS = _table(
    "validations",
    ("model", "variant", "step", "language"),
    {
        "model": TEXT,
        "variant": TEXT,
        "step": INT32,
        "language": TEXT,
        "nll_nats": FLOAT64,
        "n_tokens": INT64,
        "kept": BOOL,
    },
)
"""Negative log-likelihood of the detection sentences of every studied language after `step` optimizer steps (0: before
training): nll_nats is the sum over n_tokens predicted tokens. kept: the values of this step became the variant."""

SCORES = _table(
    "scores",
    ("model", "variant", "night", "benchmark", "language", "metric", "filter"),
    {
        "model": TEXT,
        "variant": TEXT,
        "kind": TEXT,
        "set_language?": TEXT,
        "control_of?": TEXT,
        "seed?": INT64,
        "n_neurons": INT64,
        "night?": TEXT,
        "benchmark": TEXT,
        "language": TEXT,
        "metric": TEXT,
        "filter": TEXT,
        "primary": BOOL,
        "n": INT64,
        "n_unscored": INT64,
        "value?": FLOAT64,
        "stderr?": FLOAT64,
        "low?": FLOAT64,
        "high?": FLOAT64,
        "interval?": TEXT,
        "stand_in?": TEXT,
        "null_reason?": TEXT,
        "task_version?": TEXT,
        "n_shots?": INT64,
        "max_gen_toks?": INT64,
        "backend": TEXT,
        "dtype": TEXT,
        "bos?": BOOL,
        "dataset?": TEXT,
        "revision?": TEXT,
        "data": TEXT,
        "settings_json": TEXT,
    },
)
"""One row per variant, benchmark, language, metric and answer filter. night: label of a nightly run, null in
a study. primary: the one metric and filter by which the benchmark is judged. n: items scored; low, high: 95%
interval by the method `interval` ("wilson" for right-or-wrong metrics, else "bootstrap"). stand_in: what took
the place of a benchmark the language lacks; null_reason: why there is no value. data: "hub", "local" or
"sample"; settings_json: tasks, item limit, seeds, versions."""

SAMPLES = _table(
    "samples",
    ("model", "variant", "night", "benchmark", "language", "task", "item", "metric", "filter"),
    {
        "model": TEXT,
        "variant": TEXT,
        "night?": TEXT,
        "benchmark": TEXT,
        "language": TEXT,
        "task": TEXT,
        "item": INT32,
        "metric": TEXT,
        "filter": TEXT,
        "value?": FLOAT64,
        "target": TEXT,
        "response?": TEXT,
        "doc_hash": TEXT,
        "prompt_hash": TEXT,
        "tokens_hash": TEXT,
    },
)
"""One row per item, metric and filter, so that variants are compared item by item. tokens_hash: of the prompt's
token ids, BOS included."""

VERDICTS = _table(
    "verdicts",
    ("model", "night", "benchmark", "language", "metric", "filter", "variant", "baseline"),
    {
        "model": TEXT,
        "night?": TEXT,
        "benchmark": TEXT,
        "language": TEXT,
        "metric": TEXT,
        "filter": TEXT,
        "variant": TEXT,
        "baseline": TEXT,
        "n_pairs": INT64,
        "value?": FLOAT64,
        "baseline_value?": FLOAT64,
        "delta?": FLOAT64,
        "low?": FLOAT64,
        "high?": FLOAT64,
        "test?": TEXT,
        "p_value?": FLOAT64,
        "p_adjusted?": FLOAT64,
        "alpha": FLOAT64,
        "min_effect": FLOAT64,
        "verdict": TEXT,
        "reason?": TEXT,
    },
)
"""One paired comparison over the same items. baseline: in a study the other variant's name, in a nightly run
the other night's label. delta = value - baseline_value with its 95% interval; p_adjusted: Holm over the
family. verdict: "better", "worse", "no evidence" or "not judged" (reason says why)."""

_ALL = (
    RUNS,
    STUDIES,
    CORPORA,
    IMPACTS,
    DETECTIONS,
    ACTIVATIONS,
    NEURON_SETS,
    SELECTIONS,
    DETECTORS,
    SET_OVERLAPS,
    SENSITIVITY,
    PERPLEXITIES,
    METRICS,
    TRAINING,
    VALIDATIONS,
    SCORES,
    SAMPLES,
    VERDICTS,
)
TABLES: dict[str, TableSpec] = {spec.name: spec for spec in _ALL}


def table_spec(table: str) -> TableSpec:
    """The declaration of `table`. Raises StoreError listing the tables when there is none of that name."""
    if table not in TABLES:
        raise StoreError(f"There is no table {table!r} in the store. Its tables are: {', '.join(TABLES)}.")
    return TABLES[table]


def require_version(version: int, where: str) -> None:
    """Raises StoreError when the file or folder `where` is not of this Polyneuron's schema version."""
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{where} was written with store schema version {version}; this Polyneuron reads version {SCHEMA_VERSION}. "
            f"Use a Polyneuron that reads version {version}, or another store folder."
        )

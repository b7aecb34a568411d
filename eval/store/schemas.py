"""The tables of the store and what a row of each is. Imports nothing heavy."""

from polyneuron.eval.store.table_spec import SCHEMA_VERSION, TableSpec, each, of_record, of_schema, table_of
from polyneuron.eval.tasks.item import Item
from polyneuron.eval.verdicts.verdict import Verdict
from polyneuron.neuron_core.activations.schema import ACTIVATIONS_SCHEMA, CONTEXTS_SCHEMA
from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.neuron_core.impacts.schema import IMPACTS_SCHEMA, SUMMARY_SCHEMA
from polyneuron.neuron_core.measures.language_agnostic import Estimate
from polyneuron.neuron_core.measures.schema import LIKELIHOODS_SCHEMA
from polyneuron.neuron_core.selection.schema import NOISE_FLOOR_SCHEMA, SENSITIVITY_SCHEMA
from polyneuron.neuron_core.sets.schema import OVERLAP_SCHEMA, SET_SCHEMA

_MODEL, _SELECTION = each("string", "model"), each("string", "model selection")

RUNS = table_of(
    "runs",
    "run_id",
    [
        each(
            "string", "started_at finished_at? status config_json? versions_json? hardware_json? seeds_json?"
        ),
        each("string", "timings_json? failures_json? command?"),
    ],
)
"""One row a run, ISO 8601 times; the only table with times. failures_json: the models that failed, each with stage and
reason; null until all models have been worked on, and of a night."""

STUDIES = table_of("studies", "run_id model table unit", [each("string", "model table")])
"""One row per unit of work that a run wrote or found done: `unit` of the table `table`, which `run_id` need not have written."""

CORPORA = table_of(
    "corpora",
    "model language",
    [
        each("string", "model weights language source revision? sha detect_in"),
        each("int64", "n_read n_detection n_heldout n_tokens_detection n_tokens_heldout n_cut"),
        each("string", "dropped_json doubts_json"),
    ],
)
"""One row per model and language. weights: fingerprint of the model's files; sha: hash of the sampled text; detect_in: what
detection read, n_detection windows of equal length or sentences; n_cut: sentences, not windows, as long as the most tokens that
are kept; dropped_json: how many sentences were dropped, by reason; doubts_json: what speaks against the sample being of the
language."""

IMPACTS = table_of(
    "impacts",
    "model language layer group neuron",
    [
        _MODEL,
        of_schema(
            IMPACTS_SCHEMA,
            optional="impact_mean impact_max impact_smallest rank_worst impact_seed_min impact_seed_rms_min",
        ),
    ],
)
"""One row per language and neuron."""

DETECTIONS = table_of(
    "detections",
    "model language group",
    [_MODEL, of_schema(SUMMARY_SCHEMA, optional="seed_mean_square_raw floor_raw floor_rms")],
)
"""One row per language and group."""

ACTIVATIONS = table_of(
    "activations", "model site language layer neuron", [_MODEL, of_schema(ACTIVATIONS_SCHEMA)]
)
"""One row per language and ffn neuron at a site."""

CONTEXTS = table_of(
    "contexts", "model language layer group neuron place", [_MODEL, of_schema(CONTEXTS_SCHEMA)]
)
"""One row per language, neuron in a set and place, 1 for the token on which it is strongest. value: what the neuron computes
there (docs/neurons.md); sentence, position: where the token stands in what detection read; window: ids of the tokens around it;
at: its own place among them, from 0."""

NEURON_SETS = table_of(
    "neuron_sets",
    "model selection variant kind language seed layer group neuron",
    [
        each("string", "model selection kind language?"),
        each("int64", "seed?"),
        each("string", "variant"),
        of_schema(SET_SCHEMA),
    ],
)
"""One row per neuron of a set. kind: related, shared, exclusive, strict_exclusive, detected (by a detector, whose selection
the table detectors describes), or of a control: control (random neurons), impact_control (nearest in impact), language_control
(of other languages); language null: all of them."""

CONTROLS = table_of(
    "controls",
    "model selection variant",
    [
        each("string", "model selection variant kind set_language? control_of"),
        each("int64", "seed n_neurons n_asked"),
        each("double", "impact_ratio?"),
    ],
)
"""One row per control. n_asked: neurons of the set that it stands beside; impact_ratio: geometric mean of its neurons' pooled
impacts over that of the set, null for a detector's."""

SELECTIONS = table_of(
    "selections",
    "model selection",
    [_SELECTION, each("string", "rule_json thresholds_json"), each("int64", "n_neurons")],
)
"""One row per selection: the rule, the thresholds it came to, and the neurons it chose among."""

DETECTORS = table_of(
    "detectors",
    "model selection",
    [
        _SELECTION,
        each("string", "detector site activations rule_json thresholds_json"),
        each("int64", "n_neurons"),
    ],
)
"""What `selections` is for impacts, for methods that read activations. activations: unit of the statistics that were
read; n_neurons: ffn neurons of the model."""

SET_OVERLAPS = table_of(
    "set_overlaps",
    "model selection method_a method_b language layer",
    [_SELECTION, of_schema(OVERLAP_SCHEMA, optional="layer jaccard chance_jaccard")],
)
"""Two methods' sets of ffn neurons for a language, beside random sets of the same sizes per layer. selection: whose sets
impact_related and impact_exclusive are."""

SENSITIVITY = table_of(
    "sensitivity",
    "model selection neighbour language",
    [
        _SELECTION,
        of_schema(
            SENSITIVITY_SCHEMA,
            optional="sigma language n_related n_shared n_exclusive shared_ratio jaccard_related jaccard_shared null_reason",
        ),
    ],
)
"""What a neighbouring rule would have selected."""

NOISE_FLOOR = table_of(
    "noise_floor",
    "model kind language",
    [
        each("string", "model"),
        of_schema(
            NOISE_FLOOR_SCHEMA,
            optional=" ".join(set(NOISE_FLOOR_SCHEMA.names) - {"kind", "n_neurons"}),
        ),
    ],
)
"""How large the sets of a selection are by chance, and how alike those of two halves of the sentences."""

PERPLEXITIES = table_of(
    "perplexities",
    "model selection variant language sentence",
    [
        each("string", "model selection variant kind control_of? set_language?"),
        each("int64", "seed? n_neurons"),
        of_schema(LIKELIHOODS_SCHEMA, optional="nll_nats"),
    ],
)
"""One row per variant and held-out sentence: its negative log likelihood in nats over n_tokens predicted
tokens. A detector's selection repeats the rows of the base model."""

METRICS = table_of(
    "metrics",
    "model selection metric language",
    [_SELECTION, of_record(Estimate)],
)
"""Equations 4 to 6 with bootstrap intervals."""

TRAINING = table_of(
    "training",
    "model variant step",
    [
        each("string", "model variant strategy control_of? reason language"),
        each("int64", "seed n_neurons n_trainable"),
        each("int32", "step"),
        each("double", "loss_nats learning_rate gradient_norm"),
        each("int64", "n_tokens"),
        each("string", "edit?"),
    ],
)
"""One row per optimizer step of a trained variant. strategy: what was trained, reason: why; control_of: the strategy whose set
random neurons are as many as; language: languages trained together are joined by "+"; loss_nats: mean over the n_tokens
predicted tokens of the global batch, before the step; gradient_norm: before clipping; edit: fingerprint of the trained edit, by
which damage to its file is found."""

VALIDATIONS = table_of(
    "validations",
    "model variant step language",
    [
        each("string", "model variant"),
        each("int32", "step"),
        each("string", "language"),
        each("double", "nll_nats"),
        each("int64", "n_tokens"),
        each("bool", "kept"),
    ],
)
"""Negative log-likelihood of the detection sentences of every studied language after `step` optimizer steps (0: before
training): nll_nats is the sum over n_tokens predicted tokens. kept: the values of this step became the variant."""

SCORES = table_of(
    "scores",
    "model variant night benchmark language metric filter",
    [
        each("string", "model variant kind set_language? control_of?"),
        each("int64", "seed? n_neurons"),
        each("string", "night? benchmark language metric filter"),
        each("bool", "primary"),
        each("int64", "n n_unscored"),
        each("double", "value? stderr? low? high?"),
        each("string", "interval? stand_in? null_reason? task_version?"),
        each("int64", "n_shots? max_gen_toks?"),
        each("string", "backend dtype"),
        each("bool", "bos?"),
        each("string", "dataset? revision? data settings_json"),
    ],
)
"""One row per variant, benchmark, language, metric and answer filter. night: label of a nightly run, null in a study. primary:
the one metric and filter by which the benchmark is judged. n: items scored; low, high: 95% interval by the method `interval`
("wilson" where every value is 0 or 1, else "plus-four"). stand_in: what took the place of a benchmark the language lacks;
null_reason: why there is no value. data: "hub", "local" or "sample"; settings_json: tasks, item limit, seeds, versions."""

SAMPLES = table_of(
    "samples",
    "model variant night benchmark language task item metric filter",
    [each("string", "model variant night? benchmark language"), of_record(Item, item="int32")],
)
"""One row per item, metric and filter, so that variants are judged item by item."""

VERDICTS = table_of(
    "verdicts", "model night benchmark language metric filter variant baseline", [of_record(Verdict)]
)
"""One paired comparison over the same items."""

TABLES: dict[str, TableSpec] = {
    spec.name: spec for spec in tuple(vars().values()) if isinstance(spec, TableSpec)
}
"""All tables by name, in the order in which a study makes them."""


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

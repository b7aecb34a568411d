"""The tables of the store, what a row of each is and what each column says. Imports nothing heavy."""

from polyneuron.eval.store.run_tables import MODEL, RUNS, STUDIES, TRACKED  # noqa: F401 (the first of TABLES)
from polyneuron.eval.store.table_spec import TableSpec, table_of
from polyneuron.eval.tasks.item import Item
from polyneuron.eval.verdicts.verdict import Verdict
from polyneuron.neuron_core.activations.schema import ACTIVATIONS as ACTIVATION_COLUMNS
from polyneuron.neuron_core.activations.schema import CONTEXTS as CONTEXT_COLUMNS
from polyneuron.neuron_core.common.columns import Columns
from polyneuron.neuron_core.common.errors import StoreError
from polyneuron.neuron_core.impacts.schema import IMPACTS as IMPACT_COLUMNS
from polyneuron.neuron_core.impacts.schema import SUMMARY as SUMMARY_COLUMNS
from polyneuron.neuron_core.measures.language_agnostic import Estimate
from polyneuron.neuron_core.measures.schema import LENS as LENS_COLUMNS
from polyneuron.neuron_core.measures.schema import LIKELIHOODS as LIKELIHOOD_COLUMNS
from polyneuron.neuron_core.selection.schema import NOISE_FLOOR as NOISE_FLOOR_COLUMNS
from polyneuron.neuron_core.selection.schema import SENSITIVITY as SENSITIVITY_COLUMNS
from polyneuron.neuron_core.sets.schema import SET as SET_COLUMNS
from polyneuron.neuron_core.sets.schema import Overlap

_SELECTION: Columns = {
    **MODEL,
    "selection": ("string", "Name of the selection: its rule, and part of a hash."),
}
_VARIANT: Columns = {
    **MODEL,
    "variant": ("string", "Name of the variant, such as base, shared, or tuned-shared-sw."),
}
_CHANGE: Columns = {
    "set_language?": (
        "string",
        "The language of the variant's set; null where it is of all languages, or of none.",
    ),
    "control_of?": ("string", "The variant that it stands beside; null where it is no control."),
    "seed?": ("int64", "Seed of a control's draw, or of a training; null elsewhere."),
    "n_neurons": ("int64", "Neurons that the variant changes."),
}
_CONTROLS = (
    "control (random neurons), impact_control (nearest in impact), language_control (of other languages)"
)
_KIND = f"related, shared, exclusive, strict_exclusive, or detected (by a detector); of controls: {_CONTROLS}"
_JUDGED: Columns = {
    "night?": ("string", "Label of a nightly run; null in a study."),
    "benchmark": ("string", "The benchmark's short name, such as xnli."),
    "language": ("string", "The language that it was asked in."),
}
_RULE: Columns = {
    "rule_json": ("string", "The rule and its settings, as JSON."),
    "thresholds_json": ("string", "The thresholds that it came to, as JSON."),
}

CORPORA = table_of(
    "corpora",
    "model language",
    "One row per model and language: what was read.",
    [
        MODEL,
        {
            "weights": ("string", "Fingerprint of the model's files."),
            "language": ("string", "The language of the text."),
            "source": ("string", "Where the text came from."),
            "revision?": ("string", "The revision of a dataset on the hub; null elsewhere."),
            "sha": ("string", "SHA-256 of the sampled text."),
            "detect_in": ("string", "What detection read: windows (of equal length) or sentences."),
            "n_read": ("int64", "Sentences that were read to draw the sample."),
            "n_detection": ("int64", "Windows or sentences for detection."),
            "n_heldout": ("int64", "Sentences held out for perplexity."),
            "n_tokens_detection": ("int64", "Tokens for detection that count."),
            "n_tokens_heldout": ("int64", "Tokens predicted in the held-out sentences."),
            "n_cut": (
                "int64",
                "Sentences (not windows) as long as the most tokens that are kept: they may be cut.",
            ),
            "dropped_json": ("string", "How many sentences were left out, by reason."),
            "doubts_json": ("string", "What speaks against the sample being of the language."),
        },
    ],
)

IMPACTS = table_of(
    "impacts",
    "model language layer group neuron",
    "One row per language and neuron: how far a layer's output moves without it.",
    [MODEL, IMPACT_COLUMNS],
)

DETECTIONS = table_of(
    "detections",
    "model language group",
    "One row per language and group of neurons: the scale of its impacts, and how far they are proved.",
    [MODEL, SUMMARY_COLUMNS],
)

ACTIVATIONS = table_of(
    "activations",
    "model site language layer neuron",
    "One row per site, language and ffn neuron: statistics of its activation over tokens.",
    [MODEL, ACTIVATION_COLUMNS],
)

CONTEXTS = table_of(
    "contexts",
    "model language layer group neuron place",
    "One row per language, neuron in a set and place: a token on which the neuron is strongest.",
    [MODEL, CONTEXT_COLUMNS],
)

LENS = table_of(
    "lens",
    "model layer group neuron direction promoted place",
    "One row per neuron in a set and token that its output promotes or suppresses most (docs/neurons.md).",
    [MODEL, LENS_COLUMNS],
)

NEURON_SETS = table_of(
    "neuron_sets",
    "model selection variant kind language seed layer group neuron",
    "One row per neuron of a set or of a control.",
    [
        _SELECTION,
        {
            "kind": ("string", f"{_KIND}."),
            "language?": ("string", "The language of the set; null: all of them."),
            "seed?": ("int64", "Seed of a control's draw; null elsewhere."),
            "variant": ("string", "Name of the set, and of the variant that switches it off."),
        },
        SET_COLUMNS,
    ],
)

CONTROLS = table_of(
    "controls",
    "model selection variant",
    "One row per control: what was drawn beside a set.",
    [
        _SELECTION,
        _VARIANT,
        {
            "kind": (
                "string",
                "control (random neurons), impact_control (nearest in impact) or language_control (of other languages).",
            )
        },
        {
            "set_language?": ("string", "The language of the set that it stands beside; null: all of them."),
            "control_of": ("string", "The set that it stands beside."),
            "seed": ("int64", "Seed of the draw."),
            "n_neurons": ("int64", "Neurons that were drawn."),
            "n_asked": ("int64", "Neurons of the set that it stands beside."),
            "impact_ratio?": (
                "double",
                "Geometric mean of its neurons' pooled impacts over that of the set; null for a detector's.",
            ),
        },
    ],
)

SELECTIONS = table_of(
    "selections",
    "model selection",
    "One row per selection: the rule by which sets were selected from impacts.",
    [_SELECTION, _RULE, {"n_neurons": ("int64", "Neurons that it chose among.")}],
)

DETECTORS = table_of(
    "detectors",
    "model selection",
    "What `selections` is for impacts, for methods that read activations.",
    [
        _SELECTION,
        {
            "detector": ("string", "The method: lape, act_prob or act_prob_pooled."),
            "site": ("string", "Where activations were read: matched or pre_activation."),
            "activations": ("string", "Unit of the statistics that were read, in the table `activations`."),
        },
        _RULE,
        {"n_neurons": ("int64", "The model's ffn neurons.")},
    ],
)

SET_OVERLAPS = table_of(
    "set_overlaps",
    "model selection method_a method_b language layer",
    "One row per pair of methods and language, for the whole model and for each layer: two sets of ffn neurons beside random "
    "sets of the same sizes per layer.",
    [
        MODEL,
        {"selection": ("string", "The selection whose sets impact_related and impact_exclusive are.")},
        Overlap,
    ],
)

SENSITIVITY = table_of(
    "sensitivity",
    "model selection neighbour language",
    "One row per neighbouring rule and language: what it would have selected.",
    [_SELECTION, SENSITIVITY_COLUMNS],
)

NOISE_FLOOR = table_of(
    "noise_floor",
    "model kind language",
    "One row per set: how large it is by chance, and how alike those of two halves of the sentences are.",
    [MODEL, NOISE_FLOOR_COLUMNS],
)

PERPLEXITIES = table_of(
    "perplexities",
    "model selection variant language sentence",
    "One row per variant and held-out sentence. A detector's selection repeats the rows of the base model.",
    [
        _SELECTION,
        _VARIANT,
        {"kind": ("string", f"base, tuned (trained neurons), {_KIND}.")},
        _CHANGE,
        LIKELIHOOD_COLUMNS,
    ],
)

METRICS = table_of(
    "metrics",
    "model selection metric language",
    "One row per measure of Eq. 4 to 6, with its bootstrap interval.",
    [_SELECTION, Estimate],
)

TRAINING = table_of(
    "training",
    "model variant step",
    "One row per optimizer step of a trained variant.",
    [
        _VARIANT,
        {
            "strategy": ("string", "What was trained: shared, exclusive, related, random, full or lora."),
            "control_of?": (
                "string",
                "The strategy whose set random neurons are as many as; null elsewhere.",
            ),
            "reason": ("string", "Why this was trained."),
            "language": ("string", 'What it was trained on; languages trained together are joined by "+".'),
            "seed": ("int64", "Seed of the order of documents, and of random neurons."),
            "n_neurons": ("int64", "Neurons of the set that was trained."),
            "n_trainable": ("int64", "Numbers that were trained."),
            "step": ("int32", "The optimizer step, from 0."),
            "loss_nats": (
                "double",
                "Mean negative log-likelihood over the predicted tokens of the global batch, before the step.",
            ),
            "learning_rate": ("double", "The step's learning rate."),
            "gradient_norm": ("double", "Norm of the gradient, before clipping."),
            "n_tokens": ("int64", "Predicted tokens of the global batch."),
            "edit?": ("string", "Fingerprint of the trained edit, by which damage to its file is found."),
        },
    ],
)

VALIDATIONS = table_of(
    "validations",
    "model variant step language",
    "One row per validation and studied language: the likelihood of its detection sentences during training.",
    [
        _VARIANT,
        {
            "step": ("int32", "Optimizer steps done; 0: before training."),
            "language": ("string", "The language of the sentences."),
            "nll_nats": ("double", "Negative log-likelihood in nats, summed over the predicted tokens."),
            "n_tokens": ("int64", "Predicted tokens."),
            "kept": ("bool", "Whether the values of this step became the variant."),
        },
    ],
)

SCORES = table_of(
    "scores",
    "model variant night benchmark language metric filter",
    "One row per variant, benchmark, language, metric and answer filter.",
    [
        _VARIANT,
        {
            "kind": (
                "string",
                f"base, tuned (trained neurons), tuned and intervened, edit or intervention (from a file), {_KIND}.",
            )
        },
        _CHANGE,
        _JUDGED,
        {
            "metric": (
                "string",
                "What was measured of each item, higher being better; none where nothing was scored.",
            ),
            "filter": ("string", 'How the answer was taken out of the text, or "none".'),
            "primary": ("bool", "Whether the benchmark is judged by this metric and filter."),
            "n": ("int64", "Items that were scored."),
            "n_unscored": ("int64", "Items whose prompt did not fit into the engine's context."),
            "value?": ("double", "Mean over the scored items, a fraction of 1."),
            "stderr?": ("double", "Standard error of the mean."),
            "low?": ("double", "Lower end of the 95% interval."),
            "high?": ("double", "Upper end of it."),
            "interval?": ("string", "How it was made: wilson where every item is 0 or 1, else plus-four."),
            "stand_in?": ("string", "What took the place of a benchmark that the language lacks."),
            "null_reason?": ("string", "Why there is no value."),
            "task_version?": ("string", "lm-eval's version of the task."),
            "n_shots?": ("int64", "Solved examples in the prompt."),
            "max_gen_toks?": (
                "int64",
                "The longest answer in tokens; null where answers are chosen, not written.",
            ),
            "backend": ("string", "The engine: vllm or hf."),
            "dtype": ("string", "In what the engine computed, such as bfloat16."),
            "bos?": ("bool", "Whether prompts began with BOS."),
            "dataset?": ("string", "The dataset of the items, or one's own task file."),
            "revision?": ("string", "The revision of the dataset, or the hash of its files."),
            "data": (
                "string",
                "Where items came from: hub, local, sample, or none where nothing was scored.",
            ),
            "settings_json": ("string", "Task, limit of items, seed, engine and versions."),
        },
    ],
)

SAMPLES = table_of(
    "samples",
    "model variant night benchmark language task item metric filter",
    "One row per item, metric and answer filter, so that variants are judged item by item.",
    [_VARIANT, _JUDGED, Item],
)

VERDICTS = table_of(
    "verdicts",
    "model night benchmark language metric filter variant baseline",
    "One row per paired comparison over the same items.",
    [Verdict],
)

TABLES: dict[str, TableSpec] = {
    spec.name: spec for spec in tuple(vars().values()) if isinstance(spec, TableSpec)
}
"""All tables by name, in the order in which a study makes them."""


def table_spec(table: str) -> TableSpec:
    """The declaration of `table`. Raises StoreError listing the tables when there is none of that name."""
    if table not in TABLES:
        raise StoreError(f"There is no table {table!r} in the store. Its tables are: {', '.join(TABLES)}.")
    return TABLES[table]

"""The columns of detection's two tables. Imports no torch."""

import pyarrow as pa

IMPACTS_SCHEMA = pa.schema(
    [
        ("language", pa.string()),
        ("layer", pa.int32()),
        ("group", pa.string()),
        ("neuron", pa.int32()),
        *((f"impact_{kind}", pa.float32()) for kind in ("min", "mean", "max", "rms_min")),
        ("impact_seed", pa.float32()),
        ("impact_smallest", pa.list_(pa.float32())),
        ("rank_worst", pa.float32()),
        ("bounded", pa.bool_()),
        *((f"impact_seed_{kind}", pa.float32()) for kind in ("min", "rms_min")),
    ]
)
"""impact_min, mean, max: Frobenius norm of the change, over sentences. impact_rms_min: minimum of the per-token impact
(norm over the root of the scored tokens); impact_smallest: its up to 5 smallest values, ascending. impact_seed: root mean square
of the per-token impact over the seed sentences, which are measured in full in every mode. rank_worst: largest rank fraction
within (layer, group); null where not every neuron was measured. bounded: the minima are upper bounds only, over the seed
sentences. impact_seed_min, impact_seed_rms_min: the same minima over the seed sentences of q and k neurons that pruned
detection went on to measure, from which a lower floor follows; null elsewhere."""

SUMMARY_SCHEMA = pa.schema(
    [
        ("language", pa.string()),
        ("group", pa.string()),
        ("n_sentences", pa.int64()),
        ("n_tokens", pa.int64()),
        *((name, pa.float64()) for name in ("seed_mean_square", "seed_mean_square_raw")),
        *((name, pa.float32()) for name in ("floor_raw", "floor_rms")),
        ("n_bounded", pa.int64()),
        ("mode", pa.string()),
    ]
)
"""seed_mean_square: mean over neurons and seed sentences of the squared per-token impact, the scale of the group;
seed_mean_square_raw: of the squared Frobenius norm. floor_raw, floor_rms: thresholds from which on a selection is
certified; null where every neuron was measured."""

"""Rows of the tables contexts, lens and activations for every neuron that a synthetic study selected; the texts are hostile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.activations.names import PERCENTILES
from tests.eval.report.synthetic import Plan

BITE = "document.title='taken'"
TEXTS = (
    f"a </script><script>{BITE}</script> b",
    f'<img src=x onerror="{BITE}"> \u2028 \u2029 ]]> --> <!-- <!--<script>',
    "\u202eright to left\u202d \u2066 שלום עולם مرحبا \u200f",
    "\"quotes\" 'and' `ticks` \\ ${1} {{ 7 * 7 }} &lt;b&gt; &amp;",
    "🧠 neurons 🧠🧠 and ที่นี่ \r\n\t\x0b\x00\x07 end",
)
"""What a sentence of a corpus may hold."""


def put_pages(store: Store, plan: Plan, n_places: int = 3) -> None:
    """A token of one of `TEXTS` at each place, words of them at the ends of the lens, and statistics of ffn neurons."""
    rng = np.random.default_rng(plan.seed)
    members = store.read("neuron_sets", [("model", "=", plan.model), ("kind", "=", "related")]).to_pylist()
    places = sorted({(row["layer"], row["group"], row["neuron"]) for row in members})
    neurons = [dict(zip(("layer", "group", "neuron"), place, strict=True)) for place in places]
    contexts, lens, statistics = [], [], list[dict[str, Any]]()
    for i, neuron in enumerate(neurons):
        for language in plan.languages:
            for place in range(1, n_places + 1):
                text = TEXTS[(i + place) % len(TEXTS)]
                start = int(rng.integers(len(text)))
                where = {"sentence": place, "position": start, "text": text, "start": start, "end": start + 1}
                own = {"language": language, "place": place, "value": float(9 - place)}
                contexts.append(neuron | own | where)
        for promoted in (True, False) if neuron["group"] in ("v", "ffn") else ():
            for direction in range(2 if neuron["group"] == "v" else 1):
                for place in range(1, n_places + 1):
                    word = {
                        "token": place,
                        "text": TEXTS[place % len(TEXTS)][:9],
                        "logit": (2 * promoted - 1) / place,
                    }
                    own = {"direction": direction, "promoted": promoted, "place": place}
                    lens.append(neuron | own | word)
        if neuron["group"] == "ffn":
            statistics += [_statistics(neuron, language, rng) for language in plan.languages]
    for table, rows in (("contexts", contexts), ("lens", lens), ("activations", statistics)):
        unit = f"{table}:{plan.model}"
        marked = [{"run_id": plan.run_id, "unit": unit, "model": plan.model} | row for row in rows]
        store.write(table, pa.Table.from_pylist(marked, TABLES[table].schema), unit, {"model": plan.model})


def _statistics(neuron: dict[str, Any], language: str, rng: np.random.Generator) -> dict[str, Any]:
    values = np.sort(rng.normal(size=2 + len(PERCENTILES))).tolist()
    many = [1] * len(PERCENTILES)
    named = {f"p{percentile}": value for percentile, value in zip(PERCENTILES, values[1:-1], strict=True)}
    ends = {"minimum": values[0], "maximum": values[-1], "mean": values[3], "n_tokens": 200, "n_positive": 50}
    lists = {"above_own": many, "pooled": [0.0] * len(many), "above_pooled": many}
    own = {"language": language, "site": "matched", "layer": neuron["layer"], "neuron": neuron["neuron"]}
    return own | named | ends | lists

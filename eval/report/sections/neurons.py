"""The part with the map: where the shared neurons and each language's own lie, and the list of all of them."""

from typing import Any

import numpy as np

from polyneuron.eval.neurons.packed import inlined
from polyneuron.eval.report.charts.map import map_chart
from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.words.wording import count, language_name


def map_part(study: ShownStudy) -> dict[str, Any]:
    """A panel for the shared set and one for each language's exclusive set, and the neurons that the script lists."""
    members, anatomy = study.members, study.anatomy
    chosen = {"": np.asarray(members.needed.all(axis=0))}
    chosen |= {code: members.exclusive(i) for i, code in enumerate(study.languages)}
    shape = len(anatomy.groups), anatomy.n_layers
    counts = {code: members.per_place(mask, *shape) for code, mask in chosen.items()}
    most = {code: int(table.max(initial=0)) for code, table in counts.items()}
    own = max((n for code, n in most.items() if code), default=0)
    panels = []
    for code, table in counts.items():
        name = f"exclusive, {language_name(code)}" if code else "shared"
        chart = map_chart(name, anatomy.groups, table, own if code else most[code])
        panels.append({"code": code, "name": name, "size": count(int(table.sum())), "chart": chart})
    return {
        "panels": panels,
        "payload": _payload(study),
        "pages": inlined(study.pages),
        "languages": study.languages,
        "most": own,
        "most_shared": most[""],
    }


def _payload(study: ShownStudy) -> dict[str, Any]:
    """The neurons as the script reads them: group, layer, index and the places of the languages that need it."""
    members, anatomy = study.members, study.anatomy
    needed = [[i for i, yes in enumerate(row) if yes] for row in members.needed.T.tolist()]
    places = zip(
        members.groups.tolist(), members.layers.tolist(), members.neurons.tolist(), needed, strict=True
    )
    return {
        "model": study.model,
        "groups": list(anatomy.groups),
        "widths": dict(anatomy.widths),
        "layers": anatomy.n_layers,
        "languages": list(study.languages),
        "names": [language_name(code) for code in study.languages],
        "neurons": [list(place) for place in places],
    }

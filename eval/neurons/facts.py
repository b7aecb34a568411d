"""All that a store and a model say of one neuron."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from polyneuron.eval.neurons.listing import StoredNeurons
from polyneuron.eval.neurons.marks import MarkedText, marked, token_text
from polyneuron.eval.report.numbers.units import StudiedTables
from polyneuron.neuron_core.measures.logit_lens import output_logits
from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.groups import SCORE_GROUPS
from polyneuron.neuron_core.model.stored_model import StoredModel
from polyneuron.neuron_core.sets.neuron_name import NeuronName

_HOW_ACTIVATIONS = (
    "The store keeps no activation statistics; a study with activations.detectors=lape measures them"
)
_HOW_CONTEXTS = "The store keeps no tokens in context; a study with contexts.top_tokens=10 keeps those of the neurons in sets"
_OF_MODEL = ("model", "run_id", "unit", "layer", "group", "neuron")


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """The model of a study, of which a page reads a few columns and the head, and its tokenizer, of transformers."""

    stored: StoredModel
    tokenizer: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class TopContext:
    """One token on which the neuron is strongest."""

    language: str
    """The language of the sentence."""
    place: int
    """1 for the strongest token of that language."""
    value: float
    """What the neuron computes there."""
    sentence: int
    """The sentence or window of detection."""
    position: int
    """Where in it the token stands."""
    text: MarkedText
    """The token and the text around it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LensToken:
    """One token whose logit the neuron's output moves most."""

    direction: int
    """Which of the neuron's directions; a v neuron has one for each query head that reads it, any other one."""
    promoted: bool
    """Whether its logit rises with the neuron's output, or falls."""
    place: int
    """1 for the token that is moved most."""
    token: int
    """Its id."""
    text: str
    """What it stands for."""
    logit: float
    """What a unit of the neuron's output adds to its logit, up to a positive factor; 0 is the mean of the vocabulary."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NeuronFacts:
    """The page of one neuron, as numbers and texts."""

    model: str
    """The model's name in the store."""
    neuron: NeuronName
    """Layer, group and index."""
    impacts: list[dict[str, Any]]
    """By language: language, impact, rank, n_ranked, as `StoredNeurons.by_language` gives them."""
    sets: tuple[str, ...]
    """The sets that hold it; controls are left out."""
    neighbours: tuple[NeuronName, ...]
    """Neurons of its layer and group in exactly the same sets; none for a neuron in no set."""
    n_in_same_sets: int
    """How many other neurons of the model are in exactly the same sets."""
    activations: list[dict[str, Any]]
    """Statistics of an ffn neuron's activation by site and language, as the table activations has them."""
    contexts: tuple[TopContext, ...]
    """The tokens on which it is strongest, by language."""
    lens: tuple[LensToken, ...]
    """The tokens that its output promotes and suppresses."""
    notes: tuple[str, ...]
    """Why a part is missing, and what the logit lens takes into account."""


def facts_of(tables: StudiedTables, neuron: NeuronName, opened: OpenedModel | str, top: int) -> NeuronFacts:
    """All that is known of a neuron. `opened`: the study's model, or why it cannot be read, which the notes then say. `top`: at
    most so many contexts of a language, and tokens at each end of a direction.

    Raises:
        SetError: the neuron was not measured.
        ModelError: the model's files cannot be read.
    """
    stored = StoredNeurons(tables)
    impacts = stored.by_language(neuron).to_pylist()
    sets_of = stored.sets_of()
    sets = sets_of.get(neuron, ())
    same = [other for other, names in sets_of.items() if names == sets and other != neuron]
    activations, contexts = _activations(tables, neuron), _context_rows(tables, neuron, top)
    notes = []
    if neuron.group != "ffn":
        notes.append("Activation statistics are of ffn neurons alone")
    elif not activations:
        notes.append(_HOW_ACTIVATIONS)
    if not contexts:
        kept = len(tables.store.missing("contexts", tables.ranks)) < len(tables.ranks)
        notes.append("Tokens in context are kept of neurons in sets alone" if kept else _HOW_CONTEXTS)
    read, lens = list[TopContext](), list[LensToken]()
    if isinstance(opened, str):
        notes.append(f"Texts and the logit lens are left out: {opened}")
    else:
        read = [_in_context(row, opened.tokenizer) for row in contexts]
        lens = list(_lens(opened, neuron, top))
        notes.append(_about_lens(opened, neuron))
    return NeuronFacts(
        model=tables.model,
        neuron=neuron,
        impacts=impacts,
        sets=sets,
        neighbours=tuple(o for o in same if (o.layer, o.group) == (neuron.layer, neuron.group)),
        n_in_same_sets=len(same),
        activations=activations,
        contexts=tuple(read),
        lens=tuple(lens),
        notes=tuple(notes),
    )


def _rows(tables: StudiedTables, table: str, **only: Any) -> list[dict[str, Any]]:
    rows = tables.read(table, only=[(column, "=", value) for column, value in only.items()])
    return rows.drop_columns([name for name in _OF_MODEL if name in rows.column_names]).to_pylist()


def _activations(tables: StudiedTables, neuron: NeuronName) -> list[dict[str, Any]]:
    if neuron.group != "ffn":
        return []
    rows = _rows(tables, "activations", layer=neuron.layer, neuron=neuron.neuron)
    return sorted(rows, key=lambda row: (row["site"], row["language"]))


def _context_rows(tables: StudiedTables, neuron: NeuronName, top: int) -> list[dict[str, Any]]:
    rows = _rows(tables, "contexts", **neuron._asdict())
    chosen = [row for row in rows if row["place"] <= top]
    return sorted(chosen, key=lambda row: (row["language"], row["place"]))


def _in_context(row: dict[str, Any], tokenizer: Any) -> TopContext:
    text = marked(tokenizer, row.pop("window"), row.pop("at"))
    return TopContext(text=text, **row)


def _lens(opened: OpenedModel, neuron: NeuronName, top: int) -> Iterator[LensToken]:
    """The head may have more rows than there are tokens; those are left out."""
    for direction, logits in enumerate(output_logits(opened.stored, neuron)[:, : len(opened.tokenizer)]):
        for promoted in (True, False):
            found = logits.topk(min(top, len(logits)), largest=promoted)
            for place, (logit, token) in enumerate(
                zip(found.values.tolist(), found.indices.tolist(), strict=True), 1
            ):
                yield LensToken(
                    direction=direction,
                    promoted=promoted,
                    place=place,
                    token=token,
                    text=token_text(opened.tokenizer, token),
                    logit=logit,
                )


def _about_lens(opened: OpenedModel, neuron: NeuronName) -> str:
    """What the logit lens takes into account, or why there is none."""
    anatomy = anatomy_of(opened.stored.model)
    if neuron.group in SCORE_GROUPS:
        return f"A {neuron.group} neuron has no output direction: it acts on the attention scores"
    matrix = "its column of down_proj" if neuron.group == "ffn" else "its column of o_proj"
    if neuron.group == "v":
        matrix = f"one column of o_proj for each query head that reads it ({anatomy.heads_per_kv})"
    block = "feed-forward block" if neuron.group == "ffn" else "attention"
    after = f"the norm after the {block}, " if anatomy.family.norms_after else ""
    return (
        f"Logit lens: {matrix}, with the gains of {after}the final norm folded in, through the head, centred over the "
        "vocabulary; per unit of output, up to a positive factor. Where the output is negative, the two ends change places"
    )

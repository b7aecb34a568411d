"""All that a store and a model say of one neuron."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from polyneuron.eval.neurons.listing import StoredNeurons
from polyneuron.eval.neurons.marks import MarkedText, token_text
from polyneuron.eval.report.numbers.units import StudiedTables
from polyneuron.neuron_core.common.errors import ModelError, StoreError
from polyneuron.neuron_core.measures.logit_lens import moved_tokens
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


def facts_of(
    tables: StudiedTables, neuron: NeuronName, model: Callable[[], OpenedModel], top: int
) -> NeuronFacts:
    """All that is known of a neuron. `top`: at most so many contexts of a language, and tokens at each end of a direction.
    `model` opens the study's model; it is called where the store has fewer tokens of the logit lens, and where it raises
    ModelError or StoreError, the notes say why.

    Raises:
        SetError: the neuron was not measured.
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
    lens = _stored_lens(tables, neuron, top)
    if neuron.group not in SCORE_GROUPS and len([1 for each in lens if each.direction == 0]) < 2 * top:
        try:
            lens = list(_lens(model(), neuron, top))
        except (ModelError, StoreError) as error:
            notes.append(f"The logit lens {'has no more tokens' if lens else 'is left out'}: {error.message}")
    if lens or neuron.group in SCORE_GROUPS:
        notes.append(about_lens(neuron.group, n_directions=lens[-1].direction + 1 if lens else 0))
    return NeuronFacts(
        model=tables.model,
        neuron=neuron,
        impacts=impacts,
        sets=sets,
        neighbours=tuple(o for o in same if (o.layer, o.group) == (neuron.layer, neuron.group)),
        n_in_same_sets=len(same),
        activations=activations,
        contexts=tuple(map(_in_context, contexts)),
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


def _in_context(row: dict[str, Any]) -> TopContext:
    text, start, end = (row.pop(name) for name in ("text", "start", "end"))
    return TopContext(text=MarkedText(text[:start], text[start:end], text[end:]), **row)


def _stored_lens(tables: StudiedTables, neuron: NeuronName, top: int) -> list[LensToken]:
    rows = _rows(tables, "lens", **neuron._asdict())
    found = [LensToken(**row) for row in rows if row["place"] <= top]
    return sorted(found, key=lambda token: (token.direction, not token.promoted, token.place))


def _lens(opened: OpenedModel, neuron: NeuronName, top: int) -> Iterator[LensToken]:
    """The head may have more rows than there are tokens; those are left out."""
    place = neuron.layer, neuron.group
    moved = moved_tokens(opened.stored, {place: [neuron.neuron]}, top, len(opened.tokenizer))[place]
    for direction in range(moved.tokens.shape[2]):
        for end, promoted in enumerate((True, False)):
            tokens, logits = (each[end, 0, direction].tolist() for each in (moved.tokens, moved.logits))
            for at, (token, logit) in enumerate(zip(tokens, logits, strict=True), 1):
                text = token_text(opened.tokenizer, token)
                yield LensToken(
                    direction=direction, promoted=promoted, place=at, token=token, text=text, logit=logit
                )


def about_lens(group: str, n_directions: int) -> str:
    """What the logit lens of a neuron of a group takes into account, or why there is none."""
    if group in SCORE_GROUPS:
        return f"A {group} neuron has no output direction: it acts on the attention scores"
    matrix = "its column of down_proj" if group == "ffn" else "its column of o_proj"
    if group == "v":
        matrix = f"one column of o_proj for each query head that reads it ({n_directions})"
    return (
        f"Logit lens: {matrix}, with the gains of the norms up to the head folded in, through the head, centred over the "
        "vocabulary; per unit of output, up to a positive factor. Where the output is negative, the two ends change places"
    )

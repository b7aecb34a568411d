"""Passes over a corpus in layer-major order: detection, activation statistics, perplexity.

Formulas count what the code of `neuron_core` holds at once. B sentences of a micro-batch, T tokens of the longest, d hidden
size, H query heads, G key-value heads, D head dim, I feed-forward width, V vocabulary, s bytes of a value; records of
attention and impacts are float32, 4 bytes.
"""

from dataclasses import dataclass

from polyneuron.cluster.capacity.placing import Phase, Placing
from polyneuron.cluster.capacity.shape import ModelShape
from polyneuron.neuron_core.activations.names import SKETCH_BYTES
from polyneuron.neuron_core.model.groups import SCORE_GROUPS
from polyneuron.neuron_core.passes.limits import (
    IMPACT_BYTES,
    LOGIT_BYTES,
    MAX_COLLECTED,
    MIN_QUERY_ROWS,
    N_QUERY_BLOCKS,
    N_SEED_SENTENCES,
    SCORE_CHUNK_ELEMENTS,
)

CANDIDATE_SPREAD = 4
"""How many times its average the layer with the most q or k candidates has (assumed)."""


@dataclass(frozen=True)
class Corpus:
    """Sentences of a pass. n_sentences: at once, over all ranks; n_tokens: of the longest; batch: of a micro-batch."""

    n_sentences: int
    n_tokens: int
    batch: int


@dataclass(frozen=True)
class Detection:
    """groups: measured; certified: q and k neurons are dropped when they cannot be selected, `floor_fraction` stay."""

    groups: tuple[str, ...]
    certified: bool
    floor_fraction: float

    @property
    def n_score_groups(self) -> int:
        """Groups among them that act on attention scores."""
        return sum(group in SCORE_GROUPS for group in self.groups)


def hidden_state_bytes(where: Placing, corpus: Corpus, n_copies: int) -> tuple[int, int]:
    """(in memory, on disk) of a rank: [tokens, d] of its sentences, once a variant of the model, within the budget."""
    n_tokens = where.share(corpus.n_sentences) * corpus.n_tokens
    n_bytes = n_copies * n_tokens * where.shape.hidden_size * where.shape.value_bytes
    kept = min(n_bytes, where.hidden_states_bytes)
    return kept, n_bytes - kept


def layer_activation_bytes(shape: ModelShape, corpus: Corpus) -> int:
    """A layer's forward over one micro-batch, beside its input: two hidden states, with three rows of the feed-forward width
    or the queries, keys and values with their rotated copies."""
    widest = max(3 * shape.ffn_width, 4 * shape.query_width + 4 * shape.kv_width)
    return corpus.batch * corpus.n_tokens * (2 * shape.hidden_size + widest) * shape.value_bytes


def impact_activation_bytes(shape: ModelShape, corpus: Corpus, detection: Detection) -> int:
    """What detection holds of one micro-batch at its fullest, the layer's own activations included.

    Recorded: o_proj's and down_proj's inputs; for q and k also the projections before RoPE and, in float32, queries, keys,
    values, scores and weights [B, H, T, T]. Measured: squares of down_proj's input, or changed scores of some neurons with
    what they do to the output.
    """
    tokens, wide = corpus.batch * corpus.n_tokens, 0 if shape.value_bytes == 4 else 4
    recorded = (shape.query_width + shape.ffn_width) * shape.value_bytes
    squares = shape.ffn_width * (4 + wide) if "ffn" in detection.groups else 0
    if not detection.n_score_groups:
        return max(layer_activation_bytes(shape, corpus), tokens * (recorded + squares))
    q, kv, square = shape.query_width, shape.kv_width, corpus.batch * shape.n_heads * corpus.n_tokens**2
    recorded += (q + kv) * shape.value_bytes + (q + 2 * kv) * 4
    running = tokens * (q + 2 * kv) * 4 + 4 * square * 4
    return max(
        layer_activation_bytes(shape, corpus) + running,
        tokens * (recorded + squares + 2 * q * 4) + 2 * square * 4,
        tokens * recorded + 2 * square * 4 + _score_bytes(shape, corpus, detection),
    )


def _score_bytes(shape: ModelShape, corpus: Corpus, detection: Detection) -> int:
    """Values and outputs of all heads [B, H, T, D], and for a block of queries a chunk of changed scores with its product with
    the values: of one head's neurons, or of candidates of the layer, with the values, outputs and weights of the heads they
    reach."""
    tokens = corpus.batch * corpus.n_tokens
    most = max(1, SCORE_CHUNK_ELEMENTS // (tokens * corpus.n_tokens))
    block = min(corpus.n_tokens, max(MIN_QUERY_ROWS, -(-corpus.n_tokens // N_QUERY_BLOCKS)))
    of_pair = 4 * corpus.batch * block * (corpus.n_tokens + shape.head_dim)
    needed = min(most, shape.head_dim) * of_pair
    if detection.certified:
        pairs = int(min(1.0, CANDIDATE_SPREAD * detection.floor_fraction) * shape.query_width)
        reached = min(most, pairs) * tokens * (corpus.n_tokens + 2 * shape.head_dim) * 4
        changes = pairs * tokens * 4 * 4
        needed = max(needed, reached + changes + min(most, pairs) * of_pair)
    return 2 * tokens * shape.query_width * 4 + needed


def detection_phases(
    where: Placing, corpus: Corpus, detection: Detection, scale: float = 1.0
) -> tuple[Phase, ...]:
    """A language's larger pass: embedding, then a layer. scale: what a micro-batch takes, measured, over its formula. Impacts
    of a layer's neurons wait until they are accumulated: float32, and of the widest group 24 bytes a value more."""
    shape, widths = where.shape, [where.shape.width(group) for group in detection.groups]
    n_collected = min(where.share(corpus.n_sentences), max(corpus.batch, MAX_COLLECTED // sum(widths)))
    waiting = {
        "impacts, layer": n_collected * (4 * sum(widths) + 24 * max(widths)),
        "impacts": shape.n_layers * sum(widths) * IMPACT_BYTES,
    }
    running = {"activations": int(scale * impact_activation_bytes(shape, corpus, detection))}
    return _embedding(where, corpus), _pass_phase("a layer", where, corpus, _layer(where) | running, waiting)


def sentence_impact_phases(
    where: Placing, corpus: Corpus, detection: Detection, scale: float = 1.0
) -> tuple[Phase, ...]:
    """A language's impacts on single sentences: embedding, then a layer, while those of a rank's share of sentences wait. scale:
    as of `detection_phases`."""
    widths = [where.shape.width(group) for group in detection.groups]
    n_values = where.share(corpus.n_sentences) * where.shape.n_layers * sum(widths)
    running = {"activations": int(scale * impact_activation_bytes(where.shape, corpus, detection))}
    waiting = {"impacts": 4 * n_values}
    return _embedding(where, corpus), _pass_phase("a layer", where, corpus, _layer(where) | running, waiting)


def activation_phases(where: Placing, corpus: Corpus, n_languages: int) -> tuple[Phase, ...]:
    """All languages in one pass: `corpus` holds the sentences of all. While a layer is counted, its sketches and those of the
    layer before wait in host memory; counting takes 21 bytes a value of a micro-batch. Statistics are made from cumulative
    counts in int64, twice a sketch's size: of all languages together, of one, and of the next."""
    shape = where.shape
    sketch = shape.ffn_width * SKETCH_BYTES
    counted = corpus.batch * corpus.n_tokens * shape.ffn_width * 21
    counting = {"activations": layer_activation_bytes(shape, corpus) + counted}
    on_device = {"sketch": sketch} if where.on_gpu else {}
    statistics = {"sketches": n_languages * sketch, "statistics": (6 if n_languages > 1 else 4) * sketch}
    in_layer, waiting = _layer(where) | counting | on_device, {"sketches": 2 * n_languages * sketch}
    return (
        _embedding(where, corpus),
        _pass_phase("a layer", where, corpus, in_layer, waiting),
        _pass_phase("statistics", where, corpus, {}, statistics),
    )


def context_phases(where: Placing, corpus: Corpus) -> tuple[Phase, ...]:
    """One language in one pass, while the values of some neurons are looked at."""
    running = {"activations": layer_activation_bytes(where.shape, corpus)}
    return _embedding(where, corpus), _pass_phase("a layer", where, corpus, _layer(where) | running)


def perplexity_phases(where: Placing, corpus: Corpus, n_variants: int) -> tuple[Phase, ...]:
    """`n_variants` of the model in one pass; logits of a micro-batch, as far as their limit goes, with their softmax."""
    shape = where.shape
    n_tokens = min(max(1, LOGIT_BYTES // (4 * shape.vocabulary)), corpus.batch * (corpus.n_tokens - 1))
    logits = {"logits": (3 if shape.softcap else 2) * 4 * n_tokens * shape.vocabulary}
    head = where.whole("head, whole", shape.after_bytes, shape.after_bytes)
    running = {"activations": layer_activation_bytes(shape, corpus)}
    return (
        _embedding(where, corpus),
        _pass_phase("a layer", where, corpus, _layer(where) | running, n_copies=n_variants),
        _pass_phase("head", where, corpus, head | logits, n_copies=n_variants),
    )


def _layer(where: Placing) -> dict[str, int]:
    shape = where.shape
    largest = max(shape.ffn_width, shape.query_width) * shape.hidden_size * shape.value_bytes
    return where.whole("layer, whole", shape.layer_bytes, largest)


def _embedding(where: Placing, corpus: Corpus) -> Phase:
    n_bytes = where.shape.before_bytes
    whole = where.whole("embedding, whole", n_bytes, n_bytes, single=True)
    return _pass_phase("embedding", where, corpus, whole)


def _pass_phase(
    name: str,
    where: Placing,
    corpus: Corpus,
    near: dict[str, int],
    far: dict[str, int] | None = None,
    *,
    n_copies: int = 1,
) -> Phase:
    hidden, _ = hidden_state_bytes(where, corpus, n_copies)
    return where.phase(name, near, {"hidden states": hidden} | (far or {}))


def forward_flops(shape: ModelShape, corpus: Corpus, with_head: bool) -> float:
    """Of all layers over the corpus: two operations a weight and token, and the whole square of attention scores (masked
    entries are computed too) twice."""
    layer = 2 * shape.layer_parameters + 4 * shape.query_width * corpus.n_tokens
    head = 2 * shape.vocabulary * shape.hidden_size if with_head else 0
    return corpus.n_sentences * corpus.n_tokens * (shape.n_layers * layer + head)


def score_flops(shape: ModelShape, corpus: Corpus, detection: Detection) -> float:
    """Of q and k impacts: for each pair of a neuron and a query head it reaches, the change of T^2 scores times the D values
    of the head, of which causal blocks leave a little more than half. There are H * D pairs in either group. Certified
    detection measures its seed in full and then the candidates."""
    computed = (N_QUERY_BLOCKS + 1) / (2 * N_QUERY_BLOCKS)
    n_pairs = detection.n_score_groups * shape.n_layers * shape.query_width
    one_sentence = n_pairs * 2 * corpus.n_tokens**2 * shape.head_dim * computed
    if not detection.certified:
        return corpus.n_sentences * one_sentence
    seeds = min(N_SEED_SENTENCES, corpus.n_sentences)
    return (seeds + detection.floor_fraction * (corpus.n_sentences - seeds)) * one_sentence

"""Stage corpora: sample sentences of every language, turn them into tokens, and store what was read and dropped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from polyneuron.eval.store.units import unit_key
from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.neuron_core.corpora.presets import source_of
from polyneuron.neuron_core.corpora.sampling import CorpusSample, sample_corpus
from polyneuron.neuron_core.passes.batches import Sentence, tokenize
from polyneuron.pipelines.config.study import CorpusConfig
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.sentences import Sentences
from polyneuron.pipelines.run.studied_model import StudiedModel


def prepare_corpora(
    ledger: Ledger, model: StudiedModel, config: CorpusConfig, languages: Sequence[str], seed: int
) -> Sentences:
    """Reads the sentences of all languages and writes the table corpora.

    Raises:
        CorpusError: a source is missing or unreadable, or a language has too few sentences. ConfigError: BOS is
            asked of a tokenizer that has none.
    """
    sentences, samples = read_sentences(ledger, model, config, languages, seed)
    for sample in samples:
        _record(ledger, sample, sentences, _longest(model, config))
    return sentences


def read_sentences(
    ledger: Ledger, model: StudiedModel, config: CorpusConfig, languages: Sequence[str], seed: int
) -> tuple[Sentences, list[CorpusSample]]:
    """The sentences as tokens, and the samples that they come from; writes nothing, and raises as `prepare_corpora`."""
    samples = [_sample(ledger, model, config, language, seed) for language in languages]
    return (
        Sentences(
            {
                sample.language: _tokens(model, config, sample.language, sample.detection)
                for sample in samples
            },
            {sample.language: _tokens(model, config, sample.language, sample.heldout) for sample in samples},
        ),
        samples,
    )


def _sample(
    ledger: Ledger, model: StudiedModel, config: CorpusConfig, language: str, seed: int
) -> CorpusSample:
    """The sentences of one language; a study that goes on keeps the revision it began with."""
    source = source_of(config.sources.get(language, config.source))
    if source.kind != "embedded":
        source = replace(
            source,
            text_column=config.text_column if config.text_column != "text" else source.text_column,
            revision=config.revision
            or source.revision
            or _stored_revision(ledger, language, source.for_language(language).describe()),
        )

    def token_ids(text: str) -> list[int]:
        ids: list[int] = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    return sample_corpus(
        source,
        language,
        n_detection=config.n_detection,
        n_heldout=config.n_heldout,
        seed=seed,
        tokenizer=token_ids,
        min_tokens=config.min_tokens,
        max_documents=config.max_documents,
    )


def _stored_revision(ledger: Ledger, language: str, source: str) -> str | None:
    rows = ledger.read("corpora", columns=["revision"], language=language, source=source)
    revisions: list[str | None] = rows["revision"].to_pylist()
    return revisions[-1] if revisions else None


def _tokens(
    model: StudiedModel, config: CorpusConfig, language: str, texts: tuple[str, ...]
) -> list[Sentence]:
    try:
        return tokenize(model.tokenizer, language, texts, _longest(model, config), model.config.add_bos)
    except ValueError as error:
        raise ConfigError(f"{model.label}: {error}") from error


def _longest(model: StudiedModel, config: CorpusConfig) -> int:
    context = getattr(model.hf_config.get_text_config(), "max_position_embeddings", None)
    return min(config.max_tokens, context) if context else config.max_tokens


def _record(ledger: Ledger, sample: CorpusSample, sentences: Sentences, longest: int) -> None:
    detection, heldout = sentences.detection[sample.language], sentences.heldout[sample.language]
    n_cut = sum(len(s.token_ids) == longest for s in (*detection, *heldout))
    dropped = {**sample.dropped, f"cut at {longest} tokens (kept)": n_cut}
    row = {
        "model": ledger.model,
        "language": sample.language,
        "source": sample.source,
        "revision": sample.revision,
        "sha": sample.sha,
        "n_read": sample.n_read,
        "n_detection": len(detection),
        "n_heldout": len(heldout),
        "n_tokens_detection": sum(s.n_scored for s in detection),
        "n_tokens_heldout": sum(len(s.token_ids) - 1 for s in heldout),
        "dropped_json": json.dumps(dropped, sort_keys=True, ensure_ascii=False),
    }
    unit = unit_key(stage="corpus", **row)
    if not ledger.done("corpora", unit):
        ledger.put("corpora", unit, [row])

"""Stage 1: sample sentences of every language, turn them into tokens, and store what was read and dropped."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa

from polyneuron.eval.store.store import Store
from polyneuron.eval.store.units import unit_key
from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.neuron_core.corpora.presets import source_of
from polyneuron.neuron_core.corpora.sampling import CorpusSample, sample_corpus
from polyneuron.neuron_core.passes.batches import Sentence, tokenize
from polyneuron.pipelines.run.subject import Subject


def prepare_corpora(subject: Subject, store: Store, run_id: str) -> list[str]:
    """Reads the sentences, writes the table corpora, returns its units. Raises as `read_sentences`."""
    return [_record(subject, store, run_id, sample) for sample in read_sentences(subject, store)]


def read_sentences(subject: Subject, store: Store) -> list[CorpusSample]:
    """Fills `subject.detection` and `subject.heldout`; writes nothing.

    Raises:
        CorpusError: a source is missing or unreadable, or a language has too few sentences. ConfigError: BOS is
            asked of a tokenizer that has none.
    """
    samples = []
    for language in subject.config.languages:
        sample = _sample(subject, store, language)
        subject.detection[language] = _tokens(subject, language, sample.detection)
        subject.heldout[language] = _tokens(subject, language, sample.heldout)
        samples.append(sample)
    return samples


def _sample(subject: Subject, store: Store, language: str) -> CorpusSample:
    """The sentences of one language; a study that goes on keeps the revision it began with."""
    config, corpus = subject.config, subject.config.corpus
    source = source_of(corpus.sources.get(language, corpus.source))
    if source.kind != "embedded":
        source = replace(
            source,
            text_column=corpus.text_column if corpus.text_column != "text" else source.text_column,
            revision=corpus.revision
            or source.revision
            or _stored_revision(store, subject.name, language, source.for_language(language).describe()),
        )

    def token_ids(text: str) -> list[int]:
        ids: list[int] = subject.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    return sample_corpus(
        source,
        language,
        n_detection=corpus.n_detection,
        n_heldout=corpus.n_heldout,
        seed=config.seed,
        tokenizer=token_ids,
        min_tokens=corpus.min_tokens,
        max_documents=corpus.max_documents,
    )


def _stored_revision(store: Store, model: str, language: str, source: str) -> str | None:
    filters = [("model", "=", model), ("language", "=", language), ("source", "=", source)]
    revisions: list[str | None] = store.read("corpora", filters, ["revision"])["revision"].to_pylist()
    return revisions[-1] if revisions else None


def _tokens(subject: Subject, language: str, texts: tuple[str, ...]) -> list[Sentence]:
    try:
        return tokenize(subject.tokenizer, language, texts, _longest(subject), subject.model.add_bos)
    except ValueError as error:
        raise ConfigError(f"{subject.name}: {error}") from error


def _longest(subject: Subject) -> int:
    context = getattr(subject.hf_config.get_text_config(), "max_position_embeddings", None)
    wanted = subject.config.corpus.max_tokens
    return min(wanted, context) if context else wanted


def _record(subject: Subject, store: Store, run_id: str, sample: CorpusSample) -> str:
    detection, heldout = subject.detection[sample.language], subject.heldout[sample.language]
    longest = _longest(subject)
    n_cut = sum(len(s.token_ids) == longest for s in (*detection, *heldout))
    dropped = {**sample.dropped, f"cut at {longest} tokens (kept)": n_cut}
    row = {
        "model": subject.name,
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
    if not store.has("corpora", unit):
        store.write("corpora", pa.Table.from_pylist([row]), unit, {"model": subject.name}, run_id=run_id)
    return unit

"""Stage 1: sample sentences of every language, turn them into tokens, and store what was read and dropped."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa

from eval.store import Store
from eval.units import unit_key
from neuron_core.batches import Sentence, tokenize
from neuron_core.corpora.presets import source_of
from neuron_core.corpora.sampling import CorpusSample, sample_corpus
from pipelines.config import StudyConfig
from pipelines.subject import Subject


def prepare_corpora(subject: Subject, store: Store, run_id: str) -> list[str]:
    """Fills `subject.detection` and `subject.heldout`; writes the table corpora and returns its units.

    Raises:
        CorpusError: a source is missing or unreadable, or a language has too few sentences.
    """
    config, units = subject.config, list[str]()
    for language in config.languages:
        sample = _sample(subject, config, language)
        subject.detection[language] = _tokens(subject, language, sample.detection)
        subject.heldout[language] = _tokens(subject, language, sample.heldout)
        units.append(_record(subject, store, run_id, sample))
    return units


def _sample(subject: Subject, config: StudyConfig, language: str) -> CorpusSample:
    corpus = config.corpus
    source = source_of(corpus.sources.get(language, corpus.source))
    if source.kind != "embedded":
        source = replace(
            source,
            text_column=corpus.text_column if corpus.text_column != "text" else source.text_column,
            revision=corpus.revision or source.revision,
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


def _tokens(subject: Subject, language: str, texts: tuple[str, ...]) -> list[Sentence]:
    return tokenize(subject.tokenizer, language, texts, _longest(subject), subject.model.add_bos)


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

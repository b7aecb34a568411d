"""Stage corpora: sample sentences of every language, turn them into tokens, and store what was read and dropped."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import xxhash

from polyneuron.eval.store.units import unit_key
from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.neuron_core.corpora.contents import check_contents
from polyneuron.neuron_core.corpora.presets import source_of
from polyneuron.neuron_core.corpora.sampling import CorpusSample, sample_corpus
from polyneuron.neuron_core.corpora.sources import CorpusSource
from polyneuron.neuron_core.passes.batches import Sentence, tokenize
from polyneuron.neuron_core.passes.lengths import unequal_reading
from polyneuron.neuron_core.passes.windows import equal_windows
from polyneuron.neuron_core.training.data.documents import Mixture, mixture_of
from polyneuron.pipelines.config.corpus import CorpusConfig, MixturePart, ReadingConfig, SourceConfig
from polyneuron.pipelines.config.training import TrainingConfig
from polyneuron.pipelines.run.known_tokenizer import KnownTokenizer
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.progress import say
from polyneuron.pipelines.run.studied_model import StudiedModel


@dataclass(frozen=True)
class Sentences:
    """What one model reads, by language in the order of the configuration."""

    detection: Mapping[str, list[Sentence]]
    """Windows of equal length, or sentences, in which neurons are looked for."""
    heldout: Mapping[str, list[Sentence]]
    """Other sentences, on which perplexity is measured."""
    texts: Mapping[str, tuple[str, ...]]
    """All that was drawn for both, as text."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the study."""
        return tuple(self.detection)

    @property
    def all_heldout(self) -> list[Sentence]:
        """The held-out sentences of all languages."""
        return [sentence for sentences in self.heldout.values() for sentence in sentences]


def sentences_hash(sentences: Iterable[Sentence]) -> str:
    """Hash of token ids and of what is left unscored, in order, as part of a unit's key."""
    digest = xxhash.xxh3_128()
    for sentence in sentences:
        digest.update(
            repr((sentence.language, sentence.index, sentence.token_ids, sentence.n_unscored)).encode()
        )
    return digest.hexdigest()


def prepare_corpora(
    ledger: Ledger, model: StudiedModel, config: CorpusConfig, languages: Sequence[str], seed: int
) -> Sentences:
    """Reads the sentences of all languages and writes the table corpora.

    Raises:
        CorpusError: a source is missing or unreadable, or a language has too few sentences. ConfigError: BOS is
            asked of a tokenizer that has none.
    """
    sentences, samples = read_sentences(ledger, model, config, languages, seed)
    doubts = check_contents(samples)
    for _, doubt in doubts:
        say(f"Warning: {doubt}")
    longest = _longest(model, config)
    rows: dict[str, dict[str, Any]] = {}
    for sample in samples:
        detection, heldout = sentences.detection[sample.language], sentences.heldout[sample.language]
        cuttable = heldout if config.detect_in == "windows" else [*detection, *heldout]
        own_doubts = [doubt for code, doubt in doubts if code == sample.language]
        row = {
            "model": ledger.model,
            "weights": model.fingerprint,
            "language": sample.language,
            "source": sample.source,
            "revision": sample.revision,
            "sha": sample.sha,
            "detect_in": config.detect_in,
            "n_read": sample.n_read,
            "n_detection": len(detection),
            "n_heldout": len(heldout),
            "n_tokens_detection": sum(s.n_scored for s in detection),
            "n_tokens_heldout": sum(len(s.token_ids) - 1 for s in heldout),
            "n_cut": sum(len(s.token_ids) == longest for s in cuttable),
            "dropped_json": json.dumps(sample.dropped, sort_keys=True, ensure_ascii=False),
            "doubts_json": json.dumps(own_doubts, ensure_ascii=False),
        }
        rows[unit_key(stage="corpus", **row)] = row
    say(f"  detection reads {_reading(sentences, config)}")
    if unlike := unequal_reading(sentences.detection):
        say(
            f"Warning: in detection, {unlike}. Leave corpus.detect_in at windows, which are alike in every language"
        )
    missing = ledger.missing("corpora", rows)
    for unit, row in rows.items():
        if unit in missing:
            ledger.put("corpora", unit, [row])
    return sentences


def _reading(sentences: Sentences, config: CorpusConfig) -> str:
    """How much detection reads of every language."""
    counts = [len(read) for read in sentences.detection.values()]
    tokens = [s.n_scored for read in sentences.detection.values() for s in read]
    said = f"{_range(counts)} {config.detect_in} of {_range(tokens)} tokens in each language"
    fewer = config.detect_in == "windows" and max(counts) < config.n_detection
    whose = f"corpus.n_detection={config.n_detection} sentences fill in the language where they are shortest"
    return f"{said}, as many as {whose}" if fewer else said


def _range(numbers: Sequence[int]) -> str:
    least, most = min(numbers), max(numbers)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def read_sentences(
    ledger: Ledger, model: StudiedModel, config: CorpusConfig, languages: Sequence[str], seed: int
) -> tuple[Sentences, list[CorpusSample]]:
    """The sentences as tokens, and the samples that they come from; writes nothing, and raises as `prepare_corpora`."""
    about = {"corpus": config.model_dump(mode="json"), "languages": list(languages), "seed": seed}
    with model.known_tokenizer(**about, add_bos=model.config.add_bos) as tokenizer:
        return _read(ledger, model, tokenizer, config, languages, seed=seed)


def _read(
    ledger: Ledger,
    model: StudiedModel,
    tokenizer: KnownTokenizer,
    config: CorpusConfig,
    languages: Sequence[str],
    *,
    seed: int,
) -> tuple[Sentences, list[CorpusSample]]:
    longest = _longest(model, config)

    def tokens(language: str, texts: Sequence[str], longest: int = longest) -> list[Sentence]:
        try:
            return tokenize(tokenizer, language, texts, longest, model.config.add_bos)
        except ValueError as error:
            raise ConfigError(f"{model.label}: {error}") from error

    samples, revisions = [], _revisions(ledger)
    for language in languages:
        others = [code for code in languages if code != language]
        source = source_for(config, language)
        if source.kind != "embedded" and not source.revision:
            described = source.for_language(language).describe()
            source = replace(source, revision=revisions.get((language, described)))
        samples.append(_sample(source, tokenizer, config, language, others=others, seed=seed))
    heldout = {sample.language: tokens(sample.language, sample.heldout) for sample in samples}
    if config.detect_in == "windows":
        enough = longest * config.n_detection  # of one sentence: all windows could be cut out of it
        whole = {sample.language: tokens(sample.language, sample.detection, enough) for sample in samples}
        detection = equal_windows(tokenizer, whole, longest, config.n_detection)
    else:
        detection = {sample.language: tokens(sample.language, sample.detection) for sample in samples}
    texts = {sample.language: (*sample.detection, *sample.heldout) for sample in samples}
    return Sentences(detection, heldout, texts), samples


def source_for(config: CorpusConfig, language: str) -> CorpusSource:
    """The source of one language: what `corpus.sources` says of it, then `corpus`, then the preset.

    Raises:
        CorpusError: no such preset, path or dataset.
    """
    own = config.sources.get(language, SourceConfig())
    return _read_as(source_of(own.source or config.source), config, own)


def mixture_for(config: TrainingConfig) -> Mixture:
    """The corpora that documents for training come from, with their shares.

    Raises:
        CorpusError: no such preset, path or dataset, or no corpus at all.
    """
    if config.mixture == {"paper": MixturePart()}:
        return mixture_of("paper")
    mixture = mixture_of({name: part.share for name, part in config.mixture.items()})
    parts = config.mixture.values()
    return [(_read_as(source, part), share) for (source, share), part in zip(mixture, parts, strict=True)]


def _read_as(source: CorpusSource, *said: ReadingConfig) -> CorpusSource:
    """A source with all that is said of how it is read; what is said later counts."""
    if source.kind == "embedded":
        return source
    ways = {field.name for field in fields(CorpusSource)}
    given = [part.model_dump(include=ways, exclude_none=True) for part in said]
    return replace(source, **{name: value for part in given for name, value in part.items()})


def _revisions(ledger: Ledger) -> dict[tuple[str, str], str | None]:
    """By language and source, the revision that was read last: a study that goes on keeps the one it began with."""
    stored = ledger.read("corpora", columns=["language", "source", "revision"]).to_pylist()
    return {(row["language"], row["source"]): row["revision"] for row in stored}


def _sample(
    source: CorpusSource,
    tokenizer: KnownTokenizer,
    config: CorpusConfig,
    language: str,
    *,
    others: list[str],
    seed: int,
) -> CorpusSample:
    """The sentences of one language."""
    return sample_corpus(
        source,
        language,
        n_detection=config.n_detection,
        n_heldout=config.n_heldout,
        seed=seed,
        tokenizer=lambda text: tokenizer(text, add_special_tokens=False)["input_ids"],
        min_tokens=config.min_tokens,
        max_documents=config.max_documents,
        others=others,
    )


def _longest(model: StudiedModel, config: CorpusConfig) -> int:
    context = model.facts.longest
    return min(config.max_tokens, context) if context else config.max_tokens

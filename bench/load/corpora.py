"""Corpora of five million lines of about a kilobyte: sampling from every format, identity, blocks for training."""

import gzip
import json
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.load.case import LoadCase
from polyneuron.neuron_core.corpora.sampling import sample_corpus
from polyneuron.neuron_core.corpora.sources import CorpusSource

LINES, CHARACTERS = 5_000_000, 1000
_ROWS_A_GROUP = 1 << 20
_WORDS = 20_000


def lines(n: int) -> Iterator[str]:
    """Different lines of `CHARACTERS` characters, drawn from a vocabulary of invented words."""
    chance = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyzäöüßé"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(_WORDS)]
    text = " ".join(chance.choices(words, k=_WORDS * 8))
    last = len(text) - CHARACTERS
    for number in range(n):
        start = chance.randrange(last)
        yield f"{number} {text[start : start + CHARACTERS - 10]}."


def write_txt(folder: Path, n: int) -> None:
    """A line of text a line."""
    with (folder / "en.txt").open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines(n))


def write_gz(folder: Path, n: int) -> None:
    """A line of text a line, compressed."""
    with gzip.open(folder / "en.txt.gz", "wt", encoding="utf-8", compresslevel=1) as file:
        file.writelines(f"{line}\n" for line in lines(n))


def write_jsonl(folder: Path, n: int) -> None:
    """An object a line."""
    with (folder / "en.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": line}, ensure_ascii=False) + "\n" for line in lines(n))


def write_json(folder: Path, n: int) -> None:
    """One list of objects."""
    with (folder / "en.json").open("w", encoding="utf-8") as file:
        file.write("[")
        for number, line in enumerate(lines(n)):
            file.write("," * bool(number) + json.dumps({"text": line}, ensure_ascii=False))
        file.write("]")


def write_parquet(folder: Path, n: int) -> None:
    """Row groups as large as writers make them by default, without a dictionary, as texts have none."""
    texts, schema = lines(n), pa.schema([("text", pa.string())])
    with pq.ParquetWriter(
        folder / "en.parquet", schema, compression="snappy", use_dictionary=False
    ) as writer:
        while part := list(islice(texts, _ROWS_A_GROUP)):
            writer.write_table(pa.table({"text": part}, schema), row_group_size=_ROWS_A_GROUP)


def sample(folder: Path, n: int, running_text: bool = False) -> None:
    """Draws sentences from the whole file."""
    source = CorpusSource(kind="files", path=str(folder), running_text=running_text)
    drawn = sample_corpus(
        source, "en", 1000, 500, seed=0, tokenizer=lambda text: text.split(), max_documents=n
    )
    assert drawn.n_read >= n


def sample_running(folder: Path, n: int) -> None:
    """Draws sentences from documents that are split."""
    sample(folder, n, running_text=True)


def identity(folder: Path, n: int) -> None:
    """Hashes every byte, as the caches of blocks do for their keys."""
    from polyneuron.neuron_core.training.data.block_cache import _file_digest

    _file_digest(str(next(folder.glob("en.*"))))


def blocks(folder: Path, n: int) -> None:
    """Tokenises and packs documents for training, with the study's sentences left out."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from polyneuron.neuron_core.training.data.block_cache import prepare_blocks

    words = sorted({word for line in lines(2000) for word in line.split()})
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<s>", "</s>", *words])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")
    exclude = [f"{line} is not there" for line in lines(1500)]
    source = CorpusSource(kind="files", path=str(folder))
    made = prepare_blocks(
        folder / "cache",
        [(source, 1.0)],
        "en",
        tokenizer,
        max_tokens=1024,
        n_documents="all",
        exclude=exclude,
    )
    assert made.summary["n_documents"] == n


CASES = {
    "text": LoadCase(
        unit="lines",
        full=LINES,
        smallest=2000,
        prepare=write_txt,
        steps={"sample": sample, "sample, split": sample_running, "identity": identity, "blocks": blocks},
    ),
    "gz": LoadCase(unit="lines", full=LINES, smallest=2000, prepare=write_gz, steps={"sample": sample}),
    "jsonl": LoadCase(unit="lines", full=LINES, smallest=2000, prepare=write_jsonl, steps={"sample": sample}),
    "parquet": LoadCase(
        unit="rows", full=LINES, smallest=2000, prepare=write_parquet, steps={"sample": sample}
    ),
    "json": LoadCase(
        unit="items", full=LINES // 8, smallest=2000, prepare=write_json, steps={"sample": sample}
    ),
}
"""`json` is one list in memory, whose limit is a billion characters."""

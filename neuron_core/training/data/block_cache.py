"""Token blocks for continued pretraining: documents are tokenised once into a cache, packed, and never see each other.

A document ends with EOS. One longer than a block is cut into pieces, each of which begins with BOS where the
document does, because a model that was trained with BOS is lost without it. Pieces are packed, first fit, into
blocks of exactly T tokens; a piece attends to itself alone and has positions of its own, so a block gives the
logits that its pieces would give one by one.
Shapes: T tokens of a block.
"""

import hashlib
import re
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xxhash

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.corpora.embedded_corpus import embedded
from polyneuron.neuron_core.corpora.sampling import collapsed
from polyneuron.neuron_core.corpora.sources import CorpusSource, files_of, pin
from polyneuron.neuron_core.training.data import documents, token_files
from polyneuron.neuron_core.training.data.blocks import SPLITS, PreparedBlocks

_DOCUMENTS_A_BATCH = 256
_OPEN_BLOCKS = 64
_A_COMMIT = re.compile(r"[0-9a-f]{40}")


def cut(ids: Sequence[int], max_tokens: int, n_bos: int = 0) -> list[Sequence[int]]:
    """Pieces of a document of at most `max_tokens`; the first `n_bos` tokens stand before every piece."""
    if len(ids) <= max_tokens:
        return [ids]
    step = max_tokens - n_bos
    head = ids[:n_bos]
    return [[*head, *ids[start : start + step]] for start in range(n_bos, len(ids), step)]


def pack(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Which pieces share a block: first fit in order, among the `_OPEN_BLOCKS` blocks with the most room."""
    blocks: list[list[int]] = []
    room: list[int] = []
    still_open: list[int] = []
    for piece, length in enumerate(lengths):
        block = next((block for block in still_open if room[block] >= length), None)
        if block is None:
            block = len(blocks)
            blocks.append([])
            room.append(max_tokens)
            still_open.append(block)
        blocks[block].append(piece)
        room[block] -= length
        if not room[block]:
            still_open.remove(block)
        elif len(still_open) > _OPEN_BLOCKS:
            still_open.remove(min(still_open, key=room.__getitem__))
    return blocks


def prepare_blocks(
    cache: str | Path,
    mixture: documents.Mixture,
    language: str,
    tokenizer: Any,
    *,
    max_tokens: int,
    n_documents: documents.Wanted = documents.PAPER_N_DOCUMENTS,
    seed: int = 0,
    exclude: Collection[str] = (),
    add_bos: bool | None = None,
    validation_share: float = 0.01,
    report: Callable[[float, float], None] | None = None,
) -> PreparedBlocks:
    """The blocks of one language, from the cache if they were made before, else made whole or not at all.

    The cache folder is named by everything that decides its content: sources with revisions (of files, every byte),
    tokenizer, seed and settings. Several processes may prepare the same blocks; one of the equal
    results stays. Prepare on one and open on the others to save the work. A hub source without a revision is read at its
    newest commit, which a later run may find moved: to go on, give each source the revision that the summary holds.

    Args:
        cache: the folder that holds the caches.
        mixture, n_documents, seed, exclude: as `documents`.
        tokenizer: a fast tokenizer with an EOS token. Special tokens spelt out in a text are read as text.
        max_tokens: T.
        add_bos: as `batches.tokenize`: None follows the tokenizer, True gives one BOS, False none.
        validation_share: the part of the documents, chosen by seed, that goes to the validation blocks: at least one if
            above 0.
        report: told the documents tokenised so far and those wanted (for "all", the former twice).

    Raises CorpusError as `documents`, and for too few documents to hold any back, ModelError for a tokenizer that is not fast, or
    lacks EOS or the BOS asked for, StoreError when the cache cannot be written or is damaged, and ValueError for `max_tokens`
    below 3, or a `validation_share` that is not in [0, 1).
    """
    if max_tokens < 3 or not 0 <= validation_share < 1:
        raise ValueError(
            f"max_tokens must be at least 3 and validation_share in [0, 1), not {max_tokens} and {validation_share}"
        )
    token_files.require_usable(tokenizer, add_bos)
    pinned = [(_pinned(source, language), weight) for source, weight in mixture]

    def write(folder: Path) -> Mapping[str, Any]:
        counts = documents.DocumentCounts()
        texts = documents.documents(pinned, language, n_documents, seed=seed, exclude=exclude, counts=counts)
        pieces = _Pieces(folder, tokenizer, max_tokens, add_bos, seed)
        for n_done in pieces.write(texts):
            if report is not None:
                report(n_done, n_done if n_documents == "all" else n_documents)
        held_back = pieces.held_back(validation_share, language)
        return {
            "language": language,
            "sources": [source.for_language(language).describe() for source, _ in pinned],
            "revisions": [source.revision for source, _ in pinned],
            "n_documents": len(pieces.keys),
            "n_validation_documents": len(held_back),
            **pieces.pack_splits(held_back),
            "n_read": counts.n_read,
            "kept": dict(sorted(counts.kept.items())),
            "dropped": dict(sorted(counts.dropped.items())),
        }

    deciding = {
        "sources": [[*_described(source, language), float(weight)] for source, weight in pinned],
        "n_documents": n_documents,
        "max_tokens": max_tokens,
        "seed": seed,
        "exclude": token_files.digest(sorted({collapsed(sentence) for sentence in exclude})),
        "add_bos": add_bos,
        "validation_share": validation_share,
    }
    return PreparedBlocks(token_files.cached_folder(cache, language, tokenizer, deciding, write))


class _Pieces:
    """Tokenises documents into a file, and remembers where each piece begins and whose it is."""

    def __init__(
        self, folder: Path, tokenizer: Any, max_tokens: int, add_bos: bool | None, seed: int
    ) -> None:
        self.folder, self.tokenizer, self.max_tokens, self.add_bos = folder, tokenizer, max_tokens, add_bos
        self.salt = hashlib.blake2b(str(seed).encode(), digest_size=16).digest()
        self.starts, self.documents = array("q", [0]), array("i")
        self.keys: list[bytes] = []

    def write(self, texts: Iterator[str]) -> Iterator[int]:
        """Writes tokens.npy; yields how many documents are in it, batch by batch."""
        with (self.folder / "tokens.npy").open("xb") as file:
            header_bytes = _write_header(file, 0)
            while batch := list(islice(texts, _DOCUMENTS_A_BATCH)):
                for text, ids in zip(batch, self._token_ids(batch), strict=True):
                    n_bos = int(ids[0] == self.tokenizer.bos_token_id and len(ids) > 1)
                    for piece in cut(ids, self.max_tokens, n_bos):
                        file.write(np.asarray(piece, np.int32).tobytes())
                        self.starts.append(self.starts[-1] + len(piece))
                        self.documents.append(len(self.keys))
                    self.keys.append(hashlib.blake2b(text.encode(), digest_size=16, key=self.salt).digest())
                yield len(self.keys)
            # The header leaves room for the first axis to grow, so the true length fits in its place.
            file.seek(0)
            assert _write_header(file, self.starts[-1]) == header_bytes

    def _token_ids(self, texts: list[str]) -> Iterator[list[int]]:
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        batch = self.tokenizer(
            texts,
            add_special_tokens=self.add_bos is None,
            split_special_tokens=True,
            return_attention_mask=False,
            verbose=False,
        )
        for row in batch["input_ids"]:
            ids = [bos, *row] if self.add_bos else row
            yield ids if ids and ids[-1] == eos and len(ids) > 1 else [*ids, eos]

    def held_back(self, share: float, language: str) -> set[int]:
        """The documents that training never sees: those with the smallest seeded hashes."""
        n = max(1, round(share * len(self.keys))) if share else 0
        if n >= len(self.keys):
            raise CorpusError(
                f"There are {len(self.keys)} documents in {language!r}, and {n} are held back for validation: none "
                "is left to train on. Ask for more documents, or hold back a smaller share."
            )
        return set(sorted(range(len(self.keys)), key=self.keys.__getitem__)[:n])

    def pack_splits(self, held_back: set[int]) -> dict[str, int]:
        """Packs both splits and writes the tables; gives the tokens of each for the summary."""
        starts, owners = np.array(self.starts, np.int64), np.array(self.documents, np.int32)
        lengths = np.diff(starts)
        is_held = np.isin(owners, list(held_back))
        token_files.save_array(self.folder, "piece_starts", starts)
        token_files.save_array(self.folder, "piece_documents", owners)
        for split, members in zip(SPLITS, (~is_held, is_held), strict=True):
            chosen = np.flatnonzero(members)
            blocks = pack(lengths[chosen].tolist(), self.max_tokens)
            order = [piece for block in blocks for piece in block]
            token_files.save_array(
                self.folder, f"{split}_starts", np.cumsum([0, *map(len, blocks)], dtype=np.int64)
            )
            token_files.save_array(self.folder, f"{split}_pieces", chosen[order].astype(np.int32))
        return {"n_tokens": int(lengths[~is_held].sum()), "n_validation_tokens": int(lengths[is_held].sum())}


def _write_header(file: BinaryIO, n: int) -> int:
    np.lib.format.write_array_header_1_0(file, {"descr": "<i4", "fortran_order": False, "shape": (n,)})
    return file.tell()


def _pinned(source: CorpusSource, language: str) -> CorpusSource:
    # A commit needs no question to the hub, so that a prepared run goes on without a network.
    return source if _A_COMMIT.fullmatch(source.revision or "") else pin(source, language)


def _described(source: CorpusSource, language: str) -> tuple[dict[str, Any], str]:
    """Everything that decides the texts of a source: its declaration, and what identifies its content."""
    filled = source.for_language(language)
    path = Path(str(filled.path)).expanduser()
    if filled.kind == "embedded":
        content: list[Any] = [documents.EMBEDDED_ROWS_A_DOCUMENT, embedded().get(language)]
    elif filled.kind == "hub":
        content = [_file_digest(str(file)) for file in sorted(path.rglob("*")) if file.is_file()]
    elif filled.revision:
        return asdict(filled), ""
    else:
        fs, names = files_of(source, language)
        local = "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)
        content = [_file_digest(name) if local else [name, fs.ukey(name), fs.size(name)] for name in names]
    return asdict(filled), token_files.digest(content)


def _file_digest(name: str) -> list[Any]:
    """A file's name, and a hash of every byte of it: a sentence that is changed in place has the size it had."""
    with open(name, "rb") as file:
        return [Path(name).name, hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()]  # type: ignore[arg-type]

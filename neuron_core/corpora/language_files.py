"""Which files of a corpus hold the texts of one language, told by their names.

A name is for a language when it is the whole code, or the code and then `.`, `-` or `_` and something that is not
another part of a language code: `zh.txt`, `zh_0001.parquet` and `zh-train.jsonl` are for zh, `zh-Hant.txt` and `zh-en.txt`
are not. Where names leave a choice, nothing is chosen: the error lists them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import fsspec
import langcodes

from polyneuron.neuron_core.common.errors import CorpusError

FORMATS = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt")
COMPRESSIONS = ("", ".gz", ".bz2", ".xz", ".zst")
SUFFIXES = tuple(
    form + compression
    for form in FORMATS
    for compression in COMPRESSIONS
    if form != ".parquet" or not compression
)
_MARKS_OF_A_PATTERN = "*?["
_COMPANION = re.compile(
    r"(?:licen[cs]e|readme|copying|copyright|notice|authors?|citation|contributing|changelog|changes|dataset_infos?|dataset_dict"
    r"|metadata|manifest|checksums?|(?:md5|sha1|sha256|sha512)sums?)(?:[._-].*)?|(?:state|stats|statistics|info|index|config"
    r"|requirements|vocab|tokenizer|tokenizer_config|special_tokens_map|added_tokens)",
    re.IGNORECASE,
)
"""Names, without their endings, of files that describe a corpus and are not part of it."""

_SHARD = re.compile(r"\d+|of|part|shard|chunk|file|split|batch", re.IGNORECASE)
_SEPARATORS = re.compile(r"[._-]+")
_MOST_LISTED = 8


def list_files(
    url: str,
    pattern: str | None,
    language: str,
    *,
    others: Sequence[str] = (),
    for_language: bool = False,
) -> tuple[fsspec.AbstractFileSystem, list[str]]:
    """The files to read for `language`, sorted by name.

    One file; the matches of a pattern; or, of a folder, the files that are named for the language
    (see above), all of them if `for_language` says that the folder was named for it. Hidden files,
    licences and the like are left out, except a file that is named itself.

    Args:
        others: the other codes in use; `zh-Hant.txt` is not a file of `zh`.

    Raises:
        CorpusError: nothing is there, no file is of a known format, or the names do not tell languages apart.
    """
    try:
        fs, path = fsspec.core.url_to_fs(url)
        if pattern is not None:
            path = f"{path.rstrip('/')}/{pattern}"
        matched = any(mark in path for mark in _MARKS_OF_A_PATTERN)
        if matched:
            names = [str(name) for name in fs.glob(path)]
        elif not fs.exists(path):
            raise CorpusError(
                f"There is no corpus at {path} (language {language!r}). Check corpus.source; "
                "{language} in it stands for the language code, and presets and datasets are named without "
                "a path."
            )
        elif not fs.isdir(path):
            return fs, _of_known_format([path], path)
        else:
            names = [str(name) for name in fs.find(path)]
    except CorpusError:
        raise
    except Exception as error:
        raise CorpusError(
            f"The corpus at {url} cannot be listed: {type(error).__name__}: {error}. Check the address, the "
            "credentials in the environment, and that the fsspec driver of this kind of URL is installed."
        ) from error
    folder = _literal_folder(path) if matched else path
    texts = _of_known_format(_texts_only(names, folder), path, names)
    if matched or for_language:
        return fs, _one_copy_of_each(texts, folder, language)
    return fs, _of_language(texts, folder, language, others)


def plain_name(name: str) -> str:
    """A file's name without the endings of its compression and format: `en` of `en.jsonl.gz`."""
    ending = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(ending)]


def _literal_folder(pattern: str) -> str:
    first_mark = min(pattern.find(mark) for mark in _MARKS_OF_A_PATTERN if mark in pattern)
    return pattern[:first_mark].rpartition("/")[0]


def _of_known_format(names: Sequence[str], where: str, all_names: Sequence[str] | None = None) -> list[str]:
    known = sorted(name for name in names if name.lower().endswith(SUFFIXES))
    if not known:
        seen = ", ".join(sorted(name.rsplit("/", 1)[-1] for name in all_names or names)[:5]) or "nothing"
        raise CorpusError(
            f"No corpus file at {where}: found {seen}. Readable are files that end in {', '.join(SUFFIXES)}; hidden files, "
            "licences and readme files are no texts."
        )
    return known


def form_of(path: str) -> str:
    """The format that a file's name says, of `FORMATS`, whatever its compression."""
    ending = next(suffix for suffix in SUFFIXES if path.lower().endswith(suffix))
    return next(form for form in FORMATS if ending.startswith(form))


def _texts_only(paths: Sequence[str], folder: str) -> list[str]:
    """`paths` below `folder` without hidden files and folders, and without licences, readme files and descriptions."""
    return [path for path in paths if not _is_companion(_below(path, folder))]


def _of_language(paths: Sequence[str], folder: str, language: str, others: Sequence[str]) -> list[str]:
    """The files of `paths` that are named for `language`, by the first folder below `folder` or by their own name.

    `others`: further codes in use, which take the files that are named for them. If no name says a language, the folder's
    own may.

    Raises:
        CorpusError: no file is named for the language, or the names leave a choice; lists what is there.
    """
    by_kind: dict[tuple[str, bool], list[str]] = {}
    for path in paths:
        first, _, rest = _below(path, folder).partition("/")
        kind = _kind_of(first if rest else plain_name(first), language, others)
        if kind is not None:
            by_kind.setdefault((kind, bool(rest)), []).append(path)
    choices = [found for (kind, _), found in by_kind.items() if not kind] or list(by_kind.values())
    if len(choices) > 1:
        raise CorpusError(
            f"{folder} leaves a choice for the language {language!r}: "
            f"{_listed([path for found in choices for path in found[:2]], folder)}. Name one with "
            f"corpus.sources.{language}, as a file or a pattern such as {folder}/{language}*.txt."
        )
    files = choices[0] if choices else []
    if not files and _is_folder_for(folder, paths, language, others):
        files = list(paths)
    if not files:
        raise CorpusError(
            f"No file in {folder} is named for the language {language!r}; it holds {_listed(paths, folder)}. Name files "
            f"{language}.txt (or .jsonl, .parquet), use a folder {language}/, write {{language}} in the path, or, where "
            f"corpus.sources names this folder for {language!r} alone, write {folder}/*.txt."
        )
    return _one_copy_of_each(files, folder, language)


def _one_copy_of_each(paths: Sequence[str], folder: str, language: str) -> list[str]:
    """`paths`, if no two differ by their format or compression alone.

    Raises:
        CorpusError: two do; the texts would be read twice.
    """
    copies: dict[str, list[str]] = {}
    for path in paths:
        below = PurePosixPath(_below(path, folder))
        copies.setdefault(str(below.with_name(plain_name(below.name))), []).append(path)
    if twice := next((found for found in copies.values() if len(found) > 1), None):
        raise CorpusError(
            f"{folder} holds the same file in several formats for {language!r}: {_listed(twice, folder)}. Keep one, or name "
            f"it with corpus.sources.{language}."
        )
    return list(paths)


def _below(path: str, folder: str) -> str:
    return path.removeprefix(folder.rstrip("/")).lstrip("/")


def _is_companion(below: str) -> bool:
    *folders, name = below.split("/")
    if any(part.startswith((".", "__")) for part in (*folders, name)):
        return True
    return _COMPANION.fullmatch(name.partition(".")[0]) is not None


def _kind_of(label: str, language: str, others: Sequence[str]) -> str | None:
    """What a name for `language` says besides the code and numbers of parts; None if it is not for the language."""
    rest = _after(label, language)
    if rest is None or any(
        len(other) > len(language) and _after(label, other) is not None
        for other in others
        if _after(other, language) is not None
    ):
        return None
    parts = [part for part in _SEPARATORS.split(rest) if part]
    if parts and _extends(language, parts[0], others):
        return None
    return "-".join(part for part in parts if not _SHARD.fullmatch(part))


def _after(label: str, language: str) -> str | None:
    """What follows the whole code at the start of a name; None where the name does not start with it."""
    plain, code = (text.replace("-", "_").lower() for text in (label, language))
    follows = label[len(code) :]
    return follows if plain.startswith(code) and (not follows or follows[0] in "._-") else None


def _extends(language: str, part: str, others: Sequence[str]) -> bool:
    """Whether `part` makes another code of `language` (script, region), or is a second language."""
    if part.lower() in {other.lower() for other in others if other != language}:
        return True
    if len(part) == 2 and part.isalpha():
        return True
    if part.isdigit() or not part.isalnum():
        return False
    try:
        longer = langcodes.Language.get(f"{language.replace('_', '-')}-{part}", normalize=False)
        return bool(longer.script or longer.territory) and langcodes.tag_is_valid(longer.to_tag())
    except langcodes.LanguageTagError:
        return False


def _is_folder_for(folder: str, paths: Sequence[str], language: str, others: Sequence[str]) -> bool:
    """Whether the folder's own name says the language and no other, and no name in it says another."""
    name = folder.rstrip("/").rsplit("/", 1)[-1]
    parts = [part for part in _SEPARATORS.split(name) if part]
    whole = [part for part in _SEPARATORS.split(language) if part]
    at = next((i for i in range(len(parts)) if parts[i : i + len(whole)] == whole), None)
    if at is None:
        return False
    around = [*parts[:at], *parts[at + len(whole) :]]
    if any(_extends(language, part, others) for part in around):
        return False
    labels = (_below(path, folder).partition("/") for path in paths)
    names = [first if rest else plain_name(first) for first, _, rest in labels]
    return not any(_kind_of(label, other, ()) is not None for label in names for other in others)


def _listed(paths: Sequence[str], folder: str) -> str:
    names = sorted(_below(path, folder) for path in paths)
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more

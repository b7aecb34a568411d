"""Splits running text into sentences by the marks of its script. No model, nothing to install."""

import re
from collections.abc import Iterator

UNSPACED = ("th", "lo")
"""Languages that write neither spaces between words nor a mark at the end of a sentence."""

MIN_UNSPACED_CHARACTERS = 25
"""Shorter Thai and Lao phrases are joined with the next: their spaces part clauses as well as sentences."""

_CLOSERS = r"\"'”’»›)\]）】」』》〉"
_END = re.compile(
    rf"(?P<spaced>[.!?…]+(?:\s?»|[{_CLOSERS}])*)(?=\s)"
    rf"|[。！？｡।॥؟۔።။។։]+[{_CLOSERS}]*"
)
_FIRST_LETTER = re.compile(r"[\s\"'“‘«„(¿¡-]*(?P<letter>\S)")
_LAST_WORD = re.compile(r"[^\s(\"'“‘«„]*$")
_LONGEST_WORD = 32
"""Characters looked at before a full stop; every abbreviation is shorter."""
_ABBREVIATIONS = re.compile(
    r"(mrs?|ms|dr|prof|st|sr|jr|vs|etc|no|vol|fig|pp|ca|cf|al|inc|ltd|dept|approx|e\.g|i\.e|[ap]\.m"
    r"|jan|feb|aug|sept|oct|nov|dec|mm|mme|mlle|art|env|av|n\.k|bw|bi"
    r"|bzw|usw|nr|str|evtl|ggf|inkl|vgl|sog|abs|bd|hrsg|z\.b|d\.h|[uv]\.a)",
    re.IGNORECASE,
)
_NUMBER_DOT_IS_ORDINAL = ("de", "da", "no", "nb", "fi", "cs", "sk", "hu", "pl", "hr", "sl", "et", "lv")


def split_sentences(text: str, language: str) -> list[str]:
    """Sentences of `text` in order, stripped, none empty. A line break always ends a sentence.

    A full stop, question or exclamation mark ends one when a space follows, unless the word before is an
    abbreviation or an initial, or the next word starts in lower case. 。！？ and the marks of Devanagari,
    Arabic, Ethiopic, Burmese, Khmer and Armenian need no space. Thai and Lao have no such mark: they are
    split at spaces between their own letters, in pieces of at least `MIN_UNSPACED_CHARACTERS`. Of `language`, a code such
    as "zh-Hant", only the part before "-" or "_" counts.
    """
    code = re.split(r"[-_]", language.lower())[0]
    sentences: list[str] = []
    for line in text.splitlines():
        for piece in _at_marks(line, code):
            sentences.extend(_at_spaces(piece) if code in UNSPACED else (piece,))
    return sentences


def _at_marks(line: str, code: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(line):
        if end["spaced"] and not _ends_sentence(line, start, end, code):
            continue
        if piece := line[start : end.end()].strip():
            yield piece
        start = end.end()
    if piece := line[start:].strip():
        yield piece


def _ends_sentence(line: str, start: int, end: re.Match[str], code: str) -> bool:
    following = _FIRST_LETTER.match(line, end.end())
    if following and following["letter"].islower():
        return False
    if end["spaced"] != ".":
        return True
    found = _LAST_WORD.search(line, max(start, end.start() - _LONGEST_WORD), end.start())
    word = found.group() if found else ""
    is_initial = len(word) == 1 and word.isalpha() and word.isascii()
    is_ordinal = word.isdigit() and len(word) <= 2 and code in _NUMBER_DOT_IS_ORDINAL
    return not (is_initial or is_ordinal or _ABBREVIATIONS.fullmatch(word))


def _at_spaces(piece: str) -> Iterator[str]:
    # A space beside a Latin word or a number belongs to that word, not to the end of a clause.
    parts = re.split(r"(?<=[\u0e00-\u0eff])\s+(?=[\u0e00-\u0eff])", piece)
    whole, rest = "", sum(map(len, parts))
    for part in parts:
        whole = f"{whole} {part}" if whole else part
        rest -= len(part)
        if len(whole) >= MIN_UNSPACED_CHARACTERS and (rest == 0 or rest >= MIN_UNSPACED_CHARACTERS):
            yield whole
            whole = ""
    if whole:
        yield whole

"""How numbers, languages and lists are written for a reader.

Every function returns plain text; escaping is the template's work. ``None`` and NaN are a dash, never 0.
"""

import math
from collections.abc import Callable, Iterable, Sequence

DASH = "–"
_NAMES = (
    "af Afrikaans, am Amharic, ar Arabic, az Azerbaijani, be Belarusian, bg Bulgarian, bn Bengali, bo Tibetan, "
    "bs Bosnian, ca Catalan, cs Czech, cy Welsh, da Danish, de German, el Greek, en English, es Spanish, "
    "et Estonian, eu Basque, fa Persian, fi Finnish, fr French, ga Irish, gl Galician, gu Gujarati, ha Hausa, "
    "he Hebrew, hi Hindi, hr Croatian, hu Hungarian, hy Armenian, id Indonesian, ig Igbo, is Icelandic, it Italian, "
    "ja Japanese, jv Javanese, ka Georgian, kk Kazakh, km Khmer, kn Kannada, ko Korean, ky Kyrgyz, la Latin, lo Lao, "
    "lt Lithuanian, lv Latvian, mg Malagasy, mk Macedonian, ml Malayalam, mn Mongolian, mr Marathi, ms Malay, "
    "mt Maltese, my Burmese, nb Norwegian, ne Nepali, nl Dutch, no Norwegian, ny Chichewa, om Oromo, or Odia, "
    "pa Punjabi, pl Polish, ps Pashto, pt Portuguese, qu Quechua, ro Romanian, ru Russian, rw Kinyarwanda, "
    "sd Sindhi, si Sinhala, sk Slovak, sl Slovenian, sn Shona, so Somali, sq Albanian, sr Serbian, st Sotho, "
    "su Sundanese, sv Swedish, sw Swahili, ta Tamil, te Telugu, tg Tajik, th Thai, tl Tagalog, tr Turkish, "
    "ug Uyghur, uk Ukrainian, ur Urdu, uz Uzbek, vi Vietnamese, wo Wolof, xh Xhosa, yi Yiddish, yo Yoruba, "
    "zh Chinese, zu Zulu"
)
LANGUAGE_NAMES: dict[str, str] = dict(pair.split() for pair in _NAMES.split(", "))  # type: ignore[misc]
GROUP_NAMES = {
    "q": "attention queries",
    "k": "attention keys",
    "v": "attention values",
    "ffn": "feed-forward features",
    "o": "attention outputs",
}
_UNFINISHED = {
    "interrupted": "was interrupted",
    "failed": "failed",
    "running": "is still at work, or was killed",
}
"""What became of a run that is not at its end, by its status in the table runs."""
_NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def missing(value: float | None) -> bool:
    """Whether there is no number."""
    return value is None or math.isnan(value)


def language_name(code: str) -> str:
    """English name of a language code; the code itself when it is not one we know."""
    return LANGUAGE_NAMES.get(code, code)


def languages(codes: Iterable[str]) -> str:
    """Their names as `listing` writes them."""
    return listing([language_name(code) for code in codes])


def all_languages(codes: Sequence[str]) -> str:
    """All of them: ``Swahili``, ``both languages``, ``all six languages``."""
    if len(codes) == 1:
        return language_name(codes[0])
    return "both languages" if len(codes) == 2 else f"all {small_count(len(codes))} languages"


def count(value: float | None) -> str:
    """A count with separators: ``12345`` -> ``12,345``."""
    return DASH if value is None or math.isnan(value) else f"{round(value):,}"


def percent(fraction: float | None, digits: int = 2) -> str:
    """A fraction of one as a percentage with significant digits: ``0.00312`` -> ``0.31%``."""
    if fraction is None or math.isnan(fraction):
        return DASH
    value = 100 * fraction
    if value == 0:
        return "0%"
    if value < 0.001:
        return "<0.001%"
    return f"{value:.{_decimals(value, digits)}f}%"


def number(value: float | None, digits: int = 3, tidy: bool = False) -> str:
    """Significant digits, thousands separators, powers of ten from a million. ``tidy``: 10, not 10.0."""
    if value is None or math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    magnitude = abs(value)
    if magnitude and (magnitude >= 1e6 or magnitude < 1e-3):
        mantissa, exponent = f"{value:.{max(digits - 2, 0)}e}".split("e")
        if tidy and float(mantissa) == 1:
            return f"10{_superscript(int(exponent))}"
        return f"{mantissa}×10{_superscript(int(exponent))}".replace("-", "−")
    text = f"{value:,.{_decimals(magnitude, digits)}f}"
    return (_trimmed(text) if tidy else text).replace("-", "−")


def tidy(value: float) -> str:
    """The value of a tick: `number` without zeros at its end."""
    return number(value, tidy=True)


def told_apart(values: Sequence[float]) -> list[str]:
    """Values of ticks with three significant digits, or with more where two would read the same."""
    for digits in range(3, 12):
        words = [number(value, digits, tidy=True) for value in values]
        if len({*words}) == len({*values}):
            break
    return words


def times(ratio: float | None, tidy: bool = False) -> str:
    """A multiplier, short enough for a table cell on a phone: ``×1.04``, ``×350``, ``×24k``, ``×1.2M``."""
    if ratio is None or math.isnan(ratio):
        return DASH
    if math.isinf(ratio):
        return "×∞"
    for limit, unit, scale in ((1e9, "G", 1e9), (1e6, "M", 1e6), (1e4, "k", 1e3)):
        if limit <= ratio < 1e3 * scale:
            return f"×{ratio / scale:.{_decimals(ratio / scale, 2)}f}{unit}"
    if ratio >= 1e12:
        return f"×10{_superscript(math.floor(math.log10(ratio)))}"
    if ratio >= 1e3:
        return f"×{ratio:,.0f}"
    text = f"{ratio:.{_decimals(ratio, 3) if ratio >= 10 else 2 if ratio >= 0.1 else 3}f}"
    return f"×{_trimmed(text) if tidy else text}"


def fine_times(ratio: float) -> str:
    """A multiplier near one with a digit more: ``×0.984``."""
    return f"×{ratio:.3f}" if 0.5 <= ratio < 2 else times(ratio)


def span(low: float | None, high: float | None, form: Callable[[float | None], str] = number) -> str:
    """``1.3 to 1.8``; a dash when either end is missing, one value when both ends read the same."""
    if missing(low) or missing(high):
        return DASH
    first, last = form(low), form(high)
    return first if first == last else f"{first} to {last}"


def small_count(value: int) -> str:
    """Counts up to ten in words, as prose wants them."""
    return _NUMBER_WORDS[value] if 0 <= value < len(_NUMBER_WORDS) else f"{value:,}"


def listing(names: Sequence[str]) -> str:
    """``a, b and c``."""
    if len(names) <= 1:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def plural(n: int, one: str, many: str | None = None) -> str:
    """``1 layer``, ``1,200 layers``."""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def sentence(words: str) -> str:
    """The words with a capital first letter and one full stop."""
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."


def unfinished(status: str) -> str:
    """That a study's newest run is not at its end, and what that means for what is shown; empty where it is."""
    if status not in _UNFINISHED:
        return ""
    return (
        f"The newest run {_UNFINISHED[status]}: what it had not finished is missing here, or is of an earlier run. The same "
        "command goes on where it stopped."
    )


def bytes_words(n_bytes: int) -> str:
    """``8589934592`` -> ``8.0 GiB``."""
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**28 else f"{n_bytes / 2**20:.1f} MiB"


def _decimals(value: float, digits: int) -> int:
    if value == 0:
        return 0
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _superscript(exponent: int) -> str:
    return str(exponent).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))

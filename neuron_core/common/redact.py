"""Takes credentials out of text before anybody reads or stores it: what a URL carries for its server is for that server alone."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import Any
from urllib.parse import quote

HIDDEN = "***"

_USER = re.compile(
    r"(?<![A-Za-z0-9+.-])(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s@'\"]*(?:@[^/?#\s@'\"]*)*@"
)
_PARAMETER = re.compile(r"(?P<name>[?&;#][^?=&;#\s'\"]{1,100}=)[^&;#\s'\"]+(?<!\\)")
_SECRET_PARAMETER = re.compile(
    r"token|secret|passw|signature|credential|auth|(?:api|access)[-_]?key|[?&;#](?:sig|key|pwd|code)=",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    r"""(?<![A-Za-z0-9])(?:
        hf_[A-Za-z0-9]{16,} | api_org_[A-Za-z0-9]{16,}            # Hugging Face
      | gh[opsur]_[A-Za-z0-9]{16,} | github_pat_\w{16,}           # GitHub
      | gl(?:pat|ptt|rt|dt|cbt|soat|ft)-[\w.-]{15,}\w              # GitLab
      | sk-(?:[a-z]+-)?\w{16,}[\w-]* | sk-(?=[\w-]*\d)[\w-]{16,}  # OpenAI, Anthropic and others
      | A(?:KI|SI)A[A-Z0-9]{16}(?![A-Za-z0-9])                    # Amazon
      | AIza[\w-]{30,} | ya29\.[\w-]{16,}                         # Google
      | xox[abeoprs]-[A-Za-z0-9-]{10,}                            # Slack
      | npm_[A-Za-z0-9]{30,} | pypi-[\w-]{40,}
      | eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*                           # JSON web tokens
    )
    | (?i:(?:(?<=authorization[:=]\s)|(?<=authorization[:=]))(?:basic|bearer|token|digest|negotiate)\s+[^\s"']+)
    | (?i:\bbearer\s+)(?:[A-Za-z0-9._~+/-]{16,}|(?=[A-Za-z._~+/-]*\d)[A-Za-z0-9._~+/-]{8,})=*
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----(?:.*?-----END\ [A-Z ]*PRIVATE\ KEY-----|.*)
    """,
    re.VERBOSE | re.DOTALL,
)
_PASSWORD = r"passw(?:or)?d|passwort|passphrase|pwd"
_SECRET = rf"{_PASSWORD}|secrets?|token|credentials?|authorization|api[_-]?key|(?:access|private|account|secret|auth)[_-]?key"
_ASSIGNED = re.compile(
    rf"""(?P<name>(?<![\w.])(?:--)?[\w.-]{{0,60}}?(?P<word>{_SECRET})(?:[_-](?:key|value|string))?
         (?:\\{{0,3}}["'])?(?:\s?(?:=>|:=|[:=])\s?|(?<=--)))
        (?P<value>(?P<escaped>\\+["']).*?(?P=escaped) | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | \\*["']?[^\s"'&]+(?<!\\))""",
    re.VERBOSE | re.IGNORECASE,
)
_OPTION = re.compile(rf"(?P<name>--[\w-]{{0,60}}?(?P<word>{_SECRET})\s)(?P<value>[^\s-]\S*)", re.IGNORECASE)
_NAME = re.compile(rf"(?P<before>[\w. -]*?)(?P<word>{_SECRET})(?:[_-](?:key|value|string))?", re.IGNORECASE)
_LINE = re.compile(
    rf"^(?P<name>[ \t-]*[\w.-]{{0,60}}?(?P<word>{_SECRET})[ \t]*:[ \t]+)(?P<value>[^\s\"'|>&*{{\[].*\S)[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_ORDINARY_TOKEN = re.compile(
    r"(?:^|[._-]|\b)(?:bos|eos|pad|unk|sep|cls|mask|image|special|next|last|first|per|each|stop"
    r"|unexpected|invalid|unknown)[_. -]?$",
    re.IGNORECASE,
)
"""What stands before "token" where it is a piece of text."""
_NO_SECRET = re.compile(
    r"\*{3}.*|none|null|true|false|required|missing|absent|unset|optional|\d{1,6}", re.IGNORECASE
)
_STRUCTURE = re.compile(r"[<{\[(].*", re.DOTALL)
_SHORTEST_TOKEN = 6
_SECRET_VARIABLE = re.compile(rf"{_SECRET}", re.IGNORECASE)
_NO_SECRET_VARIABLE = re.compile(
    r"_(?:PATH|FILE|DIR|URL|MODE|COMMAND|SOCK|ID|NAME|TTL|TIMEOUT)$|TOKENI[SZ]|TOKENS", re.IGNORECASE
)
_SECRET_URL = re.compile("webhook", re.IGNORECASE)
"""Whoever knows the URL of a webhook may post to it."""
_SHORTEST = 8
"""A shorter value of such a variable is no secret, and may well be an ordinary word."""


def redacted(text: str) -> str:
    """`text` with `***` for credentials: user and password in URLs, parameters and fragments such as `?token=`, tokens of
    well-known shapes, what is assigned to a name such as `password` or `api_key` in JSON, YAML, options or environments, and
    the values of this environment's own variables of such names."""
    for value in _values_of_environment():
        text = text.replace(value, HIDDEN)
    text = _USER.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _PARAMETER.sub(_without_parameter, text)
    text = _TOKEN.sub(HIDDEN, text)
    for pattern in (_LINE, _ASSIGNED, _OPTION):
        text = pattern.sub(_without_value, text)
    return text


def redacted_within(value: Any) -> Any:
    """`value`, made of dictionaries, lists and scalars, with every string `redacted`, and what a key names as secret hidden:
    for JSON and YAML before they are written, since in their text escapes hide where a credential ends."""
    if isinstance(value, dict):
        return {
            redacted_within(key): HIDDEN if _is_secret(key, inner) else redacted_within(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted_within(inner) for inner in value]
    return redacted(value) if isinstance(value, str) else value


def _is_secret(key: object, value: object) -> bool:
    """Whether a document's key says that its value is a credential."""
    if not isinstance(key, str) or not isinstance(value, str):
        return False
    named = _NAME.fullmatch(key.strip())
    return named is not None and _is_credential(value, named["word"], named["before"])


def _is_credential(value: str, word: str, before: str) -> bool:
    """Whether `value`, given to a name of a secret, is one: a token may be a piece of text as well, as in `eos_token: </s>`.

    before: what stands before `word` in the name, and a little of the text before that."""
    if not value or _NO_SECRET.fullmatch(value):
        return False
    if word.lower() != "token":
        return True
    is_text = _ORDINARY_TOKEN.search(before) or re.fullmatch("<.*>", value)
    return len(value) >= _SHORTEST_TOKEN and not is_text


def _values_of_environment() -> list[str]:
    """Secrets in the environment, the longest first, as they are and as URLs spell them."""
    values = {value.strip() for name, value in os.environ.items() if _names_a_secret(name)}
    long_enough = {value for value in values if len(value) >= _SHORTEST and not value.startswith("/")}
    return sorted(long_enough | {quote(value, safe="") for value in long_enough}, key=len, reverse=True)


@cache
def _names_a_secret(variable: str) -> bool:
    if _SECRET_URL.search(variable):
        return True
    return bool(_SECRET_VARIABLE.search(variable)) and not _NO_SECRET_VARIABLE.search(variable)


def _without_parameter(parameter: re.Match[str]) -> str:
    return parameter["name"] + HIDDEN if _SECRET_PARAMETER.search(parameter["name"]) else parameter[0]


def _without_value(assigned: re.Match[str]) -> str:
    """The name alone, where what follows it is a credential; its quotes and what closes a sentence stay."""
    value, start = assigned["value"], assigned.start("word")
    quotes = re.match(r"\\*[\"']?", value)
    opening = quotes[0] if quotes else ""
    bare = value.removeprefix(opening)
    closing = opening if opening and bare.endswith(opening) else re.search(r"[,;.)\]}]*$", bare)[0]  # type: ignore[index]
    bare = bare.removesuffix(closing)
    before = assigned.string[max(0, start - 40) : start]
    is_structure = not opening and _STRUCTURE.match(bare)
    if is_structure or not _is_credential(bare, assigned["word"], before):
        return assigned[0]
    return f"{assigned['name']}{opening}{HIDDEN}{closing}"

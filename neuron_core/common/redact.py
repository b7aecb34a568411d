"""Takes credentials out of text before anybody reads or stores it: what a URL carries for its server is for that server alone."""

import os
import re
from typing import Any

HIDDEN = "***"

_USER = re.compile(
    r"(?<![A-Za-z0-9+.-])(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s@'\"]*(?:@[^/?#\s@'\"]*)*@"
)
_PARAMETER = re.compile(r"(?P<name>[?&;][^?=&;\s'\"]{1,100}=)[^&;#\s'\"]+")
_SECRET_NAME = re.compile(
    r"token|secret|passw|signature|credential|auth|(?:api|access)[-_]?key|[?&;](?:sig|key)=", re.IGNORECASE
)
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{20,}\b|(?i:\bbearer\s+)[A-Za-z0-9._~+/-]{16,}=*")
_VARIABLES = (
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "RAY_AUTH_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
_SHORTEST = 8
"""A shorter value of such a variable is no secret, and may well be an ordinary word."""


def redacted(text: str) -> str:
    """`text` with `***` for user and password in URLs, for parameters such as `?token=`, for the hub's and bearer tokens,
    and for the values of the environment's own variables of secrets (`_VARIABLES`)."""
    for variable in _VARIABLES:
        value = os.environ.get(variable, "").strip()
        if len(value) >= _SHORTEST:
            text = text.replace(value, HIDDEN)
    text = _USER.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _PARAMETER.sub(lambda p: p["name"] + HIDDEN if _SECRET_NAME.search(p["name"]) else p[0], text)
    return _TOKEN.sub(HIDDEN, text)


def redacted_within(value: Any) -> Any:
    """`value`, made of dictionaries, lists and scalars, with every string `redacted`: for JSON and YAML before they are
    written, since in their text escapes hide where a credential ends."""
    if isinstance(value, dict):
        return {redacted_within(key): redacted_within(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redacted_within(inner) for inner in value]
    return redacted(value) if isinstance(value, str) else value

"""What a cell of the methods' tables holds, and where its number lies beside chance or beside random sets."""

from __future__ import annotations

from dataclasses import dataclass

ABOVE, WITHIN, BELOW = "above", "within", "below"


@dataclass(frozen=True)
class MethodCell:
    """``shade``: 0 to 6, by the number in ``text``; ``css``: the verdict; ``own``: the language whose neurons are off."""

    text: str
    mark: str = ""
    details: tuple[str, ...] = ()
    shade: int = 0
    css: str = ""
    own: bool = False

"""The kinds of neurons (paper A, section 2.1). Imports nothing heavy, so that `--help` stays instant."""

from collections.abc import Iterable

GROUPS: tuple[str, ...] = ("q", "k", "v", "ffn", "o")
DEFAULT_GROUPS: tuple[str, ...] = ("q", "k", "v", "ffn")
SCORE_GROUPS: tuple[str, ...] = ("q", "k")
"""Groups that act on the attention scores; only these are costly and may be pruned."""


def require_groups(groups: Iterable[str]) -> None:
    """Raises ValueError that names the groups which do not exist."""
    if unknown := set(groups) - set(GROUPS):
        raise ValueError(f"Unknown groups {sorted(unknown)}; there are {', '.join(GROUPS)}")

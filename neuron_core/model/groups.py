"""The kinds of neurons (paper A, section 2.1). Imports nothing heavy, so that `--help` stays instant."""

GROUPS: tuple[str, ...] = ("q", "k", "v", "ffn", "o")
DEFAULT_GROUPS: tuple[str, ...] = ("q", "k", "v", "ffn")
SCORE_GROUPS: tuple[str, ...] = ("q", "k")
"""Groups that act on the attention scores; only these are costly and may be pruned."""

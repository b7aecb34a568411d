"""Corpora: where sentences come from, how they are split, cleaned and sampled. Nothing here imports torch."""

"""Nightly benchmark runs: which night to compare with, what has become worse, and the summary of it."""

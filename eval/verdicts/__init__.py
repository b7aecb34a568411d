"""Paired tests and intervals on scores, and the verdicts they give."""

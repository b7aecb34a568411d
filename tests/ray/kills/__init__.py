"""Whole studies whose processes are killed one after the other."""

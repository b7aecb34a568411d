"""Benchmarks: which exist, where their items lie, and how an engine is put to them."""

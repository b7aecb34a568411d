"""The tensors that are trained: compact neurons and low-rank adapters."""

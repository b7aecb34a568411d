"""Exact layerwise impacts of neurons (paper A, appendix A) as pure functions on tensors."""

"""Which neurons are trained, with which recipe."""

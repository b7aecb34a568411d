"""Neuron sets: their algebra, their files, how two of them overlap and how much of it is chance."""

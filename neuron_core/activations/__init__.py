"""Statistics of feed-forward activations: probabilities, means and percentiles per language and neuron."""

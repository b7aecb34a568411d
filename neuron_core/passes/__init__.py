"""One pass over a corpus in layer-major order: micro-batches, hidden states that wait, and the loop."""

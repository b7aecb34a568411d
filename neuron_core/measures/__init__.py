"""What a set is worth: perplexity and the scores built on it (paper A, Eq. 4-6)."""

"""Documents and answers as blocks of tokens, and the order in which they are trained on."""

"""What the authors' own code and files do: their sets, scores and selection."""

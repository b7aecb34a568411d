"""What a supported model is, where its neurons lie, and how its weights are read."""

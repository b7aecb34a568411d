"""Training the neurons of a set and nothing else."""

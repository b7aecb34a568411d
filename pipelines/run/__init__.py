"""What every run has: its record, units of work, progress, and the model under study."""

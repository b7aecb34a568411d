"""Changes of a model that can be undone bit for bit: weight edits, interventions and exports."""

"""A stored study in a notebook: its sets and tables, and its model with a set switched off."""

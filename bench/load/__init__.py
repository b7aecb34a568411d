"""What large inputs cost: `python -m bench.load`."""

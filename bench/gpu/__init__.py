"""What one GPU does, asked in minutes: `python -m bench.gpu` needs torch, transformers and triton only (docs/benchmarks.md)."""

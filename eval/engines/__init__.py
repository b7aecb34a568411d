"""Inference engines that judge variants: vLLM (the default) and Hugging Face (the cross-check)."""

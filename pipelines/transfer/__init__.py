"""Paper B's study: fine-tuning for a task and judging it in other languages."""

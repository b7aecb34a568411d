"""The nightly run: judging, what it would take, and telling others how it ended."""

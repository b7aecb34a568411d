"""A team's tracker, which is shown what a study or a night came to; only the driver talks to it."""

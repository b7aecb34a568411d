"""Steps, schedules, validation, checkpoints and the loss over large vocabularies."""

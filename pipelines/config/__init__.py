"""The typed configuration of a study, a night and a transfer study, and how it is read."""

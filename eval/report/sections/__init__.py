"""The parts of a report's page: their tables, charts and the values that the templates say."""

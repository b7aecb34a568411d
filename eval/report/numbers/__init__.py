"""What a report shows, as numbers: read from the store, or worked out from what was read."""

"""A stored study's model answers a prompt as it is, changed, and changed at random neurons."""

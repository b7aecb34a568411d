"""Errors for people, redaction of credentials, safe names and atomic files."""

"""Tests of the commands that read a store."""

"""Capacity planning: what a stage needs of memory, traffic, arithmetic and time, as pure functions of plain numbers."""

"""Capacity planning: what a stage needs of memory, traffic, arithmetic and time. Pure functions of plain numbers, but for
`shape` (reads a config), `at_hand` (looks at machines) and `calibration` (runs a layer)."""

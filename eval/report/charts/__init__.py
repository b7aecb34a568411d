"""Figures as SVG, drawn on one frame."""

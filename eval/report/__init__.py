"""The study's report: one self-contained HTML file, made from the store alone."""

from polyneuron.eval.report.page import write_report

__all__ = ["write_report"]

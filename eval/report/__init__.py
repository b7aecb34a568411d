"""The study's report: one self-contained HTML file, made from the store alone."""

from eval.report.write import write_report

__all__ = ["write_report"]

"""The study's report: one self-contained HTML file, made from the store alone."""

from polyneuron.eval.report.numbers.study import read_report
from polyneuron.eval.report.page import write_pages, write_report

__all__ = ["read_report", "write_pages", "write_report"]

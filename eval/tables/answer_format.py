"""The formats of an answer to SQL. Imports nothing heavy."""

from enum import StrEnum


class AnswerFormat(StrEnum):
    """How an answer is written."""

    table = "table"
    line = "line"
    csv = "csv"
    json = "json"
    md = "md"
    parquet = "parquet"

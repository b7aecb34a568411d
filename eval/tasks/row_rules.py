"""What rows of a benchmark's dataset must hold to be used: lm-eval takes them as they come."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from polyneuron.neuron_core.common.errors import BenchmarkError
from polyneuron.neuron_core.corpora.sampling import collapsed

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RowRule:
    """What a dataset's rows must hold: columns that are not empty, and what else `fault` asks for, if anything."""

    columns: tuple[str, ...]
    fault: Callable[[Row], str | None] = lambda row: None

    def problem(self, row: Row) -> str | None:
        """Why a row cannot be used; None when it can."""
        empty = [column for column in self.columns if row[column] is None or not str(row[column]).strip()]
        return f"{', '.join(empty)} is empty" if empty else self.fault(row)

    def require_columns(self, names: Collection[str], where: str) -> None:
        """Raises BenchmarkError naming the columns that `where` lacks."""
        if missing := [column for column in self.columns if column not in names]:
            raise BenchmarkError(
                f"{where} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; it needs "
                f"{', '.join(self.columns)}"
            )

    def require_distinct(self, rows: Iterable[Row], options: Sequence[str], where: str) -> None:
        """Raises BenchmarkError naming the first row that stands there twice, or two of whose `options` say the same.

        For files that users write: published benchmarks hold such rows, and are judged as they were published.
        """
        number_of: dict[tuple[str, ...], int] = {}
        for number, row in enumerate(rows, 1):
            said = [collapsed(str(row[option])) for option in options]
            if equal := next((text for text in said if said.count(text) > 1), None):
                raise BenchmarkError(
                    f"{where}, row {number}: two options say {equal!r}. Mend or remove the row"
                )
            same = number_of.setdefault(tuple(collapsed(str(row[c])) for c in self.columns), number)
            if same != number:
                raise BenchmarkError(f"{where}, row {number}: the same as row {same}. Remove one of them")

    def require_usable(self, rows: Iterable[Row], where: str) -> None:
        """Raises BenchmarkError naming the first row that cannot be used."""
        for number, row in enumerate(rows, 1):
            if problem := self.problem(row):
                raise BenchmarkError(f"{where}, row {number}: {problem}. Mend or remove the row")


def _one_of(column: str, allowed: Collection[Any], words: str) -> Callable[[Row], str | None]:
    return lambda row: (
        None if row[column] in allowed else f"the {column.lower()} {row[column]!r} is not {words}"
    )


def _choice_number(row: Row) -> str | None:
    if len(row["choices"]) != 4:
        return f"{len(row['choices'])} choices instead of 4"
    return _one_of("answer", (0, 1, 2, 3), "0, 1, 2 or 3")(row)


def _answers(row: Row) -> str | None:
    return None if row["answers"]["text"] else "there is no answer"


def _span(row: Row) -> str | None:
    if problem := _answers(row):
        return problem
    answer, start = row["answers"]["text"][0], row["answers"]["answer_start"][0]
    stands = bool(answer.strip()) and row["context"][start : start + len(answer)] == answer
    return None if stands else f"the answer {answer!r} does not stand at character {start} of the context"


_LETTERS = ("A", "B", "C", "D"), "one of A, B, C, D"
ROW_RULES = {
    "juletxara/mgsm": RowRule(("question", "answer_number")),
    "openai/MMMLU": RowRule(
        ("Question", "A", "B", "C", "D", "Answer", "Subject"),
        _one_of("Answer", *_LETTERS),
    ),
    "cais/mmlu": RowRule(("question", "choices", "answer"), _choice_number),
    "CohereForAI/Global-MMLU": RowRule(
        ("question", "option_a", "option_b", "option_c", "option_d", "answer", "subject"),
        _one_of("answer", *_LETTERS),
    ),
    "li-lab/MMLU-ProX": RowRule(("question", "option_0", "option_1", "answer", "category")),
    "facebook/xnli": RowRule(("premise", "hypothesis", "label"), _one_of("label", (0, 1, 2), "0, 1 or 2")),
    "google/xquad": RowRule(("context", "question", "answers"), _answers),
    "rajpurkar/squad": RowRule(("context", "question", "answers"), _span),
}
"""By dataset."""

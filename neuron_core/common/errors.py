"""Errors a user can act on. Each message says what was wrong, where, and how to mend it; credentials are taken out of it."""

from collections.abc import Mapping

from polyneuron.neuron_core.common.redact import redacted

_MOST_LINES = 10
_LONGEST_LINE = 1000


class PolyneuronError(Exception):
    """Base of every error that is shown to a user as one message, without a traceback."""

    def __init__(self, message: str = "") -> None:
        super().__init__(redacted(message))

    @property
    def message(self) -> str:
        """The text shown to the user, `in_few_lines`."""
        return in_few_lines(str(self))


class ConfigError(PolyneuronError):
    """A configuration key or value that cannot be used."""


class ModelError(PolyneuronError):
    """A model that cannot be found, read or run."""


class UnsupportedArchitecture(ModelError):
    """A model whose anatomy is not declared in `polyneuron.neuron_core.model.families`."""


class CorpusError(PolyneuronError):
    """A corpus that is missing, empty, unreadable or too small."""


class SetError(PolyneuronError):
    """A neuron set that does not fit the model or the operation asked of it."""


class UnknownName(SetError, KeyError):
    """A name under which there is nothing; the message holds the names that there are."""

    __str__ = Exception.__str__  # KeyError would show the message in quotes


class StoreError(PolyneuronError):
    """A store that is locked, read-only, full, or written by a newer version."""


class ClusterError(PolyneuronError):
    """A worker, group or collective that failed and could not be restarted."""


class TrainingError(PolyneuronError):
    """A training that cannot go on: losses that are not finite, or checkpoints that cannot be used."""


class EngineError(PolyneuronError):
    """An inference engine that cannot start, or that lost its weights' agreement with the checkpoint."""


class BenchmarkError(PolyneuronError):
    """A benchmark whose task, data or settings cannot be used."""


class SharingError(PolyneuronError):
    """A repository of a hub that cannot be used, or that holds something else than its card says."""


class NotCertified(PolyneuronError):
    """A selection threshold below the floor to which pruned detection proved its result. `thresholds`: by language, group
    and the column of the summaries that holds the floor, what the floor may be at most; empty where no floor would do.
    `setting`: what decided, were the upper bounds impacts; None as before."""

    def __init__(
        self,
        message: str = "",
        thresholds: Mapping[tuple[str, str, str], float] | None = None,
        setting: float | None = None,
    ) -> None:
        super().__init__(message)
        self.thresholds, self.setting = dict(thresholds or {}), setting


def in_few_lines(text: str) -> str:
    """`text` as a message for a terminal: at most ten lines of at most a thousand characters, those that control a terminal
    spelt out."""
    lines = text.strip().splitlines() or [""]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES - 1 :] = [f"and {len(lines) - _MOST_LINES + 1} more lines"]
    return "\n".join(_one_line(line) for line in lines)


def _one_line(line: str) -> str:
    if len(line) > _LONGEST_LINE:
        line = f"{line[:_LONGEST_LINE]} …"
    return printable(line)


def printable(text: str) -> str:
    """`text` with what controls a terminal spelt out, but for tabs and ends of lines."""
    return "".join(char if char.isprintable() or char in "\t\n" else ascii(char)[1:-1] for char in text)

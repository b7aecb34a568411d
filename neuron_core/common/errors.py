"""Errors a user can act on. Each message says what was wrong, where, and how to mend it; credentials are taken out of it."""

from polyneuron.neuron_core.common.redact import redacted


class PolyneuronError(Exception):
    """Base of every error that is shown to a user as one message, without a traceback."""

    def __init__(self, message: str = "") -> None:
        super().__init__(redacted(message))

    @property
    def message(self) -> str:
        """The text shown to the user."""
        return str(self)


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


class NotCertified(PolyneuronError):
    """A selection threshold below the floor to which pruned detection proved its result."""

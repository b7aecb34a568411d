"""Starting the engine of a backend, whose libraries are imported only then."""

from polyneuron.eval.engines.settings import Engine, EngineSettings


def start_engine(settings: EngineSettings) -> Engine:
    """Starts the engine of a backend (seconds for a small model, minutes for a large one).

    Raises:
        EngineError: it cannot start; says what to change.
        ModelError: the model cannot be read.
    """
    if settings.backend == "hf":
        from polyneuron.eval.engines.hf_engine import HfEngine

        return HfEngine(settings)
    from polyneuron.eval.engines.vllm_engine import VllmEngine

    return VllmEngine(settings)

"""What a start would refuse before it computes anything: a store, a corpus, benchmark data or a model that cannot be used."""

import importlib.util
import os
from collections import deque
from pathlib import Path

from polyneuron.eval.store.store import Store
from polyneuron.eval.tasks.benchmark_data import BenchmarkData
from polyneuron.eval.tasks.benchmarks import BenchmarkTask
from polyneuron.eval.tasks.training_data import training_data
from polyneuron.neuron_core.common.errors import EngineError, ModelError, PolyneuronError, StoreError
from polyneuron.neuron_core.corpora.contents import check_contents
from polyneuron.neuron_core.training.data.documents import documents
from polyneuron.pipelines.config.evaluation import EvaluationConfig
from polyneuron.pipelines.config.study import ModelConfig, StudyConfig
from polyneuron.pipelines.config.training import TrainingConfig
from polyneuron.pipelines.config.transfer import TransferConfig
from polyneuron.pipelines.plan.units import config_of_model, is_at_hand, lies_here
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.studied_model import Parts, StudiedModel, model_path
from polyneuron.pipelines.stages.corpora import mixture_for, read_sentences
from polyneuron.pipelines.stages.evaluation import benchmark_tasks
from polyneuron.pipelines.stages.order import COMMANDS, stages_of
from polyneuron.pipelines.stages.training_job import require_local
from polyneuron.pipelines.tracking.tracker import tracker_of


def refusals(config: StudyConfig | TransferConfig, command: str) -> dict[str, PolyneuronError]:
    """The models that a start of `command` would refuse, by label, and why. Corpora, benchmark data and models that lie on
    this machine are read as the start reads them; those of a hub are not.

    Raises:
        PolyneuronError: what would be refused whatever the model.
    """
    store = Store(config.store)
    require_usable(store)
    if isinstance(config, TransferConfig):
        require_local(store.root)
        read_benchmarks(config.evaluation, config.languages)
        for task in config.tasks:
            if task.training.data != "hub":
                data = BenchmarkData(task.training.data, config.revisions)
                training_data(task.name, data, task.training.n_items, config.seed)
    else:
        tracker_of(config.tracking)
        stages = {stage.name for stage in stages_of(command, config)}
        if COMMANDS[command].reports:
            _ = config.report_path
        if "training" in stages:
            require_local(store.root)
            _read_documents(config.training)
        if "evaluation" in stages:
            read_benchmarks(config.evaluation, config.languages)
    refused = {}
    for model in config.models:
        try:
            _open(config, model, store)
        except PolyneuronError as error:
            refused[model.label] = error
    return refused


def require_usable(store: Store) -> None:
    """Raises StoreError for a store that cannot be read, or not be written."""
    store.check()
    if "://" in store.root:
        return
    place = Path(store.root)
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise StoreError(f"The store {store.root} cannot be made: {place} is no folder that can be written")


def _read_documents(training: TrainingConfig) -> None:
    """Raises CorpusError where a mixture on this machine has too few documents."""
    mixture, n_documents = mixture_for(training), training.n_documents
    if not all(lies_here(source) for source, _ in mixture):
        return
    for language in {language for group in training.groups for language in group}:
        found = documents(mixture, language, n_documents)
        next(found, None)
        if n_documents != "all":
            deque(found, maxlen=0)


def read_benchmarks(evaluation: EvaluationConfig, languages: tuple[str, ...]) -> None:
    """Raises BenchmarkError or EngineError where nothing could be judged."""
    if evaluation.engine.backend == "vllm" and importlib.util.find_spec("vllm") is None:
        raise EngineError("vLLM is not installed: install it, or set evaluation.engine.backend=hf")
    data = BenchmarkData(evaluation.data, evaluation.revisions)
    for task in benchmark_tasks(evaluation, languages):
        if isinstance(task, BenchmarkTask) and (evaluation.data != "hub" or task.user_file is not None):
            data.locate(task)


def _open(config: StudyConfig | TransferConfig, model: ModelConfig, store: Store) -> None:
    """Raises ModelError or CorpusError where the model or its sentences cannot be used."""
    from polyneuron.neuron_core.model.gguf import kept_folder

    path = Path(model_path(model)).expanduser()
    is_folder = path.is_dir() or (path.suffix == ".gguf" and kept_folder(path).exists())
    opened = StudiedModel.open(model) if is_folder else _with_tokenizer_alone(model)
    if is_at_hand(config.corpus, config.languages):
        ledger = Ledger(store, model.label)
        _, samples = read_sentences(ledger, opened, config.corpus, config.languages, config.seed)
        check_contents(samples)


def _with_tokenizer_alone(model: ModelConfig) -> StudiedModel:
    """The model of a GGUF file without dequantising it, which takes a start a minute or more, or a hub's without fetching its
    weights."""
    from polyneuron.neuron_core.model.gguf import gguf_tokenizer
    from polyneuron.neuron_core.model.opening import load_tokenizer

    source, hf_config = model_path(model), config_of_model(model)
    if source.endswith(".gguf"):
        path = Path(source).expanduser()
        try:
            tokenizer = gguf_tokenizer(path)
        except Exception as error:  # of whatever library reads that kind of tokenizer
            raise ModelError(f"The tokenizer of {model.label} cannot be loaded: {error}") from error
    else:
        tokenizer = load_tokenizer(source, hf_config, model.revision, model.trust_remote_code)
    return StudiedModel(
        config=model,
        source=source,
        parts=(parts := Parts.of(hf_config, tokenizer)),
        facts=parts.facts(),
        fingerprint="",
    )

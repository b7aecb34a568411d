"""lm-eval as a library: official task definitions and prompts, our data, one result per item.

Nothing of a task is changed but where its data lie, the number of examples and the longest answer.
"""

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from polyneuron.eval.tasks.benchmark_data import Located
from polyneuron.eval.tasks.benchmarks import BenchmarkTask
from polyneuron.eval.tasks.item import Item
from polyneuron.neuron_core.common.errors import BenchmarkError

FEWSHOT_SEED = 1234
"""lm-eval's own default."""


class Tasks:
    """The lm-eval tasks of one benchmark in one language, built once and run for every variant."""

    def __init__(self, task: BenchmarkTask, data: Located) -> None:
        """Raises BenchmarkError when lm-eval cannot build them from the data."""
        self.task = task
        manager = _manager(task.benchmark.folder)
        self.names = _names(manager, task, data)
        changed: dict[str, Any] = {"dataset_path": data.path, "dataset_kwargs": data.kwargs}
        if task.user_file is not None:
            changed |= {"dataset_name": data.config}
        members = [{"task": name, **changed, **_description(task, name)} for name in self.names]
        try:
            self._loaded: Any = manager.load(
                [{"group": f"{task.asked_for}-{task.language}", "task": members}]
            )
        except Exception as error:
            raise BenchmarkError(
                f"lm-eval cannot build {task.lm_eval_name} from {data.path}: {type(error).__name__}: {error}"
            ) from error
        self.tasks: dict[str, Any] = self._loaded["tasks"]
        """lm-eval's task objects by name."""
        for lm_task in self.tasks.values():
            _configure(lm_task, task, data)

    @property
    def version(self) -> str:
        """lm-eval's version of the task definition."""
        return ",".join(sorted({str(lm_task.VERSION) for lm_task in self.tasks.values()}))

    def run(self, lm: Any) -> list[Item]:
        """Runs all items on an lm-eval model, greedy; ordered by task, item, filter and metric."""
        from lm_eval.evaluator import evaluate

        random.seed(0)
        np.random.seed(FEWSHOT_SEED)
        for lm_task in self.tasks.values():
            lm_task.set_fewshot_seed(seed=FEWSHOT_SEED)  # drawing examples goes on where the last run stopped
        chosen = self._chosen()
        # a task without chosen items would be run whole
        loaded = self._loaded | {"tasks": {name: self.tasks[name] for name in chosen}, "groups": {}}
        results = evaluate(lm, loaded, samples=chosen, bootstrap_iters=0, log_samples=True)
        samples = results["samples"]
        items = [item for name in chosen for sample in samples[name] for item in _items(name, sample, lm)]
        return sorted(items, key=lambda item: (item.task, item.item, item.filter, item.metric))

    def _chosen(self) -> dict[str, list[int]]:
        """Which items of each task: all, or the first ones of every task in turn, up to `max_items`."""
        sizes = {name: len(lm_task.eval_docs) for name, lm_task in self.tasks.items()}
        in_turn = sorted((i, at) for at, size in enumerate(sizes.values()) for i in range(size))
        taken = Counter(at for _, at in in_turn[: self.task.max_items])
        return {name: list(range(taken[at])) for at, name in enumerate(sizes) if taken[at]}


@lru_cache
def _manager(folder: str) -> Any:
    """Of one folder only: indexing all of lm-eval's tasks takes over ten seconds."""
    import lm_eval.tasks

    path = Path(lm_eval.tasks.__file__).parent / folder
    return lm_eval.tasks.TaskManager(include_defaults=False, include_path=[str(path)])


def _names(manager: Any, task: BenchmarkTask, data: Located) -> list[str]:
    if task.benchmark.subjects is None:
        return [task.lm_eval_name]
    # A user's file is run under the prompt of a language that MMMLU has.
    prefix = "mmmlu_sw_ke_" if task.user_file is not None else task.lm_eval_name
    names = [name for name in manager.all_subtasks if name.startswith(prefix)]
    if data.subjects is not None:
        unknown = [subject for subject in data.subjects if prefix + subject not in names]
        if unknown:
            raise BenchmarkError(f"{data.path}: {task.benchmark.title} has no subjects {', '.join(unknown)}")
        names = [prefix + subject for subject in data.subjects]
    return names


def _description(task: BenchmarkTask, name: str) -> dict[str, str]:
    """The line before the examples names subject and language; a user's file has its own language."""
    if task.user_file is None:
        return {}
    subject = name.removeprefix("mmmlu_sw_ke_").replace("_", " ")
    described = f"{subject} ({_LANGUAGE_NAMES.get(task.language, task.language)})"
    words = f"The following are multiple choice questions (with answers) about {described}.\n\n"
    return {"description": words}


_LANGUAGE_NAMES = {"en": "English", "th": "Thai", "vi": "Vietnamese", "ru": "Russian", "tr": "Turkish"}


def _configure(lm_task: Any, task: BenchmarkTask, data: Located) -> None:
    lm_task.set_config(key="num_fewshot", value=task.n_shots)
    if task.n_shots and (n := len(list(lm_task.fewshot_docs()))) <= task.n_shots:
        raise BenchmarkError(
            f"{task.asked_for} in {task.language} is asked for with {task.n_shots} examples, but {data.path} has {n} rows to "
            "draw them from. Lower n_shots"
        )
    if lm_task.get_config("output_type") == "generate_until":
        lm_task.set_config(key="generation_kwargs", value={"max_gen_toks": task.max_gen_toks}, update=True)


def _items(task: str, sample: Mapping[str, Any], lm: Any) -> list[Item]:
    requests = sample["arguments"]
    prompt_hash = _hash([[part for part in request if isinstance(part, str)] for request in requests])
    encoded = [_token_ids(request, lm) for request in requests]
    fits = all(_fits(request, ids, lm) for request, ids in zip(requests, encoded, strict=True))
    return [
        Item(
            task=task,
            item=int(sample["doc_id"]),
            metric=metric,
            filter=sample["filter"],
            value=float(sample[metric]) if fits else None,
            target=str(sample["target"]),
            response=_response(sample["resps"]),
            doc_hash=sample["doc_hash"],
            prompt_hash=prompt_hash,
            tokens_hash=_hash(encoded),
        )
        for metric in sample["metrics"]
    ]


def _token_ids(request: Sequence[Any], lm: Any) -> list[int]:
    """Of the prompt, and for a multiple choice of the choice after it: what the model is really given."""
    if isinstance(request[1], str):
        if not request[0]:
            return [lm.prefix_token_id, *lm.tok_encode(request[1], add_special_tokens=False)]
        context, choice = lm._encode_pair(request[0], request[1])
        return [*context, *choice]
    return list(lm.tok_encode(request[0]))


def _fits(request: Sequence[Any], ids: Sequence[int], lm: Any) -> bool:
    """lm-eval cuts a prompt that is too long from the left and scores it all the same."""
    answer = 1 if isinstance(request[1], str) else int(request[1]["max_gen_toks"])
    return len(ids) + answer <= lm.max_length


def _response(responses: Sequence[Any]) -> str:
    first = [response[0] for response in responses]
    if isinstance(first[0], str):
        return str(first[0])
    return json.dumps([float(log_likelihood) for log_likelihood, _ in first])


def _hash(value: Any) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(value, ensure_ascii=False).encode())

"""The models of one run, one after the other or side by side; one that fails does not stop the others."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from polyneuron.pipelines.config.evaluation import EngineConfig
from polyneuron.pipelines.config.study import ClusterConfig, ModelConfig
from polyneuron.pipelines.run.progress import say, side_by_side, speaking_of
from polyneuron.pipelines.run.record import Run

Result = TypeVar("Result")


def each_model(
    models: Sequence[ModelConfig],
    cluster: ClusterConfig,
    engine: EngineConfig | None,
    run: Run,
    work: Callable[[ModelConfig], Result],
) -> list[Result]:
    """`work` of every model, `cluster.models_at_once` of them at a time; results in the order of `models`, of those that
    did not fail. Why a model failed is said and kept in `run.failures`. engine: of evaluations, None where there are none.

    Models at work share the cluster: what fits beside the others runs, the rest waits for room. Numbers do not depend on
    it, since every model has workers of its own.

    Raises:
        PolyneuronError: the only model failed.
    """

    def one(model: ModelConfig) -> list[Result]:
        try:
            return [work(model)]
        except Exception as error:
            reason = run.failed(model.label, error)
            if len(models) == 1:
                run.reached_all = True
                raise
            say(f"  failed: {reason}")
            return []

    if cluster.models_at_once == 1 or len(models) == 1:
        results = []
        for model in models:
            say(model.label)
            results += one(model)
    else:
        results = _at_once(models, cluster, engine, one)
    run.reached_all = True
    if len(run.failures) == len(models):
        run.outcome = "failed"
    return results


def _at_once(
    models: Sequence[ModelConfig],
    cluster: ClusterConfig,
    engine: EngineConfig | None,
    one: Callable[[ModelConfig], list[Result]],
) -> list[Result]:
    """Threads: the work itself is done by Ray actors, and a thread waits for them."""
    from polyneuron.cluster.actors.session import ray_session
    from polyneuron.cluster.actors.stopping import stoppable

    def named(model: ModelConfig) -> list[Result]:
        with speaking_of(model.label):
            return one(model)

    at_once = min(cluster.models_at_once, len(models))
    say(f"{len(models)} models, {at_once} at once")
    with stoppable() as stop, ray_session(_local_cores(cluster, engine, at_once)), side_by_side():
        pool = ThreadPoolExecutor(at_once)
        try:
            futures = [pool.submit(named, model) for model in models]
            return [result for future in futures for result in future.result()]
        except BaseException:
            stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def cores_of(cluster: ClusterConfig, engine: EngineConfig | None) -> int:
    """Cores that one model needs at a time: its workers' or its engine's."""
    return max(cluster.world_size * cluster.threads_per_worker, 0 if engine is None else engine.threads)


def _local_cores(cluster: ClusterConfig, engine: EngineConfig | None, at_once: int) -> int:
    """Cores that a Ray of our own offers: for all models at once where the machine has them, at least for one."""
    of_one = cores_of(cluster, engine)
    return max(of_one, min(at_once * of_one, os.cpu_count() or 1))


def exit_code(run: Run) -> int:
    """0; 1 with the names of the models that failed while others went on; 2 where none went on."""
    if not run.failures:
        return 0
    names, others = ", ".join(failure["model"] for failure in run.failures), run.outcome != "failed"
    say(f"failed: {names}" + ("; the other models are done" if others else ""))
    return 1 if others else 2

"""A worker loads the files that the driver saw, or says that they are others."""

from pathlib import Path

import pytest

from polyneuron.cluster.ranks.worker import Worker
from polyneuron.cluster.spec import ModelSpec
from polyneuron.neuron_core.common.errors import ModelError
from tests.tiny_models import save_tiny_model


@pytest.mark.parametrize("kind", ["passes", "zero2", "zero3"])
@pytest.mark.parametrize("weights", ["shard", "stream"])
def test_files_that_the_driver_did_not_see_are_refused(tmp_path: Path, kind: str, weights: str) -> None:
    folder = save_tiny_model(tmp_path / "model")
    spec = ModelSpec(source=str(folder), weights=weights, fingerprint="0" * 16)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=str(folder)):  # before it waits for other ranks
        Worker(0, 2, 1).load(spec, "127.0.0.1", 1, kind)

"""One local Ray for all tests of this folder, and one tiny model on disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from polyneuron.cluster.actors.session import ray_session
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    with ray_session(4):  # room for a module-wide pair and one group beside it
        yield


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")

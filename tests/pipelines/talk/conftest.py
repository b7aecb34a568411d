"""The tiny study of the notebook's tests."""

from tests.pipelines.notebook.conftest import model, store, study

__all__ = ["model", "store", "study"]

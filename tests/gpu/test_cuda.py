"""The same numbers on a GPU. Skipped where there is none."""

import numpy as np
import pytest
import torch

from polyneuron.neuron_core.activations.sketch import ActivationSketch
from polyneuron.neuron_core.impacts.detect import measure_impacts
from polyneuron.neuron_core.measures.perplexity import perplexity
from polyneuron.neuron_core.model.groups import GROUPS
from tests.tiny_models import TINY, tiny_model, token_ids

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]

IDS = token_ids([5, 9, 7, 12, 6])


@pytest.mark.parametrize("name", TINY)
def test_impacts_and_perplexity_on_cuda(name: str) -> None:
    cpu = measure_impacts(tiny_model(name), None, {"x": IDS}, groups=GROUPS, mode="full").to_arrow()
    model = tiny_model(name).cuda()
    cuda = measure_impacts(model, None, {"x": IDS}, groups=GROUPS, mode="full").to_arrow()
    for column in ("impact_min", "impact_mean", "impact_max"):
        np.testing.assert_allclose(cuda.column(column), cpu.column(column), rtol=2e-4, atol=1e-6)
    assert perplexity(model, None, IDS) == pytest.approx(perplexity(tiny_model(name), None, IDS), rel=1e-4)


def test_sketches_of_the_same_values_are_the_same_bits_on_cuda() -> None:
    values = torch.randn(5000, 300, generator=torch.Generator().manual_seed(0))
    cpu, cuda = ActivationSketch.empty(300), ActivationSketch.empty(300, "cuda")
    cpu.add(values)
    cuda.add(values.cuda())
    for name in ("counts", "total", "minimum", "maximum"):
        assert torch.equal(getattr(cuda.cpu(), name), getattr(cpu, name))

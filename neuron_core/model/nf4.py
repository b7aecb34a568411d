"""A frozen base in 4 bits, as paper B fine-tunes it (appendix B): NF4 with double quantisation (Dettmers et al. 2023), by
bitsandbytes.

Adapters are trained on top of it; what they learn is merged into the weights of the files, not into the quantised ones, so
a weight edit differs from the base in its neurons alone.
"""

from typing import Any

import torch
from torch import nn


def quantisation(dtype: torch.dtype) -> Any:
    """transformers' configuration of it; products are computed in `dtype`."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def ready_to_train(model: nn.Module) -> None:
    """Keeps bitsandbytes from repacking weights for inference on a CPU at their first use, after which they have no
    gradient."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010, mypy knows no such attribute

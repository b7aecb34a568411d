"""Loading under ZeRO-3 without a whole copy anywhere: every rank reads its own part of each parameter from the files.

DeepSpeed's own way makes every parameter whole on rank 0, broadcasts it, and keeps each rank's part; transformers first
reads the whole state dict on every rank. Here a rank allocates its parts and fills them with the bytes that
belong there, so all ranks together read the model once, and nothing is sent.
"""

from collections.abc import Iterable
from typing import Any

import torch
from deepspeed.runtime.zero.partition_parameters import Init, PartitionedParamStatus, ZeroParamStatus
from torch import nn

from polyneuron.neuron_core.model.stored_model import StoredModel


class ShardsFromFiles(Init):  # type: ignore[misc]
    """`deepspeed.zero.Init` of a `StoredModel`; parameters that are added to the model later are sharded as usual."""

    def __init__(self, stored: StoredModel, config: dict[str, Any]) -> None:
        """Shards `stored.model` in place. Raises ModelError when a file cannot be read."""
        self._stored = stored
        dtype = next(stored.model.parameters()).dtype
        super().__init__(module=stored.model, config_dict_or_path=config, dtype=dtype)

    def _convert_to_zero_parameters(self, param_list: Iterable[nn.Parameter]) -> None:
        for parameter in param_list:
            if not self._stored.holds(parameter):
                super()._convert_to_zero_parameters([parameter])
            elif not hasattr(parameter, "ds_id"):
                self._take_share(parameter)

    def _take_share(self, parameter: Any) -> None:
        # A view of one element that has the shape DeepSpeed is to remember.
        parameter.data = torch.empty(1, dtype=parameter.dtype).expand(self._stored.shape(parameter))
        self._convert_to_deepspeed_param(parameter)
        aligned: int = self._aligned_size(parameter)
        size = aligned // self._partition_world_size(parameter)
        start = size * self._partition_rank(parameter)
        share = torch.zeros(size, dtype=parameter.dtype, device=self.remote_device)
        n_real = max(0, min(size, parameter.ds_numel - start))
        self._stored.read(parameter, share[:n_real], start)
        share.ds_numel, share.final_location = size, None  # type: ignore[attr-defined]
        share.status = PartitionedParamStatus.AVAILABLE  # type: ignore[attr-defined]
        parameter.ds_tensor, parameter.ds_numel_aligned = share, aligned
        parameter.data = torch.empty(0, dtype=parameter.dtype, device=self.local_device)
        parameter.ds_status = ZeroParamStatus.NOT_AVAILABLE

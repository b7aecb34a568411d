"""A causal LM whose weights stay in their files: parameters hold nothing until they are asked for, buffers are real.

It starts from the same `skeleton_of` as `from_pretrained`, so it is the model that this would load. What reads it is either
`gather`, which streams parameters through memory, or a cluster rank that takes its share of each.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from polyneuron.neuron_core.model.anatomy import anatomy_of
from polyneuron.neuron_core.model.load import dtype_of, require_finite
from polyneuron.neuron_core.model.opening import load_config
from polyneuron.neuron_core.model.skeleton import skeleton_of


class StoredModel:
    """`model` without weights, and where the weights are. `gather` is a `Gather` for `LayerMajor`."""

    def __init__(
        self,
        source: str | Path,
        dtype: torch.dtype | str,
        revision: str | None = None,
        trust_remote_code: bool = False,
        device: str | torch.device = "cpu",
    ) -> None:
        """`source`: hub id or local folder. `device`: where buffers are, and parameters once they are gathered. Raises
        ModelError for files that cannot be read, that lack a parameter, or hold one of another shape, and
        UnsupportedArchitecture for a family whose anatomy is not declared."""
        config = load_config(source, revision, trust_remote_code)
        self.source, self.device = str(source), torch.device(device)
        self._buffers: list[Tensor] = []
        skeleton = skeleton_of(source, config, dtype_of(dtype), revision, trust_remote_code)
        self.model, self.files = skeleton.model, skeleton.files
        self._keys = self._emptied(skeleton.keys)
        self._fill_buffers(skeleton.keys)
        require_finite(self.model.named_buffers(), source)
        anatomy_of(self.model)
        self.model.to(self.device).eval()

    def shape(self, parameter: nn.Parameter) -> torch.Size:
        """The shape of a parameter when it is whole."""
        return self.files.tensors[self._keys[parameter]].shape

    def holds(self, parameter: nn.Parameter) -> bool:
        """Whether a parameter is one of this model's."""
        return parameter in self._keys

    @property
    def model_bytes(self) -> int:
        """Bytes of all parameters in the model's dtype, tied ones once."""
        return sum(self.shape(p).numel() * p.element_size() for p in self._keys)

    def read(self, parameter: nn.Parameter, into: Tensor, start: int = 0) -> None:
        """Fills `into` (flat) with the parameter's elements from `start` on, row after row, in `into`'s dtype. Raises
        ModelError when the file cannot be read."""
        self.files.read(self._keys[parameter], into, start)

    @contextmanager
    def gather(self, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
        """Inside, `parameters` hold their values, read anew; changes made to them are lost with them. Raises ModelError
        when a file cannot be read."""
        try:
            for parameter, buffer in zip(parameters, self._buffers_for(parameters), strict=True):
                self.read(parameter, buffer.view(-1))
                parameter.data = buffer
            yield
        finally:
            self._buffers = [parameter.data for parameter in parameters if parameter.numel()]
            for parameter in parameters:
                parameter.data = torch.empty(0, dtype=parameter.dtype, device=self.device)

    def _buffers_for(self, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """Memory for `parameters`: that of the gather before where shapes agree, as they do from layer to layer. Memory
        given back and taken anew for each layer comes in pieces that the allocator cannot use again."""
        before, self._buffers = self._buffers, []
        taken: list[Tensor | None] = []
        for parameter in parameters:
            fits = (parameter.dtype, self.shape(parameter))
            same = next((i for i, old in enumerate(before) if (old.dtype, old.shape) == fits), None)
            taken.append(None if same is None else before.pop(same))
        before.clear()
        return [
            torch.empty(self.shape(parameter), dtype=parameter.dtype, device=self.device)
            if old is None
            else old
            for parameter, old in zip(parameters, taken, strict=True)
        ]

    def _emptied(self, keys: dict[str, str]) -> dict[nn.Parameter, str]:
        """Replaces every parameter on meta, which could take no values later, by an empty one of its dtype."""
        empty: dict[nn.Parameter, nn.Parameter] = {}
        key_of = {}
        for name, parameter in list(self.model.named_parameters(remove_duplicate=False)):
            if parameter not in empty:
                empty[parameter] = nn.Parameter(torch.empty(0, dtype=parameter.dtype), requires_grad=False)
            if name in keys:
                key_of[empty[parameter]] = keys[name]
            module, _, attribute = name.rpartition(".")
            self.model.get_submodule(module)._parameters[attribute] = empty[parameter]
        return key_of

    def _fill_buffers(self, keys: dict[str, str]) -> None:
        """Makes the buffers as `from_pretrained` does: computed by the modules, or read where the files have them."""
        for name, buffer in list(self.model.named_buffers()):
            module, _, attribute = name.rpartition(".")
            self.model.get_submodule(module)._buffers[attribute] = torch.empty_like(buffer, device="cpu")
        for parameter in self._keys:
            parameter._is_hf_initialized = True  # type: ignore[attr-defined]
        self.model.initialize_weights()
        for name, buffer in self.model.named_buffers():
            if name in keys:
                self.files.read(keys[name], buffer.view(-1))

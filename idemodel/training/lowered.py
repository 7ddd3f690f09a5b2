"""A network whose weights are cast to bf16 together, where autocast casts each by itself; the same numbers.

A cast and its way back are two launches a weight, 1,300 in a step of the paper's recipe; here they are a few.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class CastOnce:
    """Calls a network under bf16 autocast with its convolutions' weights cast beforehand.

    Parameters
    ----------
    network : Module
        Learns: gradients go to its own float32 weights.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._weights = {
            f"{place}.{name}": weight
            for place, module in network.named_modules()
            if isinstance(module, nn.Conv2d)
            for name, weight in module.named_parameters(recurse=False)
        }

    def __call__(self, inputs: Tensor) -> Tensor:
        """What the network gives."""
        cast = dict(zip(self._weights, _Cast.apply(*self._weights.values()), strict=True))
        made: Tensor = torch.func.functional_call(self._network, cast, (inputs,))
        return made


class _Cast(torch.autograd.Function):
    """Tensors in bfloat16; their gradients in float32."""

    @staticmethod
    def forward(context: Any, *weights: Tensor) -> tuple[Tensor, ...]:
        """One for each."""
        return _copied(weights, torch.bfloat16)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """One for each."""
        return _copied(gradients, torch.float32)


def _copied(tensors: tuple[Tensor, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
    made = [torch.empty_like(one, dtype=dtype) for one in tensors]
    every: Any = torch  # whose annotations know it as internal
    every._foreach_copy_(made, list(tensors))
    return tuple(made)

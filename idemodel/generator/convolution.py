"""A convolution whose bias learns by a matrix product in bf16 on a CUDA device; else, and in inference, torch's own.

torch sums a bias's bf16 gradient over the pixels of 20 crops of 64 x 64 by 64 features in 25 us on an H100, where the
product with a row of ones takes 9 (2026-11-26, docs/GPU.md); a step of the paper's recipe has 300 such sums.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Convolved = Callable[[Tensor, Tensor, Tensor | None], Tensor]
_MANY = 2**15  # pixels from which the product is faster


class Convolution(nn.Conv2d):
    """:class:`torch.nn.Conv2d`."""

    def forward(self, input: Tensor) -> Tensor:
        """As torch's."""
        return biased(self._conv_forward, input, self.weight, self.bias)


def biased(convolved: Convolved, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What ``convolved`` makes of images, weight and bias; it is given no bias that learns from a gradient in bf16."""
    lowered = images.is_cuda and torch.is_autocast_enabled("cuda")
    if bias is None or not (lowered and torch.is_grad_enabled() and bias.requires_grad):
        return convolved(images, weight, bias)
    features: Tensor = PlusBias.apply(convolved(images, weight, None), bias)
    return features


class PlusBias(torch.autograd.Function):
    """Features (B, C, H, W) plus bias (C,), in their place, as cuDNN's convolutions have theirs added."""

    @staticmethod
    def forward(context: Any, features: Tensor, bias: Tensor) -> Tensor:
        """In the features' precision."""
        context.mark_dirty(features)
        return features.add_(bias.to(features.dtype)[:, None, None])

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The bias's gradient is summed in float32; where channels come last nothing is moved for it."""
        pixels = gradient.permute(0, 2, 3, 1).reshape(-1, gradient.shape[1])
        if len(pixels) < _MANY:
            return gradient, gradient.sum((0, 2, 3))
        return gradient, (_ones(len(pixels), pixels.dtype, pixels.device) @ pixels).view(-1)


@functools.cache
def _ones(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A row of ones, made once: a fill takes as long as the product."""
    return torch.ones(1, count, dtype=dtype, device=device)

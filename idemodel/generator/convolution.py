"""A convolution whose bias learns by a matrix product on a CUDA device; elsewhere, and in inference, torch's own.

torch sums a bias's gradient over pixels in 25 us on an H100 for 20 crops of 64 x 64 by 64 features, where the product
with a row of ones takes 9; the paper's generator has 300 biases.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Convolved = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Convolution(nn.Conv2d):
    """:class:`torch.nn.Conv2d`."""

    def forward(self, input: Tensor) -> Tensor:
        """As torch's."""
        return biased(self._conv_forward, input, self.weight, self.bias)


def biased(convolved: Convolved, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What ``convolved`` makes of images, weight and bias; on a CUDA device it is given no bias that is to learn."""
    if bias is None or not (images.is_cuda and torch.is_grad_enabled() and bias.requires_grad):
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
        return gradient, (pixels.new_ones(1, len(pixels)) @ pixels).view(-1)

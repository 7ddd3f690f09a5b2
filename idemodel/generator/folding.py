"""A generator folded for inference: the same function of its input in fewer passes over its features; trains nothing.

What is linear and lies side by side becomes one map: a block's biases before linear maps go into those, the three
reductions of a module and its scalars into one map of its four blocks' features, the tail's two convolutions into one.
Sums are made in float64. What is left between the convolutions are :class:`idemodel.generator.passes.Passes`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from idemodel.generator.network import Attention, FeatureAggregation, MLANet, ShuffleTail
from idemodel.generator.passes import Attended, Gate, Passes


@torch.no_grad()
def folded_for_inference(network: MLANet, passes: Passes) -> MLANet:
    """Replace its modules and the paper's tail by folded ones, and its weight normalisation too. Returns the network.

    Its sketches are those of before but for rounding; it can no longer be saved. Fastest channels last.
    """
    network.fold_weight_norm()
    folded: Any = network
    folded.body = nn.Sequential(*(_FoldedAggregation(each, passes) for each in folded.body))
    if isinstance(network.tail, ShuffleTail):
        folded.tail = _FoldedShuffleTail(network.tail)
    return network


class _FoldedAggregation(nn.Module):
    """:class:`FeatureAggregation` with one linear map of the four blocks' features."""

    def __init__(self, module: FeatureAggregation, passes: Passes) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            _FoldedAttention(each, passes) for each in (module.b0, module.b1, module.b2, module.b3)
        )
        self.join, self.scale = _joined(module), module.x_scale.scale
        self._passes = passes

    def forward(self, x: Tensor) -> Tensor:
        b0, b1, b2, b3 = self.blocks
        x0 = b0(x)
        x1 = b1(x0, residual=x0)
        x2 = b2(x1, residual=x1)
        return self._passes.joined((x0, x1, x2, b3(x2)), self.join, x, self.scale)


class _FoldedAttention(nn.Module):
    """:class:`Attention` plus what is given, its biases in the passes between its convolutions."""

    def __init__(self, block: Attention, passes: Passes) -> None:
        super().__init__()
        first, second, below, near, far, increase, many = map(_convolution, (
            block.conv01, block.conv00, block.bottom11_dw, block.conv1, block.conv2, block.increase_channels,
            block.bottom11,
        ))  # fmt: skip
        self.first, self.second, self.leaked = _bare(first), _bare(second), first.bias
        shift = _exact(second.bias)
        self.few, self.many = _shifted(block.reduce_channels, shift), _shifted(many, shift)
        self.smaller = _bare(block.reduce_spatial_size)
        self.pooled: Any = block.reduce_spatial_size.bias
        self.near, self.far, self.below = _bare(near), _bare(far), _bare(below)
        widened = _linear(*_weights(increase), like=increase.weight)
        self.gate = Gate(widened, second.bias, below.bias, near.bias, far.bias)
        self._passes = passes

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        passes = self._passes
        features = self.second(passes.leaky(self.first(x), self.leaked))
        few, many = passes.parted(features, self.few, self.many)
        small = passes.pooled(self.smaller(few), self.pooled)
        maps = Attended(features, few, self.near(small), self.far(small), self.below(many))
        return passes.gated(maps, self.gate, residual)


class _FoldedShuffleTail(nn.Module):
    """:class:`ShuffleTail` with one 5x5 convolution."""

    def __init__(self, tail: ShuffleTail) -> None:
        super().__init__()
        near, wide = _exact(tail.scale_k3.scale), _exact(tail.scale_k5.scale)
        weight = wide * _exact(tail.tail_k5.weight) + near * functional.pad(_exact(tail.tail_k3.weight), (1, 1, 1, 1))
        bias = wide * _exact(tail.tail_k5.bias) + near * _exact(tail.tail_k3.bias)
        both: Any = copy.deepcopy(tail.tail_k5)
        both.weight.copy_(weight)
        both.bias.copy_(bias)
        self.both = both
        self._added: Callable[[Tensor, Tensor], Tensor] = tail.added

    def forward(self, x: Tensor, images: Tensor) -> Tensor:
        return self._added(self.both(x), images)


def _joined(module: FeatureAggregation) -> nn.Linear:
    """What res_scale and the three reductions make of x0 to x3, a linear map of all their channels.

    Reductions take their two inputs' channels in turns: the even columns of their weights are for the first.
    """
    maps: list[Tensor] = []
    bias = torch.zeros((), dtype=torch.float64)
    for reduction in (module.reduction1, module.reduction2, module.reduction3):
        weight, added = _weights(reduction)
        first, second = weight[:, ::2], weight[:, 1::2]
        maps = [*(first @ one for one in maps), second] if maps else [first, second]
        bias = (first @ bias if bias.ndim else 0) + added
    scale = _exact(module.res_scale.scale)
    return _linear(scale * torch.cat(maps, dim=1), scale * bias, like=module.res_scale.scale)


def _shifted(convolution: nn.Conv2d, shift: Tensor) -> nn.Linear:
    """A 1x1 convolution of features that have yet to be shifted."""
    weight, bias = _weights(convolution)
    return _linear(weight, bias + weight @ shift, like=convolution.weight)


def _linear(weight: Tensor, bias: Tensor, like: Tensor) -> nn.Linear:
    """A linear map of these weights, of the dtype and device of ``like``."""
    made: nn.Linear = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0])
    made = made.to(like.device, like.dtype).requires_grad_(False)
    made.weight.copy_(weight)
    made.bias.copy_(bias)
    return made


def _convolution(part: Any) -> Any:
    """The convolution that a part of a block begins with."""
    return part[0]


def _bare(convolution: nn.Conv2d) -> nn.Conv2d:
    """A copy without its bias."""
    bare = copy.deepcopy(convolution)
    bare.bias = None
    return bare


def _weights(convolution: Any) -> tuple[Tensor, Tensor]:
    """Weights (out, in) and bias of a 1x1 convolution, exactly."""
    return _exact(convolution.weight).flatten(1), _exact(convolution.bias)


def _exact(values: Any) -> Tensor:
    """A module's weights in float64."""
    exact: Tensor = values.detach().double()
    return exact

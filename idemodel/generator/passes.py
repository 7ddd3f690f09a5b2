"""What lies between the convolutions of a folded generator: few passes over its features, by torch or by Triton.

A pass over the features of a batch takes a device longer than its arithmetic, so that what can be done in one is.
:class:`TorchPasses` says what each of them computes, on every device; :mod:`idemodel.generator.passes_triton` does the
same in one launch each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from idekernels.errors import in_short
from idekernels.files.notices import tell_once
from idemodel.generator.network import POOL, SLOPE, STRIDE

_MOST = 128  # features whose tiles a multiprocessor has room for
_SLOWER = "float16 takes twice as long here, by torch's operations alone"


@dataclass(frozen=True)
class Attended:
    """What a block's attention is made of: features (B, C, H, W), few of them (B, C / 4, H, W), and maps made of both.

    ``near`` and ``far``, (B, C / 4, h, w), are the convolved few features at a sixth of the size; ``below``
    (B, C, H, W) is the depthwise convolution. None has had its bias added, which the gate does.
    """

    features: Tensor
    few: Tensor
    near: Tensor
    far: Tensor
    below: Tensor


class Gate(nn.Module):
    """The weights of an attention block's last pass.

    ``increase`` leads from few to all channels; ``shift`` (C,) is the features' bias, ``below`` (C,), ``near``
    and ``far`` (C / 4,) those of what :class:`Attended` calls so.
    """

    def __init__(self, increase: nn.Linear, shift: Tensor, below: Tensor, near: Tensor, far: Tensor) -> None:
        super().__init__()
        self.increase = increase
        self.shift, self.below, self.near, self.far = (_kept(bias) for bias in (shift, below, near, far))


class Passes(Protocol):
    """The passes; features are (B, C, H, W), channels last, and so is what is given."""

    def leaky(self, features: Tensor, bias: Tensor) -> Tensor:
        """The leaky ReLU of features plus bias (C,); may be written in their place."""

    def parted(self, features: Tensor, few: nn.Linear, many: nn.Linear) -> tuple[Tensor, Tensor]:
        """Both linear maps of every pixel's channels."""

    def pooled(self, features: Tensor, bias: Tensor) -> Tensor:
        """The largest of every 7 x 7 pixels, 3 apart, plus bias (C,)."""

    def gated(self, maps: Attended, gate: Gate, residual: Tensor | None) -> Tensor:
        """The features, weighted by both attentions, plus the residual (B, C, H, W)."""

    def joined(self, maps: Sequence[Tensor], join: nn.Linear, x: Tensor, scale: Tensor) -> Tensor:
        """The linear map of every pixel's channels of the four maps, one behind another, plus ``x`` times a scalar."""


class TorchPasses:
    """By torch's operations; :class:`Passes` says what each gives."""

    def leaky(self, features: Tensor, bias: Tensor) -> Tensor:
        """In the place of ``features``."""
        return functional.leaky_relu_(features.add_(across(bias)), SLOPE)

    def parted(self, features: Tensor, few: nn.Linear, many: nn.Linear) -> tuple[Tensor, Tensor]:
        """By two matrix products."""
        return _linear(features, few), _linear(features, many)

    def pooled(self, features: Tensor, bias: Tensor) -> Tensor:
        """The bias is added to what is left."""
        return functional.max_pool2d(features, POOL, STRIDE).add_(across(bias))

    def gated(self, maps: Attended, gate: Gate, residual: Tensor | None) -> Tensor:
        """As :class:`idemodel.generator.network.Attention` does it."""
        near = functional.leaky_relu(maps.near + across(gate.near), SLOPE)
        far = functional.leaky_relu(maps.far + across(gate.far), SLOPE)
        wide = functional.interpolate(near.add_(far), size=maps.few.shape[2:], mode="nearest").add_(maps.few)
        a = torch.sigmoid(_linear(wide, gate.increase).relu_())
        b = torch.sigmoid(maps.below + across(gate.below))
        made = (maps.features + across(gate.shift)).mul_(a).mul_(b)
        return made if residual is None else made.add_(residual)

    def joined(self, maps: Sequence[Tensor], join: nn.Linear, x: Tensor, scale: Tensor) -> Tensor:
        """The maps are not laid beside one another, each is multiplied by its part of the weights."""
        weights = join.weight.chunk(len(maps), dim=1)
        made = x * scale + across(join.bias)
        for one, weight in zip(maps, weights, strict=True):
            made = made + _linear(one, weight)
        return made


def across(bias: Tensor) -> Tensor:
    """A value for each channel as (C, 1, 1), to be added to features."""
    return bias[:, None, None]


def passes_on(device: str | torch.device, features: int) -> Passes:
    """By Triton on a CUDA device where it is installed and works; else by torch, and a line says why.

    torch brings Triton on Linux. It needs a C compiler, and matrix units as cards have them since compute capability 8.
    Networks of more than 128 features are bound by their products: for them torch does it.
    """
    where = torch.device(device)
    if where.type != "cuda" or features > _MOST or torch.cuda.get_device_capability(where) < (8, 0):
        return TorchPasses()
    if find_spec("triton") is None:
        tell_once("passes", f"{_SLOWER}: Triton is not installed")
        return TorchPasses()
    try:
        from idemodel.generator.passes_triton import TritonPasses  # which imports what is not everywhere

        return TritonPasses.tried(where)
    except Exception as error:  # whatever a compiler, a driver or a disk may say
        tell_once("passes", f"{_SLOWER}: {in_short(error)}")
        return TorchPasses()


def _kept(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach(), requires_grad=False)


def _linear(features: Tensor, by: nn.Linear | Tensor) -> Tensor:
    """A linear map of every pixel's channels, which lie side by side: one matrix product, nothing is moved."""
    weight, bias = (by, None) if isinstance(by, Tensor) else (by.weight, by.bias)
    count, _, height, width = features.shape
    pixels = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    made = functional.linear(pixels, weight, bias)
    return made.view(count, height, width, -1).permute(0, 3, 1, 2)

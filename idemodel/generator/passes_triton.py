"""The passes of :mod:`idemodel.generator.passes` as Triton kernels: one launch each, sums and exponentials in float32.

A program takes ``ROWS`` pixels with all their channels, which lie side by side. ``MANY`` and ``FEW`` are numbers of
channels; ``WIDE`` and ``NARROW`` the next powers of two, 16 at least, as matrix units need: what is beyond is zero.
Compiled at the first use on a machine, a second each, and kept by Triton in ``~/.triton``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from idemodel.generator.network import POOL, SLOPE, STRIDE
from idemodel.generator.passes import Attended, Gate

_VALUES = 8192  # of features that a program holds
_MOST_ROWS = 128  # pixels of a program


@triton.jit
def _rows_of(pixels, ROWS: tl.constexpr):
    """This program's pixels, and which of them there are; 64 bits, as large images have more values than 32 hold."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    return rows, rows < pixels


@triton.jit
def _read(maps, rows, inside, CHANNELS: tl.constexpr, PADDED: tl.constexpr):
    """The channels of pixels, (pixels, PADDED), zero beyond."""
    channel = tl.arange(0, PADDED)
    mask = inside[:, None] & (channel < CHANNELS)[None, :]
    return tl.load(maps + rows[:, None] * CHANNELS + channel[None, :], mask=mask, other=0.0)


@triton.jit
def _write(maps, values, rows, inside, CHANNELS: tl.constexpr, PADDED: tl.constexpr):
    channel = tl.arange(0, PADDED)
    mask = inside[:, None] & (channel < CHANNELS)[None, :]
    tl.store(maps + rows[:, None] * CHANNELS + channel[None, :], values.to(maps.dtype.element_ty), mask=mask)


@triton.jit
def _bias(bias, CHANNELS: tl.constexpr, PADDED: tl.constexpr):
    """A value for each channel, (1, PADDED) float32, zero beyond."""
    channel = tl.arange(0, PADDED)
    return tl.load(bias + channel, mask=channel < CHANNELS, other=0.0).to(tl.float32)[None, :]


@triton.jit
def _weight(weight, stride, IN: tl.constexpr, OUT: tl.constexpr, PADDED_IN: tl.constexpr, PADDED_OUT: tl.constexpr):
    """Rows of a linear map (OUT, IN), ``stride`` apart, as (PADDED_IN, PADDED_OUT), zero beyond."""
    given, made = tl.arange(0, PADDED_IN)[:, None], tl.arange(0, PADDED_OUT)[None, :]
    return tl.load(weight + made * stride + given, mask=(given < IN) & (made < OUT), other=0.0)


@triton.jit
def _leaked(values, SLOPE: tl.constexpr):
    return tl.where(values > 0, values, values * SLOPE)


@triton.jit
def _leaky_kernel(
    features, bias, pixels, MANY: tl.constexpr, WIDE: tl.constexpr, SLOPE: tl.constexpr, ROWS: tl.constexpr
):
    rows, inside = _rows_of(pixels, ROWS)
    values = _read(features, rows, inside, MANY, WIDE).to(tl.float32) + _bias(bias, MANY, WIDE)
    _write(features, _leaked(values, SLOPE), rows, inside, MANY, WIDE)


@triton.jit
def _parted_kernel(
    features, few_weight, few_bias, many_weight, many_bias, few, many, pixels,
    MANY: tl.constexpr, FEW: tl.constexpr, WIDE: tl.constexpr, NARROW: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    rows, inside = _rows_of(pixels, ROWS)
    values = _read(features, rows, inside, MANY, WIDE)
    made = tl.dot(values, _weight(few_weight, MANY, MANY, FEW, WIDE, NARROW), input_precision="ieee")
    _write(few, made + _bias(few_bias, FEW, NARROW), rows, inside, FEW, NARROW)
    made = tl.dot(values, _weight(many_weight, MANY, MANY, MANY, WIDE, WIDE), input_precision="ieee")
    _write(many, made + _bias(many_bias, MANY, WIDE), rows, inside, MANY, WIDE)


@triton.jit
def _pooled_kernel(
    features, bias, made, pixels, height, width, rows_made, columns_made,
    FEW: tl.constexpr, NARROW: tl.constexpr, POOL: tl.constexpr, STRIDE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    rows, inside = _rows_of(pixels, ROWS)
    photo, place = rows // (rows_made * columns_made), rows % (rows_made * columns_made)
    first = (photo * height + place // columns_made * STRIDE) * width + place % columns_made * STRIDE
    most = _read(features, first, inside, FEW, NARROW)
    for step in tl.static_range(1, POOL * POOL):
        most = tl.maximum(most, _read(features, first + step // POOL * width + step % POOL, inside, FEW, NARROW))
    _write(made, most.to(tl.float32) + _bias(bias, FEW, NARROW), rows, inside, FEW, NARROW)


@triton.jit
def _nearest(rows, height, width, small_height, small_width, down, across):
    """The pixels of small maps that lie under those of large ones, as torch's nearest neighbours go, in float32."""
    place = rows % (height * width)
    row = ((place // width).to(tl.float32) * down).to(tl.int32)
    column = ((place % width).to(tl.float32) * across).to(tl.int32)
    row, column = tl.minimum(row, small_height - 1), tl.minimum(column, small_width - 1)
    return (rows // (height * width) * small_height + row) * small_width + column


@triton.jit
def _gated_kernel(
    features, few, near, far, below, residual, shift, near_bias, far_bias, below_bias, weight, bias, made, pixels,
    height, width, small_height, small_width, down, across, RESIDUAL: tl.constexpr, SLOPE: tl.constexpr,
    MANY: tl.constexpr, FEW: tl.constexpr, WIDE: tl.constexpr, NARROW: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    rows, inside = _rows_of(pixels, ROWS)
    under = _nearest(rows, height, width, small_height, small_width, down, across)
    wide = _leaked(_read(near, under, inside, FEW, NARROW).to(tl.float32) + _bias(near_bias, FEW, NARROW), SLOPE)
    wide += _leaked(_read(far, under, inside, FEW, NARROW).to(tl.float32) + _bias(far_bias, FEW, NARROW), SLOPE)
    wide += _read(few, rows, inside, FEW, NARROW).to(tl.float32)
    weights = _weight(weight, FEW, FEW, MANY, NARROW, WIDE)
    a = tl.dot(wide.to(weights.dtype), weights, input_precision="ieee") + _bias(bias, MANY, WIDE)
    b = _read(below, rows, inside, MANY, WIDE).to(tl.float32) + _bias(below_bias, MANY, WIDE)
    both = (1.0 + tl.exp(-tl.maximum(a, 0.0))) * (1.0 + tl.exp(-b))  # sigmoid(relu(a)) and sigmoid(b), inverted
    values = (_read(features, rows, inside, MANY, WIDE).to(tl.float32) + _bias(shift, MANY, WIDE)) / both
    if RESIDUAL:
        values += _read(residual, rows, inside, MANY, WIDE).to(tl.float32)
    _write(made, values, rows, inside, MANY, WIDE)


@triton.jit
def _joined_kernel(
    first, second, third, fourth, x, weight, bias, scale, made, pixels,
    MANY: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    rows, inside = _rows_of(pixels, ROWS)
    values = _read(x, rows, inside, MANY, WIDE).to(tl.float32) * tl.load(scale).to(tl.float32) + _bias(bias, MANY, WIDE)
    part = _weight(weight, 4 * MANY, MANY, MANY, WIDE, WIDE)
    values += tl.dot(_read(first, rows, inside, MANY, WIDE), part, input_precision="ieee")
    part = _weight(weight + MANY, 4 * MANY, MANY, MANY, WIDE, WIDE)
    values += tl.dot(_read(second, rows, inside, MANY, WIDE), part, input_precision="ieee")
    part = _weight(weight + 2 * MANY, 4 * MANY, MANY, MANY, WIDE, WIDE)
    values += tl.dot(_read(third, rows, inside, MANY, WIDE), part, input_precision="ieee")
    part = _weight(weight + 3 * MANY, 4 * MANY, MANY, MANY, WIDE, WIDE)
    values += tl.dot(_read(fourth, rows, inside, MANY, WIDE), part, input_precision="ieee")
    _write(made, values, rows, inside, MANY, WIDE)


class TritonPasses:
    """As :class:`idemodel.generator.passes.Passes` has it, on a device that Triton compiles for."""

    @classmethod
    def tried(cls, device: torch.device) -> TritonPasses:
        """After the smallest of the kernels ran there; what Triton raises where it cannot."""
        passes = cls()
        passes.leaky(torch.zeros(1, 16, 4, 4, device=device), torch.zeros(16, device=device))
        torch.cuda.synchronize(device)
        return passes

    def leaky(self, features: Tensor, bias: Tensor) -> Tensor:
        """In the place of ``features``, but for those that are not channels last."""
        features, many = _last(features), features.shape[1]
        _launch(_leaky_kernel, features, _rows(many), features, bias, MANY=many, WIDE=_padded(many), SLOPE=SLOPE)
        return features

    def parted(self, features: Tensor, few: nn.Linear, many: nn.Linear) -> tuple[Tensor, Tensor]:
        """Both products of what is read once."""
        features = _last(features)
        made = [_like(features, by.out_features) for by in (few, many)]
        weights = few.weight, few.bias, many.weight, many.bias
        _launch(
            _parted_kernel,
            features,
            _rows(features.shape[1]),
            features,
            *weights,
            *made,
            **_channels(features.shape[1]),
        )
        return made[0], made[1]

    def pooled(self, features: Tensor, bias: Tensor) -> Tensor:
        """Every pixel is read five times, from the cache."""
        features = _last(features)
        count, few, *size = features.shape
        small = [(side - POOL) // STRIDE + 1 for side in size]
        made = features.new_empty((count, *small, few)).permute(0, 3, 1, 2)
        constants = {"FEW": few, "NARROW": _padded(few), "POOL": POOL, "STRIDE": STRIDE}
        _launch(_pooled_kernel, made, 16, features, bias, made, after=(*size, *small), **constants)
        return made

    def gated(self, maps: Attended, gate: Gate, residual: Tensor | None) -> Tensor:
        """The nearest neighbours of the small maps, the product that increases channels and all element-wise work."""
        features, few, near, far, below = (
            _last(one) for one in (maps.features, maps.few, maps.near, maps.far, maps.below)
        )
        many, size, small, made = features.shape[1], features.shape[2:], near.shape[2:], torch.empty_like(features)
        given = features, few, near, far, below, made if residual is None else _last(residual)
        biases = gate.shift, gate.near, gate.far, gate.below, gate.increase.weight, gate.increase.bias
        after = (*size, *small, *(less / more for less, more in zip(small, size, strict=True)))
        constants = {"RESIDUAL": residual is not None, "SLOPE": SLOPE, **_channels(many)}
        _launch(_gated_kernel, features, _rows(many, maps=2), *given, *biases, made, after=after, **constants)
        return made

    def joined(self, maps: Sequence[Tensor], join: nn.Linear, x: Tensor, scale: Tensor) -> Tensor:
        """Five maps are read, one is written."""
        given, made = [_last(one) for one in (*maps, x)], torch.empty_like(_last(x))
        many = x.shape[1]
        tensors = *given, join.weight, join.bias, scale, made
        _launch(_joined_kernel, made, _rows(many), *tensors, MANY=many, WIDE=_padded(many))
        return made


def _launch(
    kernel: Any, over: Tensor, rows: int, *tensors: Tensor, after: Sequence[float] = (), **constants: Any
) -> None:
    """A kernel over the pixels of ``over``, so many a program; it is given tensors, pixels, numbers and constants."""
    pixels = over.numel() // over.shape[1]
    with torch.cuda.device_of(over):
        kernel[(triton.cdiv(pixels, rows),)](*tensors, pixels, *after, ROWS=rows, **constants)


def _rows(many: int, maps: int = 1) -> int:
    """Pixels of a program that holds this many maps at once."""
    return min(_MOST_ROWS, max(16, _VALUES // (maps * _padded(many))))


def _channels(many: int) -> dict[str, Any]:
    few = many // 4
    return {"MANY": many, "FEW": few, "WIDE": _padded(many), "NARROW": _padded(few)}


def _padded(channels: int) -> int:
    return max(16, triton.next_power_of_2(channels))


def _last(features: Tensor) -> Tensor:
    """Channels last; as they are where they lie so."""
    return features.contiguous(memory_format=torch.channels_last)


def _like(features: Tensor, channels: int) -> Tensor:
    """Memory for maps of the same pixels with other channels."""
    count, _, height, width = features.shape
    return features.new_empty((count, height, width, channels)).permute(0, 3, 1, 2)

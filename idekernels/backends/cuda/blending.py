"""Patches to a picture on the device: weighted sums of candidates, averaged or feathered (cut: cutting.py), rounded."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from idekernels.backends.cuda import cutting, launch
from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda.launch import WARP
from idekernels.backends.cuda.variants import source_text
from idekernels.grid import PatchGrid

COMPOSE = ("common.cuh", "compose.cu")
BLEND = ("common.cuh", "levels.cuh", "grid.cuh", "blend.cu")
ROUND = ("common.cuh", "round.cu")
BLEND_WARPS = 4  # of a block
PEAK = 255.0  # grey levels


def compose(targets: Any, weights: Any) -> Any:
    """Each node's patch, sum_k w_k O_k; see :func:`idekernels.operations.compose`."""
    device = devices.current()
    photos, nodes, k, channels, patch, _ = targets.shape
    out = device.xp.empty((photos, nodes, channels, patch, patch), np.float32)
    items = launch.number(nodes * channels * patch**2)
    device.module(source_text(COMPOSE), compose_options(k, patch, channels)).launch(
        "compose", launch.blocks(launch.blocks_for(int(items))[0], photos, 1), launch.THREADS,
        (launch.whole_words(targets), weights, np.int32(nodes), out),
    )  # fmt: skip
    return out


@cache
def compose_options(kept: int, patch: int, channels: int) -> tuple[str, ...]:
    """The compiler's options for compose.cu."""
    return launch.compiler_options(KEPT=kept, PATCH=patch, PLANES=channels, THREADS=launch.THREADS)


def blend(patches: Any, grid: PatchGrid, window: Any) -> Any:
    """Weighted mean of the overlapping patches; see :func:`idekernels.operations.blend`."""
    return _blended(patches, grid, window, 0.0)


def _blended(patches: Any, grid: PatchGrid, window: Any, most: float) -> Any:
    """The weighted mean, or where ``most`` is above 0 its shares of that, clipped to [0, 1]."""
    device = devices.current()
    photos, _, channels = patches.shape[:3]
    out = device.xp.empty((photos, channels, grid.height, grid.width), np.float32)
    blocks = launch.blocks(-(-grid.width // WARP), -(-grid.height // BLEND_WARPS), photos * channels)
    device.module(source_text(BLEND), blend_options(grid.patch, grid.step, channels)).launch(
        "blend", blocks, WARP * BLEND_WARPS,
        (patches, device.constant(window.astype(np.float32)), np.int32(grid.height), np.int32(grid.width),
         *map(np.int32, grid.shape), np.float32(most), out),
    )  # fmt: skip
    return out


@cache
def blend_options(patch: int, step: int, channels: int) -> tuple[str, ...]:
    """The compiler's options for blend.cu."""
    return launch.compiler_options(PATCH=patch, STEP=step, PLANES=channels, WARPS=BLEND_WARPS)


def levels(patches: Any, grid: PatchGrid, window: Any) -> Any:
    """Pictures in [0, 1]; see :meth:`idekernels.backends.protocol.Backend.levels`."""
    return cutting.quilted(patches, grid, PEAK) if window is None else _blended(patches, grid, window, PEAK)


def rounded(levels: Any) -> Any:
    """Images on the host; see :meth:`idekernels.backends.protocol.Backend.rounded`."""
    device = devices.current()
    photos, channels, height, width = levels.shape
    out = device.xp.empty((photos, height, width, channels), np.uint8)
    pixels = launch.number(height * width)
    device.module(source_text(ROUND), round_options(channels)).launch(
        "round_levels", launch.blocks(launch.blocks_for(int(pixels))[0], photos, 1), launch.THREADS,
        (device.xp.ascontiguousarray(levels), pixels, out),
    )  # fmt: skip
    images = out.get()
    return images[..., 0] if channels == 1 else images


@cache
def round_options(channels: int) -> tuple[str, ...]:
    """The compiler's options for round.cu."""
    return launch.compiler_options(PLANES=channels, THREADS=launch.THREADS)

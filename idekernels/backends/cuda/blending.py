"""Patches to a picture on the device: weighted sums of candidates, then averaged or feathered (cut: cutting.py)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import launch
from idekernels.grid import PatchGrid


def compose(targets: Any, weights: Any) -> Any:
    """Each node's patch, sum_k w_k O_k; see :func:`idekernels.operations.compose`."""
    device = devices.current()
    photos, nodes, _, channels, patch, _ = targets.shape
    out = device.xp.empty((photos, nodes, channels, patch, patch), np.float32)
    device.jit(compose_kernel)((nodes, photos, 1), (launch.THREADS, 1, 1), targets, weights, out)
    return out


def blend(patches: Any, grid: PatchGrid, window: Any) -> Any:
    """Weighted mean of the overlapping patches; see :func:`idekernels.operations.blend`."""
    device = devices.current()
    xp, (photos, _, channels) = device.xp, patches.shape[:3]
    out = xp.empty((photos, channels, grid.height, grid.width), np.float32)
    down, across = (xp.asarray(_covering(*axis, grid.patch)) for axis in _axes(grid))
    anchors = xp.asarray(grid.rows), xp.asarray(grid.columns)
    blocks = (launch.blocks_for(grid.height * grid.width)[0], photos * channels, 1)
    shares = xp.asarray(window.astype(np.float32))
    device.jit(blend_kernel)(blocks, (launch.THREADS, 1, 1), patches, *anchors, down, across, shares, out)
    return out


def _axes(grid: PatchGrid) -> tuple[tuple[Any, int], tuple[Any, int]]:
    return (grid.rows, grid.height), (grid.columns, grid.width)


def _covering(anchors: Any, length: int, patch: int) -> Any:
    """Per pixel of an axis the first anchor whose patch covers it, and the one after the last: (length, 2) int32."""
    pixels = np.arange(length)
    first = np.searchsorted(anchors, pixels - patch, side="right")
    return np.stack([first, np.searchsorted(anchors, pixels, side="right")], axis=1).astype(np.int32)


def compose_kernel(targets, weights, out):  # type: ignore[no-untyped-def]
    """The nodes' patches, sum_k w_k O_k; blocks (N, B).

    targets (B, N, K, C, P, P) uint8, weights (B, N, K) float32, out (B, N, C, P, P) float32, written.
    """
    node, photo = cuda.blockIdx.x, cuda.blockIdx.y
    patch = out.shape[3]
    for cell in range(cuda.threadIdx.x, out.shape[2] * patch * patch, cuda.blockDim.x):
        channel, row, column = cell // (patch * patch), cell // patch % patch, cell % patch
        total = np.float32(0)
        for i in range(weights.shape[2]):
            total += weights[photo, node, i] * np.float32(targets[photo, node, i, channel, row, column])
        out[photo, node, channel, row, column] = total


def blend_kernel(patches, rows, columns, down, across, window, out):  # type: ignore[no-untyped-def]
    """Weighted mean of the patches that cover a pixel; a pixel a thread, blocks (H W / threads, B C).

    patches (B, N, C, P, P) float32. rows, columns (of the grid's nodes) int32, anchors. down (H, 2) and across (W, 2)
    int32: the first patch row, or column, that covers a pixel, and the one after the last. window (P, P) float32. out
    (B, C, H, W) float32, written.
    """
    height, width = out.shape[2], out.shape[3]
    pixel = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if pixel >= height * width:
        return
    photo, channel = cuda.blockIdx.y // out.shape[1], cuda.blockIdx.y % out.shape[1]
    y, x = pixel // width, pixel % width
    total, weight = np.float32(0), np.float32(0)
    for r in range(down[y, 0], down[y, 1]):
        for c in range(across[x, 0], across[x, 1]):
            share = window[y - rows[r], x - columns[c]]
            total += share * patches[photo, r * len(columns) + c, channel, y - rows[r], x - columns[c]]
            weight += share
    out[photo, channel, y, x] = total / weight

"""Patches to a picture on the device: weighted sums of candidates, then averaged, feathered or cut along a seam."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import cuda, float32, int32

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


def cut(patches: Any, grid: PatchGrid) -> Any:
    """Quilt along minimum-error boundaries; see :func:`idekernels.operations.blend`.

    Patches on a falling diagonal of the grid do not touch one another and are laid together, wave by wave. Errors are
    float32: equal to the reference where patches hold whole levels, as those of one candidate do.
    """
    if grid.patch > launch.MOST_CUT:
        raise ValueError(
            f"patch is {grid.patch}, the backend cuda cuts {launch.MOST_CUT} at most; take cpu, or feather"
        )
    device = devices.current()
    xp, (photos, _, channels) = device.xp, patches.shape[:3]
    canvas = xp.zeros((photos, channels, grid.height, grid.width), np.float32)
    kernel = device.jit(cut_kernel(grid.patch))
    anchors = xp.asarray(grid.rows), xp.asarray(grid.columns)
    for wave in _waves(grid):
        blocks = (len(wave), photos, 1)
        kernel(blocks, (launch.warps_for(grid.patch), 1, 1), patches, *anchors, xp.asarray(wave), canvas)
    return canvas


def _axes(grid: PatchGrid) -> tuple[tuple[Any, int], tuple[Any, int]]:
    return (grid.rows, grid.height), (grid.columns, grid.width)


def _covering(anchors: Any, length: int, patch: int) -> Any:
    """Per pixel of an axis the first anchor whose patch covers it, and the one after the last: (length, 2) int32."""
    pixels = np.arange(length)
    first = np.searchsorted(anchors, pixels - patch, side="right")
    return np.stack([first, np.searchsorted(anchors, pixels, side="right")], axis=1).astype(np.int32)


def _waves(grid: PatchGrid) -> list[Any]:
    """Nodes (row, column) that can be laid together, each (n, 2) int32, in an order that keeps the raster's result."""
    reach = max(int((grid.columns < column + grid.patch).sum()) - at - 1 for at, column in enumerate(grid.columns))
    row, column = np.indices(grid.shape).reshape(2, -1)
    number = column + (reach + 1) * row  # lower for a patch's earlier neighbours; patches with the same do not overlap
    order = np.argsort(number, kind="stable")
    ends = np.flatnonzero(np.diff(number[order])) + 1
    return np.split(np.stack([row, column], axis=1)[order].astype(np.int32), ends)


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


@lru_cache(maxsize=64)
def cut_kernel(patch: int) -> Any:
    """Lay the patches of one wave, each cut along its seams; blocks (n, B), whole warps of threads.

    patches (B, N, C, P, P) float32. rows, columns (of the grid's nodes) int32, anchors. nodes (n, 2) int32, row and
    column of the wave's nodes. canvas (B, C, H, W) float32, read and written.
    """
    square = (patch, patch)

    @cuda.jit(device=True, inline="always")
    def seam(error, cost, path, overlap, turned, thread, threads):  # type: ignore[no-untyped-def]
        """The cheapest path down the first columns of the errors; ties go to the lowest column.

        error (P, P) float32, in shared memory like the next two. Written: cost (P, P) float32; path (P,) int32, the
        column of every row. overlap : int64, columns. turned : bool, down the transpose. thread, threads : int32, this
        one of the block's.
        """
        # The cheapest path down the first ``overlap`` columns of ``error`` (of its transpose if ``turned``); ties go to
        # the lowest column. In shared memory: error (P, P) float32; cost (P, P) float32 and path (P,) int32, written.
        for row in range(patch):
            for column in range(thread, overlap, threads):
                total = error[column, row] if turned else error[row, column]
                if row > 0:
                    least = cost[row - 1, column]
                    if column > 0:
                        least = min(least, cost[row - 1, column - 1])
                    if column + 1 < overlap:
                        least = min(least, cost[row - 1, column + 1])
                    total += least
                cost[row, column] = total
            cuda.syncthreads()
        if thread == 0:
            at = 0
            for column in range(1, overlap):
                if cost[patch - 1, column] < cost[patch - 1, at]:
                    at = column
            path[patch - 1] = at
            for back in range(1, patch):
                row = patch - 1 - back
                first, best = max(0, at - 1), max(0, at - 1)
                for column in range(first + 1, min(overlap, at + 2)):
                    if cost[row, column] < cost[row, best]:
                        best = column
                at = best if overlap > 0 else 0
                path[row] = at
        cuda.syncthreads()

    def cut(patches, rows, columns, nodes, canvas):  # type: ignore[no-untyped-def]
        error = cuda.shared.array(square, float32)
        cost = cuda.shared.array(square, float32)
        left = cuda.shared.array(patch, int32)
        top = cuda.shared.array(patch, int32)
        r, c, photo = nodes[cuda.blockIdx.x, 0], nodes[cuda.blockIdx.x, 1], cuda.blockIdx.y
        thread, threads, channels = cuda.threadIdx.x, cuda.blockDim.x, canvas.shape[1]
        node, y, x = r * len(columns) + c, rows[r], columns[c]
        beside = max(0, patch - (x - columns[c - 1])) if c > 0 else 0
        above = max(0, patch - (y - rows[r - 1])) if r > 0 else 0
        for cell in range(thread, patch * patch, threads):
            row, column = cell // patch, cell % patch
            total = np.float32(0)
            for channel in range(channels):
                apart = canvas[photo, channel, y + row, x + column] - patches[photo, node, channel, row, column]
                total += apart * apart
            error[row, column] = total
        cuda.syncthreads()
        seam(error, cost, left, beside, False, thread, threads)
        seam(error, cost, top, above, True, thread, threads)
        for cell in range(thread, patch * patch, threads):
            row, column = cell // patch, cell % patch
            if column >= left[row] and row >= top[column]:
                for channel in range(channels):
                    canvas[photo, channel, y + row, x + column] = patches[photo, node, channel, row, column]

    return cut

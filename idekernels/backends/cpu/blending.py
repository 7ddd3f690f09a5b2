"""Patches to a picture on the CPU: weighted sums of candidates, then averaged, feathered or cut along the best seam."""

from __future__ import annotations

import numpy as np
from numba import prange

from idekernels.backends.cpu.jit import compiled
from idekernels.backends.cpu.threads import at_most, worth

_COMPOSE, _BLEND = 0.16, 1.0  # ns a pixel of a candidate, of a composed patch, on one thread


def compose(targets, weights):
    """Each node's patch, sum_k w_k O_k; see :func:`idekernels.operations.compose`."""
    photos, nodes, _, channels, patch, _ = targets.shape
    out = np.empty((photos, nodes, channels, patch, patch), np.float32)
    with at_most(worth(len(targets), targets.size, _COMPOSE)):
        _compose(targets, weights, out)
    return out


def blend(patches, grid, window):
    """Weighted mean of the overlapping patches; see :func:`idekernels.operations.blend`."""
    photos, _, channels = patches.shape[:3]
    total = np.empty((photos, channels, grid.height, grid.width), np.float32)
    with at_most(min(photos * channels, worth(photos, patches.size, _BLEND))):
        _blend(patches, grid.rows, grid.columns, window, total)
    return total


def cut(patches, grid):
    """Quilt along minimum-error boundaries; see :func:`idekernels.operations.blend`."""
    photos, _, channels = patches.shape[:3]
    canvas = np.zeros((photos, channels, grid.height, grid.width), np.float32)
    with at_most(photos):
        _quilt(patches, grid.rows, grid.columns, canvas)
    return canvas


@compiled(parallel=True)
def _compose(targets, weights, out):
    """The nodes' patches, sum_k w_k O_k; a node a task.

    targets : (B, N, K, C, P, P) uint8. weights : (B, N, K) float32 or float64. out : (B, N, C, P, P) float32, written.
    """
    photos, nodes, k, channels, patch, _ = targets.shape
    for task in prange(photos * nodes):
        photo, node = task // nodes, task % nodes
        mine = out[photo, node].reshape(-1)
        mine[:] = np.float32(0)
        for i in range(k):
            weight = np.float32(weights[photo, node, i])
            if weight != 0:
                pixels = targets[photo, node, i].reshape(-1)
                for pixel in range(len(mine)):
                    mine[pixel] += weight * np.float32(pixels[pixel])


@compiled(parallel=True)
def _blend(patches, rows, columns, window, out):
    """Weighted mean of the patches that cover a pixel, summed in float64; a photo's channel a task.

    patches : (B, N, C, P, P) float32. rows, columns : (grid rows,) and (grid columns,) int32, anchors. window : (P, P)
    float64. out : (B, C, H, W) float32, written.
    """
    photos, _, channels, patch, _ = patches.shape
    _, _, height, width = out.shape
    for task in prange(photos * channels):
        photo, channel = task // channels, task % channels
        total, weight = np.zeros((height, width)), np.zeros((height, width))
        for node in range(len(rows) * len(columns)):
            y, x = rows[node // len(columns)], columns[node % len(columns)]
            for row in range(patch):
                for column in range(patch):
                    share = window[row, column]
                    total[y + row, x + column] += share * patches[photo, node, channel, row, column]
                    weight[y + row, x + column] += share
        for row in range(height):
            for column in range(width):
                out[photo, channel, row, column] = np.float32(total[row, column] / weight[row, column])


@compiled(parallel=True)
def _quilt(patches, rows, columns, canvas):
    """Lay the patches one after the other, each cut along its seams; a photo a task.

    patches : (B, N, C, P, P) float32. rows, columns : (grid rows,) and (grid columns,) int32, anchors. canvas : (B, C,
    H, W) float32, read and written.
    """
    photos, _, channels, patch, _ = patches.shape
    for photo in prange(photos):
        for node in range(len(rows) * len(columns)):
            r, c = node // len(columns), node % len(columns)
            here = canvas[photo, :, rows[r] : rows[r] + patch, columns[c] : columns[c] + patch]
            beside = max(0, patch - (columns[c] - columns[c - 1])) if c > 0 else 0
            above = max(0, patch - (rows[r] - rows[r - 1])) if r > 0 else 0
            error = np.zeros((patch, patch))
            for channel in range(channels):
                for row in range(patch):
                    for column in range(patch):
                        gap = np.float64(here[channel, row, column]) - patches[photo, node, channel, row, column]
                        error[row, column] += gap * gap
            left = seam(error[:, :beside])
            top = seam(error[:above].T)
            for row in range(patch):
                for column in range(patch):
                    if column >= left[row] and row >= top[column]:
                        here[:, row, column] = patches[photo, node, :, row, column]


@compiled()
def seam(error):
    """The cheapest path down the errors: the column it takes in every row, (length,) int64; ties to the lowest.

    error : (length, overlap) float64, squared differences.
    """
    length, overlap = error.shape
    path = np.zeros(length, np.int64)
    if overlap == 0:
        return path
    cost = error.copy()
    for row in range(1, length):
        for column in range(overlap):
            first, last = max(0, column - 1), min(overlap, column + 2)
            cost[row, column] += np.min(cost[row - 1, first:last])
    path[length - 1] = np.argmin(cost[length - 1])
    for row in range(length - 2, -1, -1):
        first, last = max(0, path[row + 1] - 1), min(overlap, path[row + 1] + 2)
        path[row] = first + np.argmin(cost[row, first:last])
    return path

"""Evidence and compatibility on the CPU: small Gram matrices of patches, summed in integers, then float32."""

from __future__ import annotations

import numpy as np
from numba import int32, prange

from idekernels.backends.cpu.jit import compiled

_WORDS = 32  # a patch's pixels are followed by zeros up to a multiple of this, so that vector sums leave no rest


def evidence(query, sources, grid):
    """Gram matrices of the residuals; see :func:`idekernels.operations.evidence`."""
    photos, nodes, k, planes = sources.shape[:4]
    out = np.empty((photos, nodes, planes, k, k), np.float32)
    _evidence(query, sources, grid.anchors, out)
    return out


def compatibility(targets, grid):
    """Overlap tables own (S_ij), other (S_ji), cross (C_ij); see :func:`idekernels.operations.compatibility`."""
    photos, _, k = targets.shape[:3]
    tables = np.empty((3, photos, len(grid.edges), k, k), np.float32)
    _compatibility(targets, grid.edges, grid.shifts, tables)
    return tables[0], tables[1], tables[2]


@compiled(parallel=True)
def _evidence(query, sources, anchors, out):
    photos, nodes, k, planes, patch, _ = sources.shape
    for task in prange(photos * nodes):
        photo, node = task // nodes, task % nodes
        y, x = anchors[node]
        residual = _rows(k, patch * patch)
        for plane in range(planes):
            for i in range(k):
                for row in range(patch):
                    for column in range(patch):
                        level = np.int16(query[photo, plane, y + row, x + column])
                        residual[i, row * patch + column] = (
                            np.int16(sources[photo, node, i, plane, row, column]) - level
                        )
            _gram(residual, out[photo, node, plane])


@compiled(parallel=True)
def _compatibility(targets, edges, shifts, tables):
    photos, _, k, channels, patch, _ = targets.shape
    for task in prange(photos * len(edges)):
        photo, edge = task // len(edges), task % len(edges)
        down, across = shifts[edge]
        high, wide = max(0, patch - down), max(0, patch - across)
        near, far = _rows(k, channels * high * wide), _rows(k, channels * high * wide)
        _cut(targets[photo, edges[edge, 0]], patch - high, patch - wide, high, wide, near)
        _cut(targets[photo, edges[edge, 1]], 0, 0, high, wide, far)
        _gram(near, tables[0, photo, edge])
        _gram(far, tables[1, photo, edge])
        for i in range(k):
            for j in range(k):
                tables[2, photo, edge, i, j] = np.float32(_dot(near[i], far[j]))


@compiled()
def _rows(k, pixels):
    """K rows of 16-bit pixels, padded."""
    return np.zeros((k, -(-pixels // _WORDS) * _WORDS), np.int16)


@compiled()
def _cut(patches, top, left, high, wide, out):
    """Copy a rectangle of every candidate's patch into one row of ``out``."""
    k, channels, _, _ = patches.shape
    for i in range(k):
        pixel = 0
        for channel in range(channels):
            for row in range(top, top + high):
                for column in range(left, left + wide):
                    out[i, pixel] = patches[i, channel, row, column]
                    pixel += 1


@compiled()
def _gram(rows, out):
    """All products of the rows with one another."""
    for i in range(len(rows)):
        for j in range(i + 1):
            product = np.float32(_dot(rows[i], rows[j]))
            out[i, j] = product
            out[j, i] = product


@compiled()
def _dot(one, other):
    total = int32(0)
    for pixel in range(len(one)):
        total = int32(total + int32(one[pixel]) * int32(other[pixel]))
    return total

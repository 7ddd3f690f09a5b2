"""Evidence and compatibility on the CPU: small Gram matrices of patches, summed in integers, then float32."""

from __future__ import annotations

import numpy as np
from numba import int32, prange

from idekernels.cpu.jit import compiled


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
        residual = np.empty((k, patch * patch), np.int16)
        for plane in range(planes):
            for i in range(k):
                for row in range(patch):
                    for column in range(patch):
                        level = np.int16(query[photo, plane, y + row, x + column])
                        residual[i, row * patch + column] = (
                            np.int16(sources[photo, node, i, plane, row, column]) - level
                        )
            for i in range(k):
                for j in range(i + 1):
                    product = np.float32(_dot(residual[i], residual[j]))
                    out[photo, node, plane, i, j] = product
                    out[photo, node, plane, j, i] = product


@compiled(parallel=True)
def _compatibility(targets, edges, shifts, tables):
    photos, _, k, channels, patch, _ = targets.shape
    for task in prange(photos * len(edges)):
        photo, edge = task // len(edges), task % len(edges)
        down, across = shifts[edge]
        high, wide = max(0, patch - down), max(0, patch - across)
        near = np.empty((k, channels * high * wide), np.int16)
        far = np.empty((k, channels * high * wide), np.int16)
        _cut(targets[photo, edges[edge, 0]], down, across, near)
        _cut(targets[photo, edges[edge, 1]], 0, 0, far, high, wide)
        for i in range(k):
            for j in range(k):
                tables[0, photo, edge, i, j] = np.float32(_dot(near[i], near[j]))
                tables[1, photo, edge, i, j] = np.float32(_dot(far[i], far[j]))
                tables[2, photo, edge, i, j] = np.float32(_dot(near[i], far[j]))


@compiled()
def _cut(patches, top, left, out, high=-1, wide=-1):
    """Copy a rectangle of every candidate's patch into one row of ``out``; to the patch's end by default."""
    k, channels, patch, _ = patches.shape
    bottom = patch if high < 0 else top + high
    right = patch if wide < 0 else left + wide
    for i in range(k):
        pixel = 0
        for channel in range(channels):
            for row in range(top, bottom):
                for column in range(left, right):
                    out[i, pixel] = patches[i, channel, row, column]
                    pixel += 1


@compiled()
def _dot(one, other):
    total = int32(0)
    for pixel in range(len(one)):
        total = int32(total + int32(one[pixel]) * int32(other[pixel]))
    return total

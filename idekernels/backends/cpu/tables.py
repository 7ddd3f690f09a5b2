"""Evidence and compatibility on the CPU: small Gram matrices of patches, summed in integers, then float32."""

from __future__ import annotations

import numpy as np
from numba import int32, prange

from idekernels.backends.cpu.jit import compiled
from idekernels.backends.cpu.threads import at_most, worth

_WORDS = 32  # a patch's pixels are followed by zeros up to a multiple of this, so that vector sums leave no rest
_COPY, _PRODUCT = 0.45, 0.06  # ns a pixel that is copied, and a product that is summed, on one thread


def evidence(query, sources, grid):
    """Gram matrices of the residuals; see :func:`idekernels.operations.evidence`."""
    photos, nodes, k, planes = sources.shape[:4]
    out = np.empty((photos, nodes, planes, k, k), np.float32)
    with at_most(worth(photos, sources.size, _COPY + _PRODUCT * k / 2)):
        _evidence(query, sources, grid.anchors, out)
    return out


def compatibility(targets, grid):
    """Overlap tables own (S_ij), other (S_ji), cross (C_ij); see :func:`idekernels.operations.compatibility`."""
    photos, nodes, k = targets.shape[:3]
    tables = np.empty((3, photos, len(grid.edges), k, k), np.float32)
    pixels = targets.size // nodes * len(grid.edges)  # all overlaps, and as many pixels again
    with at_most(worth(photos, pixels, _COPY + _PRODUCT * k)):
        _compatibility(targets, grid.edges, grid.shifts, tables)
    return tables[0], tables[1], tables[2]


@compiled(parallel=True)
def _evidence(query, sources, anchors, out):
    """Gram matrices of the residuals, candidate minus query; a node a task.

    query : (B, L, H, W) uint8. sources : (B, N, K, L, P, P) uint8. anchors : (N, 2) int32, row and column. out : (B, N,
    L, K, K) float32, written.
    """
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
    """Overlap tables of every edge; an edge a task.

    targets : (B, N, K, C, P, P) uint8. edges : (E, 2) int32, nodes. shifts : (E, 2) int32, pixels down and across.
    tables : (3, B, E, K, K) float32, written: own, other, cross.
    """
    photos, _, k, channels, patch, _ = targets.shape
    for task in prange(photos * len(edges)):
        photo, edge = task // len(edges), task % len(edges)
        down, across = shifts[edge]
        taken = _overlap(patch, channels, down, across)
        near, far = _rows(k, len(taken)), _rows(k, len(taken))
        _cut(targets[photo, edges[edge, 0]], down * patch + across, taken, near)
        _cut(targets[photo, edges[edge, 1]], 0, taken, far)
        _gram(near, tables[0, photo, edge])
        _gram(far, tables[1, photo, edge])
        for i in range(k):
            for j in range(k):
                tables[2, photo, edge, i, j] = np.float32(_dot(near[i], far[j]))


@compiled()
def _rows(k, pixels):
    """K rows of pixels for one patch each, (K, pixels rounded up to a multiple of 32) int16, zero.

    k, pixels : int64, rows and pixels of a row.
    """
    return np.zeros((k, -(-pixels // _WORDS) * _WORDS), np.int16)


@compiled()
def _overlap(patch, channels, down, across):
    """Which of the second patch's pixels, as they lie in memory, are in the overlap: (span,) int16, -1 (all ones) or 0.

    patch, channels : int64. down, across : int64, pixels from the first patch to the second.

    The first patch's pixels lie as far apart, so both are cut from start to end of the overlap without a loop over
    rows, which are too short for vectors.
    """
    high, wide = max(0, patch - down), max(0, patch - across)
    if high == 0 or wide == 0:
        return np.zeros(0, np.int16)
    taken = np.zeros(((channels - 1) * patch + high - 1) * patch + wide, np.int16)
    for channel in range(channels):
        for row in range(high):
            for column in range(wide):
                taken[(channel * patch + row) * patch + column] = -1
    return taken


@compiled()
def _cut(patches, start, taken, out):
    """Copy the overlap's pixels of every candidate's patch into one row of ``out``, zeros between them.

    patches : (K, C, P, P) uint8. start : int64, the overlap's first pixel. taken : (span,) int16, of :func:`_overlap`.
    out : (K, padded span) int16, written.
    """
    for i in range(len(patches)):
        _keep(patches[i].reshape(-1)[start : start + len(taken)], taken, out[i])


@compiled()
def _keep(pixels, taken, out):
    """Copy the pixels of one patch that are taken, and zeros for the others.

    pixels : (span,) uint8. taken : (span,) int16, -1 or 0. out : (padded span,) int16, written.
    """
    for pixel in range(len(taken)):
        out[pixel] = np.int16(pixels[pixel]) & taken[pixel]


@compiled()
def _gram(rows, out):
    """All products of the rows with one another.

    rows : (K, padded pixels) int16. out : (K, K) float32, written.
    """
    for i in range(len(rows)):
        for j in range(i + 1):
            product = np.float32(_dot(rows[i], rows[j]))
            out[i, j] = product
            out[j, i] = product


@compiled()
def _dot(one, other):
    """The product of two rows, summed in int32, which the checked patch sizes do not overflow.

    one, other : (padded pixels,) int16.
    """
    total = int32(0)
    for pixel in range(len(one)):
        total = int32(total + int32(one[pixel]) * int32(other[pixel]))
    return total

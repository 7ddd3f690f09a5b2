"""Evidence and compatibility on the device: small Gram matrices of patches, summed in 32-bit integers, then float32."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import cuda, int32

from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import launch
from idekernels.grid import PatchGrid

# Kernels are specialised by K and patch: their shared memory and loops have constant sizes. A block takes one node, or
# one edge; its threads take pairs of candidates and sum over the pixels, which lie in shared memory a chunk at a time
# with rows of odd length, so that neighbouring candidates stand in different banks.


def evidence(query: Any, sources: Any, grid: PatchGrid) -> Any:
    """Gram matrices of the residuals; see :func:`idekernels.operations.evidence`."""
    device = devices.current()
    photos, nodes, k, planes = sources.shape[:4]
    query = device.xp.asarray(query)
    out = device.xp.empty((photos, nodes, planes, k, k), np.float32)
    threads = launch.gram_threads(k * (k + 1) // 2)
    kernel = device.jit(evidence_kernel(k, grid.patch))
    kernel((nodes, photos * planes, 1), (threads, 1, 1), query, sources, device.xp.asarray(grid.anchors), out)
    return out


def compatibility(targets: Any, grid: PatchGrid) -> tuple[Any, Any, Any]:
    """Overlap tables own (S_ij), other (S_ji), cross (C_ij); see :func:`idekernels.operations.compatibility`."""
    device = devices.current()
    photos, _, k, channels = targets.shape[:4]
    xp, edges = device.xp, len(grid.edges)
    own, other, cross = (xp.empty((photos, edges, k, k), np.float32) for _ in range(3))
    if edges:
        threads = launch.gram_threads(k * (2 * k + 1))
        kernel = device.jit(compatibility_kernel(k, grid.patch, channels))
        links = xp.asarray(grid.edges), xp.asarray(grid.shifts)
        kernel((edges, photos, 1), (threads, 1, 1), targets, *links, own, other, cross)
    return own, other, cross


@lru_cache(maxsize=64)
def evidence_kernel(k: int, patch: int) -> Any:
    """Gram matrices of the residuals, candidate minus query; blocks (N, B L).

    query (B, L, H, W) uint8, sources (B, N, K, L, P, P) uint8, anchors (N, 2) int32; written: out (B, N, L, K, K)
    float32.
    """
    pixels, pairs = patch * patch, k * (k + 1) // 2
    chunk = launch.gram_chunk(k, pixels, 1)
    shape = (k, chunk | 1)

    def evidence(query, sources, anchors, out):  # type: ignore[no-untyped-def]
        residual = cuda.shared.array(shape, int32)
        node, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
        photo, plane = cuda.blockIdx.y // query.shape[1], cuda.blockIdx.y % query.shape[1]
        y, x = anchors[node, 0], anchors[node, 1]
        for first in range(0, pairs, threads):
            pair = first + thread
            i = 0
            while (i + 1) * (i + 2) // 2 <= pair and i < k - 1:
                i += 1
            j = min(pair - i * (i + 1) // 2, k - 1)
            total = np.int32(0)
            for start in range(0, pixels, chunk):
                cuda.syncthreads()  # until every thread has used the last chunk
                for cell in range(thread, k * chunk, threads):
                    candidate, pixel = cell // chunk, start + cell % chunk
                    apart = np.int32(0)
                    if pixel < pixels:
                        row, column = pixel // patch, pixel % patch
                        level = np.int32(query[photo, plane, y + row, x + column])
                        apart = np.int32(np.int32(sources[photo, node, candidate, plane, row, column]) - level)
                    residual[candidate, cell % chunk] = apart
                cuda.syncthreads()
                for pixel in range(chunk):
                    total = np.int32(total + np.int32(residual[i, pixel] * residual[j, pixel]))
            if pair < pairs:
                out[photo, node, plane, i, j] = np.float32(total)
                out[photo, node, plane, j, i] = np.float32(total)

    return evidence


@lru_cache(maxsize=64)
def compatibility_kernel(k: int, patch: int, channels: int) -> Any:
    """Overlap tables of every edge; blocks (E, B).

    targets (B, N, K, C, P, P) uint8, edges (E, 2) int32, nodes, shifts (E, 2) int32, pixels down and across. Written:
    own, other, cross (B, E, K, K) float32. Threads take pairs of candidates by number: those of ``own`` with i >= j
    (the table is symmetric), those of ``other`` likewise, then all of ``cross``.
    """
    half = k * (k + 1) // 2
    pairs = 2 * half + k * k
    chunk = launch.gram_chunk(k, channels * patch * patch, 2)
    shape = (2, k, chunk | 1)

    def compatibility(targets, edges, shifts, own, other, cross):  # type: ignore[no-untyped-def]
        cut = cuda.shared.array(shape, int32)
        edge, photo = cuda.blockIdx.x, cuda.blockIdx.y
        thread, threads = cuda.threadIdx.x, cuda.blockDim.x
        down, across = shifts[edge, 0], shifts[edge, 1]
        high, wide = max(0, patch - down), max(0, patch - across)
        pixels = channels * high * wide
        for first in range(0, pairs, threads):
            pair = min(first + thread, pairs - 1)
            table = min(pair // half, 2)
            place = pair - table * half
            i, j = place // k, place % k
            if table < 2:
                i = 0
                while (i + 1) * (i + 2) // 2 <= place:
                    i += 1
                j = place - i * (i + 1) // 2
            one = 1 if table == 1 else 0
            two = 0 if table == 0 else 1
            total = np.int32(0)
            for start in range(0, pixels, chunk):
                cuda.syncthreads()  # until every thread has used the last chunk
                for cell in range(thread, 2 * k * chunk, threads):
                    side, candidate = cell // (k * chunk), cell // chunk % k
                    pixel = start + cell % chunk
                    level = np.int32(0)
                    if pixel < pixels:
                        channel, row, column = pixel // (high * wide), pixel // wide % high, pixel % wide
                        if side == 0:
                            row, column = row + patch - high, column + patch - wide
                        level = np.int32(targets[photo, edges[edge, side], candidate, channel, row, column])
                    cut[side, candidate, cell % chunk] = level
                cuda.syncthreads()
                for pixel in range(chunk):
                    total = np.int32(total + np.int32(cut[one, i, pixel] * cut[two, j, pixel]))
            product = np.float32(total)
            if first + thread < pairs:
                if table == 0:
                    own[photo, edge, i, j] = product
                    own[photo, edge, j, i] = product
                elif table == 1:
                    other[photo, edge, i, j] = product
                    other[photo, edge, j, i] = product
                else:
                    cross[photo, edge, i, j] = product

    return compatibility

"""Exact patch matching on the CPU: squared differences summed once a cell and shared by the patches that overlap.

The cut lines of all patches divide the image into cells (5 x 5 pixels for patch 10, overlap 5). For each vertical
shift, a row of cells is summed for all horizontal shifts and 32 images at a time; patches add up their cells. The
order of the loops keeps the pixels in the first-level cache; ties are broken by place, so no order changes the result.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import prange, uint32

from idekernels.backends.cpu.jit import compiled, threads
from idekernels.backends.cpu.simd import BOTH_WORDS, LANES, add_lanes, cell_squares

WORST = np.uint32(0xFFFFFFFF)  # no patch is as far as this: operations.match refuses settings that could reach it
_NOWHERE = np.int64(2**62)
_ROWS_PER_TASK = 13  # 75 image rows of 200 columns and 32 images fill half a megabyte, a second-level cache


class Axis(NamedTuple):
    """The patches along an axis: patch r covers cells first[r] .. stop[r], cell s the pixels cuts[s] .. cuts[s + 1]."""

    anchors: Any  # (R,) int64
    cuts: Any  # (S + 1,) int64
    first: Any  # (R,) int64
    stop: Any  # (R,) int64


def cut_axis(anchors: np.ndarray, patch: int) -> Axis:
    """Divide an axis at every border of a patch."""
    starts = anchors.astype(np.int64)
    cuts = np.unique(np.concatenate([starts, starts + patch]))
    return Axis(starts, cuts, np.searchsorted(cuts, starts), np.searchsorted(cuts, starts + patch))


def match(query, prepared, grid, radius, k, exclude):
    """Find the K nearest patches; see :func:`idekernels.operations.match` for the meaning.

    Returns place (image * H + row) * W + column, (B, N, K) int64, and distance, (B, N, K) uint32.
    """
    photos = len(query)
    weights = np.array(prepared.bank.weights, np.uint32)
    distance = np.full((photos, grid.nodes, k), WORST, np.uint32)
    place = np.full((photos, grid.nodes, k), _NOWHERE, np.int64)
    down, across = cut_axis(grid.rows, grid.patch), cut_axis(grid.columns, grid.patch)
    chunks = _chunks(photos, len(grid.rows))
    doubled = query.astype(np.uint32) * np.uint32(BOTH_WORDS)
    for first, images, block in prepared.blocks():
        barred = _barred(first, images, exclude)
        _match_block(doubled, block, weights, first, barred, down, across, radius, chunks, distance, place)
    return place, distance


def _chunks(photos, rows):
    """How many runs of patch rows a photo is cut into: as few as fit the cache, as many for every thread."""
    chunks, workers = -(-rows // _ROWS_PER_TASK), threads()
    if photos < workers:
        chunks = -(-chunks // workers) * workers
    return min(rows, chunks)


def _barred(first, images, exclude):
    """All ones where a lane of the block holds no image, or one that the photo must not use: (B, 32) uint32."""
    ids = np.arange(first, first + LANES)
    barred = (exclude[:, :, None] == ids).any(axis=1) | (ids >= first + images)
    return np.where(barred, WORST, np.uint32(0))


@compiled(parallel=True)
def _match_block(query, block, weights, first, barred, down, across, radius, chunks, distance, place):
    rows = len(down.anchors)
    for task in prange(len(query) * chunks):
        photo, chunk = task // chunks, task % chunks
        begin, end = chunk * rows // chunks, (chunk + 1) * rows // chunks
        if begin < end:
            _match_rows(
                query[photo], block, weights, first, barred[photo], down, across, radius, begin, end,
                distance[photo], place[photo],
            )  # fmt: skip


@compiled()
def _match_rows(query, block, weights, first, barred, down, across, radius, begin, end, distance, place):
    """Match the patch rows begin .. end of one photo against one block, one vertical shift after the other."""
    height = block.shape[1]
    shifts, ring = 2 * radius + 1, np.max(down.stop - down.first)
    cells = np.empty((len(across.cuts) - 1, shifts, LANES), np.uint32)
    strips = np.empty((ring, len(across.anchors), shifts, LANES), np.uint32)  # a patch's width, one cell high
    total = np.empty(LANES, np.uint32)
    for dy in range(-radius, radius + 1):
        row = begin
        for cell in range(down.first[begin], down.stop[end - 1]):
            top, bottom = down.cuts[cell], down.cuts[cell + 1]
            if top + dy >= 0 and bottom + dy <= height:
                _sum_cells(query, block, weights, top, bottom, dy, across.cuts, radius, cells, total)
                _join_cells(cells, across, radius, block.shape[2], strips[cell % ring])
            while row < end and down.stop[row] == cell + 1:
                if down.anchors[row] + dy >= 0 and bottom + dy <= height:
                    nodes = slice(row * len(across.anchors), (row + 1) * len(across.anchors))
                    runs = (down.first[row], down.stop[row], down.anchors[row] + dy)
                    _keep_nearest(
                        strips,
                        runs,
                        across,
                        radius,
                        block.shape,
                        first,
                        barred,
                        total,
                        distance[nodes],
                        place[nodes],
                    )
                row += 1


@compiled()
def _sum_cells(query, block, weights, top, bottom, dy, cuts, radius, cells, scratch):
    """Weighted squared differences of one row of cells, for every horizontal shift that stays inside."""
    planes, height, width, _ = block.shape
    pixels, levels, sums, part = block.ctypes.data, query.ctypes.data, cells.ctypes.data, scratch.ctypes.data
    for plane in range(planes):
        alone = plane == 0 and weights[0] == 1
        below, beside = (plane * height + top + dy) * width, (plane * height + top) * width
        for cell in range(len(cuts) - 1):
            left, right = cuts[cell], cuts[cell + 1]
            for dx in range(max(-radius, -left), min(radius, width - right) + 1):
                out = sums + (cell * (2 * radius + 1) + dx + radius) * LANES * 4
                cell_squares(
                    pixels + (below + left + dx) * LANES, width * LANES, levels + (beside + left) * 4, width,
                    bottom - top, right - left, out if alone else part,
                )  # fmt: skip
                if not alone:
                    _add_weighted(cells[cell, dx + radius], scratch, weights[plane], plane == 0)


@compiled()
def _add_weighted(sums, part, weight, start):
    for lane in range(LANES):
        before = uint32(0) if start else sums[lane]
        sums[lane] = uint32(before + weight * part[lane])


@compiled()
def _join_cells(cells, across, radius, width, strips):
    """Add the cells that lie side by side in each patch, for every shift at once."""
    for column in range(len(across.anchors)):
        begin, end = across.first[column], across.stop[column]
        low = max(0, radius - across.anchors[column])
        high = min(2 * radius + 1, radius + 1 + width - across.cuts[end])
        strip = strips[column, low:high].reshape(-1)
        if end - begin == 2:  # the usual case, in one pass
            _add(cells[begin, low:high].reshape(-1), cells[begin + 1, low:high].reshape(-1), strip)
        else:
            strip[:] = cells[begin, low:high].reshape(-1)
            for cell in range(begin + 1, end):
                _add(strip, cells[cell, low:high].reshape(-1), strip)


@compiled()
def _add(one, other, out):
    for lane in range(len(out)):
        out[lane] = uint32(one[lane] + other[lane])


@compiled()
def _keep_nearest(strips, runs, across, radius, shape, first, barred, total, distance, place):
    """Add the strips of one row of patches and keep what is nearer than the K-th so far."""
    begin, end, y = runs
    _, height, width, _ = shape
    ring, columns, shifts, _ = strips.shape
    nothing = np.zeros(LANES, np.uint32)
    sums, out, bar, none = strips.ctypes.data, total.ctypes.data, barred.ctypes.data, nothing.ctypes.data
    for column in range(columns):
        left, right = across.anchors[column], across.cuts[across.stop[column]]
        nearest, where = distance[column], place[column]
        for dx in range(max(-radius, -left), min(radius, width - right) + 1):
            strip = sums + (column * shifts + dx + radius) * LANES * 4
            apart = columns * shifts * LANES * 4
            least, so_far = WORST, none
            for cell in range(begin, end):
                last = cell == end - 1
                least = add_lanes(out, so_far, strip + cell % ring * apart, bar if last else none)
                so_far = out
            if least > nearest[-1] or least == WORST:
                continue
            for lane in range(LANES):
                if total[lane] <= nearest[-1] and total[lane] != WORST:
                    _insert(nearest, where, total[lane], ((first + lane) * height + y) * width + left + dx)


# Not idekernels.merging: the list that grows here is what lets _keep_nearest skip patches farther than its K-th, and
# blocks of images share it, so there are no lists to merge afterwards.
@compiled()
def _insert(nearest, where, distance, place):
    """Put one patch into the ascending list of the K nearest; a tie goes to the lower place."""
    slot = len(nearest) - 1
    if distance == nearest[slot] and place >= where[slot]:
        return
    while slot > 0 and (nearest[slot - 1] > distance or (nearest[slot - 1] == distance and where[slot - 1] > place)):
        nearest[slot], where[slot] = nearest[slot - 1], where[slot - 1]
        slot -= 1
    nearest[slot], where[slot] = distance, place

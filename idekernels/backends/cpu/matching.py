"""Exact patch matching on the CPU: products of bank and query pixels, summed once a cell and shared by patches.

|p - x|^2 = |p|^2 - 2 p.x + |x|^2. The cut lines of all patches divide the image into cells (5 x 5 pixels for patch 10,
overlap 5), and a cell's products are summed for all horizontal shifts and 32 images at a time; patches add up their
cells. The walk goes down the bank's rows: what a row needs is prepared once for all vertical shifts that meet it.
All sums are modulo 2^32, which the final distances are below; ties are broken by place, so no order changes the result.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import get_num_threads, prange, uint32

from idekernels.backends.cpu.jit import compiled
from idekernels.backends.cpu.simd import (
    LANES,
    LEVEL,
    add_words,
    cell_products,
    lowest_bit,
    pack_pixels,
    patch_distances,
    pixels_per_word,
    take_ticket,
)

WORST = np.uint32(0xFFFFFFFF)  # no patch is as far as this: operations.match refuses settings that could reach it
_NOWHERE = np.int64(2**62)
_WORD = 4  # bytes
_COLUMNS = 13  # of patches a task: their strips and pixels stay in a second-level cache
_STRIPS = 2**19  # bytes of strips that a thread keeps, if the radius leaves a choice
_TASKS = 4  # a thread, at least: one that the system interrupts leaves the rest to the others


class Axis(NamedTuple):
    """The patches along an axis: patch r covers cells first[r] .. stop[r], cell s the pixels cuts[s] .. cuts[s + 1]."""

    anchors: Any  # (R,) int64
    cuts: Any  # (S + 1,) int64
    first: Any  # (R,) int64
    stop: Any  # (R,) int64
    ends: Any  # (S,) int64, the patch whose last cell this is; -1 for none


def cut_axis(anchors: np.ndarray, patch: int) -> Axis:
    """Divide an axis at every border of a patch."""
    starts = anchors.astype(np.int64)
    cuts = np.unique(np.concatenate([starts, starts + patch]))
    stop = np.searchsorted(cuts, starts + patch)
    ends = np.full(len(cuts) - 1, -1, np.int64)
    ends[stop - 1] = np.arange(len(starts))
    return Axis(starts, cuts, np.searchsorted(cuts, starts), stop, ends)


class Search(NamedTuple):
    """What all tasks of one search share."""

    query: Any  # (B, L, H, W) uint8
    blocks: Any  # (blocks, L, H, W, 32) uint8
    weights: Any  # (L,) uint32
    unit: bool  # whether all weights are 1
    first: int  # image number of the blocks' first
    allowed: Any  # (B, blocks) uint32, bit n for image n of a block
    down: Axis
    across: Axis
    radius: int


class Share(NamedTuple):
    """How the patches are shared out: each photo's in ``chunks`` runs of rows and ``tiles`` runs of columns."""

    chunks: int
    tiles: int
    shifts: int  # vertical shifts that are followed at a time


class Scratch(NamedTuple):
    """What a thread works in."""

    words: Any  # the query's cells, packed, (S rows, S columns, words) uint32
    offsets: Any  # where the bank's words for them start, from the packed row's column of the cell, int64
    packed: Any  # words of one row of cells of the bank, (words of a column, columns, 32) uint32
    cells: Any  # (S columns, shifts, 32) uint32
    strips: Any  # (cells of a patch, vertical shifts, columns of patches, shifts, 32) uint32
    columns: Any  # norms of columns of pixels as high as a patch, (columns, 32) uint32
    norms: Any  # of patches, (columns, 32) uint32
    level: Any  # the query's patches' norms, (R rows, R columns) uint32
    total: Any  # (shifts, 32) uint32
    near: Any  # (shifts,) uint32
    nothing: Any  # (shifts, 32) uint32, zero


def match(query, prepared, grid, radius, k, exclude):
    """Find the K nearest patches; see :func:`idekernels.operations.match` for the meaning.

    Returns place (image * H + row) * W + column, (B, N, K) int64, and distance, (B, N, K) uint32.
    """
    photos = len(query)
    common = np.gcd.reduce(np.array(prepared.bank.weights, np.int64))
    weights = (np.array(prepared.bank.weights, np.int64) // common).astype(np.uint32)
    distance = np.full((photos, grid.nodes, k), WORST, np.uint32)
    place = np.full((photos, grid.nodes, k), _NOWHERE, np.int64)
    down, across = cut_axis(grid.rows, grid.patch), cut_axis(grid.columns, grid.patch)
    tiles = -(-len(grid.columns) // _COLUMNS)
    share = Share(_chunks(photos * tiles, len(grid.rows)), tiles, _shifts(down, radius))
    for first, images, blocks in prepared.blocks():
        allowed = _allowed(first, images, len(blocks), exclude)
        _match_blocks(
            query, blocks, weights, bool((weights == 1).all()), first, allowed, down, across, radius, share,
            get_num_threads(), distance, place,
        )  # fmt: skip
    return place, distance if common == 1 else distance * np.uint32(common)


def _chunks(photos, rows):
    """How many runs of patch rows a photo, or a run of its columns, is cut into: enough for every thread."""
    return min(rows, -(-_TASKS * get_num_threads() // photos))


def _shifts(down, radius):
    """How many vertical shifts are followed at a time."""
    ring, shifts = int((down.stop - down.first).max()), 2 * radius + 1
    return max(1, min(shifts, _STRIPS // (ring * _COLUMNS * shifts * LANES * _WORD)))


def _allowed(first, images, blocks, exclude):
    """Bit n is set where lane n of a block holds an image that the photo may use: (B, blocks) uint32."""
    ids = np.arange(first, first + blocks * LANES)
    allowed = ~(exclude[:, :, None] == ids).any(axis=1) & (ids < first + images)
    bits = np.uint32(1) << np.arange(LANES, dtype=np.uint32)
    return (allowed.reshape(len(exclude), blocks, LANES) * bits).sum(axis=2, dtype=np.uint32)


@compiled(parallel=True)
def _match_blocks(
    query, blocks, weights, unit, first, allowed, down, across, radius, share, threads, distance, place
):
    tickets = np.zeros(1, np.int64)
    for _ in prange(threads):
        search = Search(query, blocks, weights, unit, first, allowed, down, across, radius)
        _work(search, share, tickets, distance, place)


@compiled()
def _work(search, share, tickets, distance, place):
    """Do tasks until there are none left, whatever the other threads do."""
    rows, columns = len(search.down.anchors), len(search.across.anchors)
    tasks = len(search.query) * share.chunks * share.tiles
    task = take_ticket(tickets.ctypes.data)
    if task >= tasks:
        return
    scratch = _scratch(search, share)
    while task < tasks:
        photo, part = task // (share.chunks * share.tiles), task % (share.chunks * share.tiles)
        chunk, tile = part // share.tiles, part % share.tiles
        box = (
            chunk * rows // share.chunks, (chunk + 1) * rows // share.chunks,
            tile * columns // share.tiles, (tile + 1) * columns // share.tiles,
        )  # fmt: skip
        if box[0] < box[1] and box[2] < box[3]:
            _match_box(search, share.shifts, photo, box, scratch, distance[photo], place[photo])
        task = take_ticket(tickets.ctypes.data)


@compiled()
def _words_of(height, width):
    """How many words a cell of one plane takes: whole words of a column's pixels, then of the last rows' pixels."""
    group = pixels_per_word()
    return height // group * width + height % group * (-(-width // group))


@compiled()
def _scratch(search, share):
    down, across, radius = search.down, search.across, search.radius
    planes, height, width = search.query.shape[1:]
    shifts, patch = 2 * radius + 1, down.cuts[down.stop[0]] - down.anchors[0]
    group = pixels_per_word()
    rows, columns = 0, 0  # the most cells of a task
    high, wide, deep, span = 0, 0, 0, 0
    for s in range(len(down.cuts) - 1):
        tall = down.cuts[s + 1] - down.cuts[s]
        high = max(high, tall)
        deep = max(deep, tall // group + tall % group)
    count = 0
    for t in range(len(across.cuts) - 1):
        for s in range(len(down.cuts) - 1):
            count = max(count, _words_of(down.cuts[s + 1] - down.cuts[s], across.cuts[t + 1] - across.cuts[t]))
    patches, most = 0, 0
    for chunk in range(share.chunks):
        begin = chunk * len(down.anchors) // share.chunks
        end = (chunk + 1) * len(down.anchors) // share.chunks
        if begin < end:
            most = max(most, end - begin)
            rows = max(rows, down.stop[end - 1] - down.first[begin])
    for tile in range(share.tiles):
        west = tile * len(across.anchors) // share.tiles
        east = (tile + 1) * len(across.anchors) // share.tiles
        if west < east:
            patches = max(patches, east - west)
            columns = max(columns, across.stop[east - 1] - across.first[west])
            left = max(0, across.anchors[west] - radius)
            right = min(width, across.anchors[east - 1] + patch + radius)
            span = max(span, right - left)
    ring = np.max(down.stop - down.first)
    return Scratch(
        np.empty((rows, columns, planes * count), np.uint32),
        np.empty((rows, columns, planes * count), np.int64),
        np.empty((planes * deep, span, LANES), np.uint32),
        np.empty((columns, shifts, LANES), np.uint32),
        np.empty((ring, share.shifts, patches, shifts, LANES), np.uint32),
        np.empty((span, LANES), np.uint32),
        np.empty((span, LANES), np.uint32),
        np.empty((most, patches), np.uint32),
        np.empty((shifts, LANES), np.uint32),
        np.empty(shifts, np.uint32),
        np.zeros((shifts, LANES), np.uint32),
    )


@compiled()
def _match_box(search, together, photo, box, scratch, distance, place):
    """Match the patches of rows begin .. end and columns west .. east of one photo, one block after the other."""
    begin, end, west, east = box
    down, across, radius = search.down, search.across, search.radius
    height, width = search.blocks.shape[2:4]
    patch = down.cuts[down.stop[0]] - down.anchors[0]
    top, bottom = down.first[begin], down.stop[end - 1]
    left = max(0, across.anchors[west] - radius)
    right = min(width, across.anchors[east - 1] + patch + radius)
    _pack_query(search, photo, box, scratch)
    ring = len(scratch.strips)
    for number in range(len(search.blocks)):
        block = search.blocks[number]
        allowed = search.allowed[photo, number]
        first = search.first + number * LANES
        window = -2 * height
        for low in range(-radius, radius + 1, together):
            high = min(radius, low + together - 1)
            start = top
            for y in range(max(0, down.cuts[top] + low), min(height, down.cuts[bottom - 1] + high + 1)):
                packed = 0
                while start < bottom and down.cuts[start] + high < y:
                    start += 1
                cell = start
                while cell < bottom and down.cuts[cell] + low <= y:
                    tall, dy = down.cuts[cell + 1] - down.cuts[cell], y - down.cuts[cell]
                    if y + tall <= height:
                        if tall != packed:
                            _pack_rows(block, y, tall, left, right, scratch.packed)
                            packed = tall
                        _multiply_cells(search, box, cell, left, scratch)
                        strips = scratch.strips[cell % ring, dy - low].ctypes.data
                        _join_cells(search, box, scratch.cells.ctypes.data, scratch.nothing.ctypes.data, strips)
                        row = down.ends[cell]
                        if row >= begin and row < end and down.anchors[row] + dy >= 0:
                            now = down.anchors[row] + dy
                            if now != window:
                                _move_norms(block, search.weights, window, now, patch, left, right, scratch)
                                window = now
                            _keep_nearest(search, box, row, dy, dy - low, left, first, allowed, scratch, distance, place)
                    cell += 1


@compiled()
def _pack_query(search, photo, box, scratch):
    """The query's cells as words of LEVEL - pixel, and where the bank's words for them lie; the patches' norms."""
    begin, end, west, east = box
    down, across, query = search.down, search.across, search.query[photo]
    group, line = pixels_per_word(), scratch.packed.shape[1] * LANES * _WORD
    bits = 32 // group
    mask = (1 << bits) - 1
    top, near = down.first[begin], across.first[west]
    for s in range(top, down.stop[end - 1]):
        tall = down.cuts[s + 1] - down.cuts[s]
        for t in range(near, across.stop[east - 1]):
            words, offsets = scratch.words[s - top, t - near], scratch.offsets[s - top, t - near]
            y, x, wide = down.cuts[s], across.cuts[t], across.cuts[t + 1] - across.cuts[t]
            count, deep = 0, 0
            for plane in range(len(query)):
                for down_word in range(tall // group):
                    for column in range(wide):
                        word = 0
                        for pixel in range(group):
                            level = LEVEL - np.int64(query[plane, y + down_word * group + pixel, x + column])
                            word |= (level & mask) << (pixel * bits)
                        words[count], offsets[count] = word, deep * line + column * LANES * _WORD
                        count += 1
                    deep += 1
                for row in range(tall // group * group, tall):
                    for column in range(0, wide, group):
                        word = 0
                        for pixel in range(min(group, wide - column)):
                            level = LEVEL - np.int64(query[plane, y + row, x + column + pixel])
                            word |= (level & mask) << (pixel * bits)
                        words[count], offsets[count] = word, deep * line + column * LANES * _WORD
                        count += 1
                    deep += 1
    for row in range(begin, end):
        for column in range(west, east):
            y, x = down.anchors[row], across.anchors[column]
            patch = down.cuts[down.stop[row]] - y
            norm = uint32(0)
            for plane in range(len(query)):
                part = uint32(0)
                for line_ in range(patch):
                    for pixel in range(patch):
                        level = uint32(query[plane, y + line_, x + pixel])
                        part += level * level
                norm += search.weights[plane] * part
            scratch.level[row - begin, column - west] = norm


@compiled()
def _pack_rows(block, y, tall, left, right, packed):
    """Pack the bank's rows y .. y + tall for every column: words of one column, then words of the last rows."""
    planes, height, width, _ = block.shape
    group, pixels, out = pixels_per_word(), block.ctypes.data, packed.ctypes.data
    line = packed.shape[1] * LANES * _WORD
    for plane in range(planes):
        for row in range(0, tall // group * group, group):
            first = pixels + ((plane * height + y + row) * width + left) * LANES
            for x in range(right - left):
                pack_pixels(first + x * LANES, width * LANES, out + x * LANES * _WORD)
            out += line
        for row in range(tall // group * group, tall):
            first = pixels + ((plane * height + y + row) * width + left) * LANES
            for x in range(right - left):
                pack_pixels(first + x * LANES, LANES, out + x * LANES * _WORD)
            out += line


@compiled()
def _multiply_cells(search, box, cell, left, scratch):
    """Products of one row of cells with the packed rows, for every horizontal shift that stays inside."""
    begin, end, west, east = box
    down, across, radius = search.down, search.across, search.radius
    planes, _, width = search.query.shape[1:]
    near, tall = across.first[west], down.cuts[cell + 1] - down.cuts[cell]
    s = cell - down.first[begin]
    packed = scratch.packed.ctypes.data
    for t in range(near, across.stop[east - 1]):
        x, stop = across.cuts[t], across.cuts[t + 1]
        low, high = max(-radius, -x), min(radius, width - stop)
        # a shift that leaves the box's pixels belongs to no patch of the box
        count = _words_of(tall, stop - x)
        words, offsets = scratch.words[s, t - near].ctypes.data, scratch.offsets[s, t - near].ctypes.data
        bank = packed + (x + low - left) * LANES * _WORD
        out = scratch.cells[t - near, low + radius :].ctypes.data
        if planes == 1 or search.unit:
            cell_products(bank, words, offsets, count * planes, high + 1 - low, 0, out)
        else:
            scratch.cells[t - near] = 0
            for plane in range(planes):
                step = plane * count
                cell_products(
                    bank, words + step * 4, offsets + step * 8, count, high + 1 - low, np.int64(search.weights[plane]), out
                )


@compiled()
def _join_cells(search, box, cells, nothing, strips):
    """Add the cells that lie side by side in each patch, for every shift at once."""
    _, _, west, east = box
    across, radius, width = search.across, search.radius, search.blocks.shape[3]
    shifts = 2 * radius + 1
    row = shifts * LANES * _WORD
    for column in range(west, east):
        begin, end = across.first[column] - across.first[west], across.stop[column] - across.first[west]
        low = max(0, radius - across.anchors[column])
        high = min(shifts, radius + 1 + width - across.cuts[across.stop[column]])
        count, apart = high - low, low * LANES * _WORD
        strip = strips + (column - west) * row + apart
        one = cells + begin * row + apart
        if end - begin == 1:
            add_words(one, nothing, strip, count)
            continue
        add_words(one, one + row, strip, count)
        for cell in range(begin + 2, end):
            add_words(strip, cells + cell * row + apart, strip, count)


@compiled()
def _move_norms(block, weights, old, new, patch, left, right, scratch):
    """Weighted sums of pixel (pixel - 2 LEVEL) of every patch of rows new .. new + patch, from those at ``old``."""
    columns, norms = scratch.columns, scratch.norms
    if abs(new - old) >= patch:
        columns[: right - left] = 0
        for row in range(new, new + patch):
            for plane in range(len(block)):
                _add_norms(block[plane, row, left:right].reshape(-1), weights[plane], columns.reshape(-1))
    else:
        step = 1 if new > old else -1
        for top in range(old, new, step):
            leaving, entering = (top, top + patch) if step > 0 else (top + patch - 1, top - 1)
            for plane in range(len(block)):
                _exchange_norms(
                    block[plane, leaving, left:right].reshape(-1), block[plane, entering, left:right].reshape(-1),
                    weights[plane], columns.reshape(-1),
                )  # fmt: skip
    for lane in range(LANES):
        norms[0, lane] = 0
    for x in range(patch):
        for lane in range(LANES):
            norms[0, lane] = uint32(norms[0, lane] + columns[x, lane])
    for x in range(1, right - left - patch + 1):
        for lane in range(LANES):
            norms[x, lane] = uint32(norms[x - 1, lane] + uint32(columns[x + patch - 1, lane] - columns[x - 1, lane]))


@compiled()
def _add_norms(pixels, weight, columns):
    for lane in range(len(pixels)):
        pixel = uint32(pixels[lane])
        columns[lane] = uint32(columns[lane] + uint32(weight * uint32(pixel * uint32(pixel - uint32(2 * LEVEL)))))


@compiled()
def _exchange_norms(leaving, entering, weight, columns):
    for lane in range(len(leaving)):
        old, new = uint32(leaving[lane]), uint32(entering[lane])
        change = uint32(uint32(new - old) * uint32(uint32(new + old) - uint32(2 * LEVEL)))
        columns[lane] = uint32(columns[lane] + uint32(weight * change))


@compiled()
def _keep_nearest(search, box, row, dy, slot, left, first, allowed, scratch, distance, place):
    """Add the strips of one row of patches and keep what is nearer than the K-th so far."""
    begin, _, west, east = box
    down, across, radius = search.down, search.across, search.radius
    _, _, height, width, _ = search.blocks.shape
    ring, together, patches, shifts, _ = scratch.strips.shape
    y, start, last, worst = down.anchors[row] + dy, down.first[row], down.stop[row] - 1, distance.shape[1] - 1
    line = LANES * _WORD
    strips, apart = scratch.strips.ctypes.data + slot * patches * shifts * line, together * patches * shifts * line
    total, norms = scratch.total.ctypes.data, scratch.norms.ctypes.data
    near, nothing = scratch.near.ctypes.data, scratch.nothing.ctypes.data
    for column in range(west, east):
        x, right = across.anchors[column], across.cuts[across.stop[column]]
        low, high = max(-radius, -x), min(radius, width - right)
        count = high + 1 - low
        strip = strips + ((column - west) * shifts + low + radius) * line
        one, other = strip + start % ring * apart, strip + last % ring * apart
        if start == last:
            one = nothing
        elif start + 1 < last:
            add_words(one, strip + (start + 1) % ring * apart, total, count)
            for cell in range(start + 2, last):
                add_words(total, strip + cell % ring * apart, total, count)
            one = total
        node = row * len(across.anchors) + column
        level, bound = scratch.level[row - begin, column - west], distance[node, worst]
        if not patch_distances(one, other, norms + (x + low - left) * line, level, bound, count, total, near):
            continue
        _insert_near(scratch, allowed, count, (first * height + y) * width + x + low, height * width, node, distance, place)


@compiled()
def _insert_near(scratch, allowed, count, base, apart, node, distance, place):
    """Insert the lanes that are near enough; lane 0's patch at the first shift is at place ``base``."""
    worst = distance.shape[1] - 1
    for dx in range(count):
        lanes = scratch.near[dx] & allowed
        while lanes:
            lane = lowest_bit(lanes)
            lanes &= lanes - uint32(1)
            if scratch.total[dx, lane] <= distance[node, worst]:
                _insert(distance, place, node, scratch.total[dx, lane], base + lane * apart + dx)


@compiled()
def _insert(distance, place, node, found, where):
    """Put one patch into a node's ascending list of the K nearest; a tie goes to the lower place."""
    slot = distance.shape[1] - 1
    if found == distance[node, slot] and where >= place[node, slot]:
        return
    while slot > 0:
        before = distance[node, slot - 1]
        if before < found or (before == found and place[node, slot - 1] < where):
            break
        distance[node, slot], place[node, slot] = before, place[node, slot - 1]
        slot -= 1
    distance[node, slot], place[node, slot] = found, where

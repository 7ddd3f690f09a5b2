"""Exact patch matching on the CPU: products of bank and query pixels, summed once a cell and shared by patches.

|p - x|^2 = |p|^2 - 2 p.x + |x|^2. The cut lines of all patches divide the image into cells (5 x 5 pixels for patch 10,
overlap 5), and a cell's products are summed for all horizontal shifts and 32 images at a time; patches add up their
cells. The walk goes down the bank's rows: what a row needs is prepared once for all vertical shifts that meet it.
All sums are modulo 2^32, which the final distances are below; ties are broken by place, so no order changes the result.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import prange, uint32, uint64

from idekernels.backends.cpu.jit import compiled, threads
from idekernels.backends.cpu.simd import (
    LANES,
    LEVEL,
    add_words,
    cell_products,
    clear_words,
    exchange_norms,
    insert_key,
    lowest_bit,
    pack_pixels,
    patch_distances,
    pixels_per_word,
    slide_norms,
    take_ticket,
)
from idekernels.merging import MISSING, NOWHERE

_FAR = np.uint64(2**64 - 1)  # the key of an empty entry, which no patch has: its distance would be past the limit
_FRONT = 8  # keys in front of a list, that make inserting simple; the list itself is a multiple of as many long
_WORD, _LINE = 4, 4 * LANES  # bytes
_COLUMNS = 20  # of patches a task: as many as have strips and pixels that fit a second-level cache
_STRIPS = 2**19  # bytes of strips that a thread keeps at most, unless those of one vertical shift are more
_TASKS = 4  # a thread, at least, so that the other threads take over tasks of one that the system interrupts

_inner = compiled(no_cpython_wrapper=True, no_cfunc_wrapper=True)  # never called from Python

_PATCH = np.dtype([(name, np.int64) for name in ("anchor", "first", "stop", "low", "count")])
_CELL = np.dtype([(name, np.int64) for name in ("start", "size", "ends", "low", "count")])


class Axis(NamedTuple):
    """The patches along an axis, and the cells that the borders of all patches divide it into.

    A patch covers the pixels from its anchor on and the cells first .. stop; ``ends`` is the patch whose last cell this
    is, -1 for none. The shifts low .. low + count, within the radius, keep a patch or a cell inside the image.
    """

    patches: Any  # (R,) of _PATCH
    cells: Any  # (S,) of _CELL


def cut_axis(anchors: np.ndarray, patch: int, length: int, radius: int) -> Axis:
    """Divide an axis of ``length`` pixels."""
    starts = anchors.astype(np.int64)
    cuts = np.unique(np.concatenate([starts, starts + patch]))
    axis = Axis(np.zeros(len(starts), _PATCH), np.zeros(len(cuts) - 1, _CELL))
    patches, cells = axis
    patches["anchor"], cells["start"], cells["size"] = starts, cuts[:-1], np.diff(cuts)
    patches["first"], patches["stop"] = np.searchsorted(cuts, starts), np.searchsorted(cuts, starts + patch)
    cells["ends"] = -1
    cells["ends"][patches["stop"] - 1] = np.arange(len(starts))
    for part, start, size in ((patches, starts, patch), (cells, cuts[:-1], cells["size"])):
        part["low"] = np.maximum(-radius, -start)
        part["count"] = np.minimum(radius, length - start - size) + 1 - part["low"]
    return axis


class Search(NamedTuple):
    """What all tasks of one search share."""

    query: Any  # (B, L, H, W) uint8
    blocks: Any  # (blocks, L, H, W, 32) uint8
    weights: Any  # (L,) uint32
    unit: bool  # whether all weights are 1
    first: int  # image number of the blocks' first, counted from where the keys' places start
    allowed: Any  # (B, blocks) uint32, bit n for image n of a block
    down: Axis
    across: Axis
    patch: int
    radius: int
    bits: int  # of a key, that hold the place; the others hold the distance
    k: int


class Share(NamedTuple):
    """How the patches are shared out: each photo's in ``chunks`` runs of rows and ``tiles`` runs of columns."""

    chunks: int
    tiles: int
    shifts: int  # vertical shifts that are followed at a time


class Box(NamedTuple):
    """The patches of one task, and what they see of the image's columns at any shift."""

    begin: int  # rows of patches
    end: int
    west: int  # columns of patches
    east: int
    left: int  # columns of pixels
    right: int


class Scratch(NamedTuple):
    """What a thread works in; a line is 32 uint32."""

    words: Any  # the query's cells, packed, (S rows, S columns, words) uint32
    offsets: Any  # bytes to the bank's words for them, from the packed rows' column of the cell, int64
    packed: Any  # lines of a row of cells of the bank, (words of a column, columns)
    cells: Any  # lines of products, (S columns, shifts)
    strips: Any  # lines, (cells of a patch less one, vertical shifts, columns of patches, shifts)
    columns: Any  # lines of norms of the bank's columns of pixels as high as a patch, (columns,)
    norms: Any  # lines of norms of the bank's patches, (columns,)
    level: Any  # norms of the query's patches, (R rows, R columns) uint32
    total: Any  # lines of distances, (shifts,)
    near: Any  # which lanes of ``total`` are near, (shifts,) uint32
    joined: Any  # lines, (shifts,)
    above: Any  # lines, (shifts,)
    nothing: Any  # lines of zeros, (shifts,)
    black: Any  # pixels that are 0, (columns, 32) uint8


class Places(NamedTuple):
    """Where a thread's scratch lies, in bytes: an array is seven arguments to a call, and innermost calls have many."""

    words: int
    offsets: int
    packed: int
    cells: int
    strips: int
    columns: int
    norms: int
    total: int
    near: int
    joined: int
    above: int
    nothing: int
    black: int
    row: int  # of packed words
    shifts: int  # of a cell or strip
    slot: int  # of the strips of a vertical shift
    apart: int  # from a patch's strip to its next one
    ring: int  # strips of a patch


def match(query, prepared, grid, radius, k, exclude):
    """Find the K nearest patches; see :func:`idekernels.operations.match` for the meaning.

    Returns place (image * H + row) * W + column, (B, N, K) int64, and distance, (B, N, K) uint32; ``NOWHERE`` and
    ``MISSING`` of :mod:`idekernels.merging` where a node has fewer than K candidates.
    """
    bank, photos = prepared.bank, len(query)
    common = np.gcd.reduce(np.array(bank.weights, np.int64))
    weights = (np.array(bank.weights, np.int64) // common).astype(np.uint32)
    down = cut_axis(grid.rows, grid.patch, bank.height, radius)
    across = cut_axis(grid.columns, grid.patch, bank.width, radius)
    tiles = -(-len(grid.columns) // _COLUMNS)
    share = Share(_chunks(photos * tiles, len(grid.rows)), tiles, _shifts(down, radius))
    keys = np.zeros((photos, *grid.shape, _FRONT + -(-k // _FRONT) * _FRONT), np.uint64)
    keys[..., _FRONT:] = _FAR
    bits = _place_bits(int(weights.sum()) * grid.patch**2 * 255**2)
    span = max(1, 2**bits // (LANES * bank.height * bank.width))  # blocks whose places fit into keys
    found, origin = [], 0
    for first, end, blocks in _parts(prepared, span):
        if first - origin >= span * LANES:
            found.append(_unpacked(keys, bits, k, origin * bank.height * bank.width))
            keys[..., _FRONT:], origin = _FAR, first
        allowed = _allowed(first, end, len(blocks), exclude)
        _match_blocks(
            query, blocks, weights, first - origin, allowed, down, across, grid.patch, radius, bits, k, share,
            threads(), keys,
        )  # fmt: skip
    found.append(_unpacked(keys, bits, k, origin * bank.height * bank.width))
    place, distance = found[0] if len(found) == 1 else _merged(found, k)
    return place, np.where(distance == MISSING, MISSING, distance.astype(np.uint32) * np.uint32(common))


def _parts(prepared, span):
    """Yield (first image, images' end, blocks), at most ``span`` blocks that cross no multiple of it."""
    for first, images, blocks in prepared.blocks():
        for start in range(0, len(blocks), span):
            yield first + start * LANES, first + images, blocks[start : start + span]


def _place_bits(limit):
    """How many low bits of a key hold the place, if the rest is to hold distances up to ``limit``."""
    return 64 - limit.bit_length()


def _unpacked(keys, bits, k, origin):
    """Places and distances of the K nearest, (B, N, K) int64 and uint64, of keys with places from ``origin`` on.

    ``NOWHERE`` and ``MISSING`` where a list has fewer than K.
    """
    nearest = keys[..., _FRONT : _FRONT + k].reshape(len(keys), -1, k)
    place, absent = (nearest & np.uint64(2**bits - 1)).astype(np.int64) + origin, nearest == _FAR
    return np.where(absent, NOWHERE, place), np.where(absent, np.uint64(MISSING), nearest >> np.uint64(bits))


def _merged(found, k):
    """The K nearest of several lists; what is no patch is farther than any."""
    place, distance = (np.concatenate(part, axis=2) for part in zip(*found, strict=True))
    order = np.lexsort((place, distance))[:, :, :k]
    return np.take_along_axis(place, order, axis=2), np.take_along_axis(distance, order, axis=2)


def _chunks(photos, rows):
    """How many runs of patch rows a photo, or a run of its columns, is cut into: enough for every thread."""
    return min(rows, -(-_TASKS * threads() // photos))


def _shifts(down, radius):
    """How many vertical shifts are followed at a time."""
    ring, shifts = max(1, int((down.patches["stop"] - down.patches["first"]).max()) - 1), 2 * radius + 1
    return max(1, min(shifts, _STRIPS // (ring * _COLUMNS * shifts * LANES * _WORD)))


def _allowed(first, end, blocks, exclude):
    """Bit n is set where lane n of a block holds an image before ``end`` that the photo may use: (B, blocks) uint32."""
    ids = np.arange(first, first + blocks * LANES)
    allowed = ~(exclude[:, :, None] == ids).any(axis=1) & (ids < end)
    bits = np.uint32(1) << np.arange(LANES, dtype=np.uint32)
    return (allowed.reshape(len(exclude), blocks, LANES) * bits).sum(axis=2, dtype=np.uint32)


@compiled(parallel=True)
def _match_blocks(query, blocks, weights, first, allowed, down, across, patch, radius, bits, k, share, threads, keys):
    """Match all photos with some blocks of the bank on several threads, and keep the nearest.

    query, blocks, weights, first, allowed, down, across, patch, radius, bits, k : as in :class:`Search`. share :
    :class:`Share`. threads : int64, how many take tasks. keys : (B, rows, columns, 8 + K8) uint64, read and written:
    for every patch 8 zeros, then its nearest so far, ascending, K8 being K rounded up to a multiple of 8; a key is
    distance << bits | place.
    """
    tickets, unit = np.zeros(1, np.int64), np.all(weights == 1)
    for _ in prange(threads):
        search = Search(query, blocks, weights, unit, first, allowed, down, across, patch, radius, bits, k)
        _work(search, share, tickets, keys)


@_inner
def _work(search, share, tickets, keys):
    """Do tasks until there are none left, whatever the other threads do.

    search : :class:`Search`. share : :class:`Share`. tickets : (1,) int64, number of the next task, counted up
    atomically. keys : as in :func:`_match_blocks`.
    """
    tasks = len(search.query) * share.chunks * share.tiles
    task = take_ticket(tickets.ctypes.data)
    if task >= tasks:
        return
    scratch = _scratch(search, share)
    while task < tasks:
        photo, part = task // (share.chunks * share.tiles), task % (share.chunks * share.tiles)
        box = _box(search, share, part // share.tiles, part % share.tiles)
        if box.begin < box.end:
            _match_box(search, share, photo, box, scratch, keys[photo])
        task = take_ticket(tickets.ctypes.data)


@_inner
def _box(search, share, chunk, tile):
    """The patches of one task, as a :class:`Box`; its ranges may be empty.

    search, share : as in :func:`_work`. chunk, tile : int64, numbers of the run of rows and of the run of columns.
    """
    patches = search.across.patches
    rows, columns = len(search.down.patches), len(patches)
    begin, end = chunk * rows // share.chunks, (chunk + 1) * rows // share.chunks
    west, east = tile * columns // share.tiles, (tile + 1) * columns // share.tiles
    left = max(0, patches[west].anchor - search.radius)
    right = min(search.query.shape[3], patches[east - 1].anchor + search.patch + search.radius)
    return Box(begin, end, west, east, left, right)


@_inner
def _words_of(height, width):
    """How many words a cell of one plane takes: whole words of a column's pixels, then of the last rows' pixels.

    height, width : int64, pixels of the cell.
    """
    group = pixels_per_word()
    return height // group * width + height % group * (-(-width // group))


@_inner
def _scratch(search, share):
    """A :class:`Scratch` with room for the largest box.

    search, share : as in :func:`_work`.
    """
    down, across, shifts, planes = search.down, search.across, 2 * search.radius + 1, search.query.shape[1]
    rows, columns, span, high, wide = 0, 0, 0, 0, 0
    for chunk in range(share.chunks):
        for tile in range(share.tiles):
            box = _box(search, share, chunk, tile)
            if box.begin < box.end:
                rows = max(rows, down.patches[box.end - 1].stop - down.patches[box.begin].first)
                columns = max(columns, across.patches[box.east - 1].stop - across.patches[box.west].first)
                high, wide = max(high, box.end - box.begin), max(wide, box.east - box.west)
                span = max(span, box.right - box.left)
    words, deep, ring, group = 0, 0, 1, pixels_per_word()
    for row in down.cells:
        deep = max(deep, row.size // group + row.size % group)
        for column in across.cells:
            words = max(words, _words_of(row.size, column.size))
    for row in down.patches:
        ring = max(ring, row.stop - row.first - 1)  # a patch's last strip takes the place of its first
    return Scratch(
        np.empty((rows, columns, planes * words), np.uint32),
        np.empty((rows, columns, planes * words), np.int64),
        _lines(planes * deep * span).reshape(planes * deep, span, LANES),
        _lines(columns * shifts).reshape(columns, shifts, LANES),
        _lines(ring * share.shifts * wide * shifts).reshape(ring, share.shifts, wide, shifts, LANES),
        _lines(span),
        _lines(span),
        np.empty((high, wide), np.uint32),
        _lines(shifts),
        np.empty(shifts, np.uint32),
        _lines(shifts),
        _lines(shifts),
        _lines(shifts),
        np.zeros((span, LANES), np.uint8),
    )


@_inner
def _lines(count):
    """(count, 32) uint32, zero, that begin with a line of the cache: no vector lies in two.

    count : int64, lines.
    """
    room = np.zeros((count + 1) * LANES, np.uint32)
    start = -room.ctypes.data % _LINE // _WORD
    return room[start : start + count * LANES].reshape(count, LANES)


@_inner
def _places(scratch):
    """The addresses of a thread's scratch, as :class:`Places`.

    scratch : :class:`Scratch`.
    """
    ring, together, wide, shifts, _ = scratch.strips.shape
    return Places(
        scratch.words.ctypes.data, scratch.offsets.ctypes.data, scratch.packed.ctypes.data, scratch.cells.ctypes.data,
        scratch.strips.ctypes.data, scratch.columns.ctypes.data, scratch.norms.ctypes.data, scratch.total.ctypes.data,
        scratch.near.ctypes.data, scratch.joined.ctypes.data, scratch.above.ctypes.data, scratch.nothing.ctypes.data,
        scratch.black.ctypes.data, scratch.packed.shape[1] * _LINE, shifts * _LINE, wide * shifts * _LINE,
        together * wide * shifts * _LINE, ring,
    )  # fmt: skip


@_inner
def _match_box(search, share, photo, box, scratch, keys):
    """Match the patches of one box of one photo, one block after the other, from the block's top to its bottom.

    search, share : as in :func:`_work`. photo : int64, its number. box : :class:`Box`. scratch : :class:`Scratch`,
    overwritten. keys : (rows, columns, 8 + K8) uint64, the photo's part of those in :func:`_match_blocks`, read and
    written.
    """
    rows, down, across, weights = search.down.patches, search.down.cells, search.across, search.weights
    radius, patch, places, height = search.radius, search.patch, _places(scratch), search.blocks.shape[2]
    top, bottom = rows[box.begin].first, rows[box.end - 1].stop
    _pack_query(search, photo, box, scratch)
    for number in range(len(search.blocks)):
        block, window = search.blocks[number], np.int64(-2 * height)  # the row of the norms; as yet far from any
        for low in range(-radius, radius + 1, share.shifts):
            high = min(radius, low + share.shifts - 1)
            start = top
            for y in range(max(0, down[top].start + low), min(height, down[bottom - 1].start + high + 1)):
                while start < bottom and down[start].start + high < y:
                    start += 1
                cell, packed = start, 0
                while cell < bottom and down[cell].start + low <= y:  # rows of cells that a shift brings to y
                    tall, dy = down[cell].size, y - down[cell].start
                    if y + tall <= height:
                        if tall != packed:
                            _pack_rows(block, y, tall, box, places)
                            packed = tall
                        if not search.unit:
                            scratch.cells[:] = 0
                        words = (cell - top) * scratch.words.shape[1], scratch.words.shape[2]
                        _multiply_cells(across, weights, search.unit, radius, tall, words, box, places)
                        row = down[cell].ends
                        strips = places.strips + (dy - low) * places.slot
                        if row < box.begin or row >= box.end or rows[row].anchor + dy < 0:
                            _join_cells(across, radius, box, places, strips + cell % places.ring * places.apart)
                        else:
                            now = rows[row].anchor + dy
                            if now != window:
                                _move_norms(block, weights, patch, window, now, box, places)
                                window = now
                            _keep_nearest(
                                across, radius, box, places, (rows[row].first, cell, strips),
                                ((search.first + number * LANES) * height + now) * block.shape[2],
                                height * block.shape[2], search.allowed[photo, number], scratch.level[row - box.begin],
                                scratch.total, scratch.near, keys[row], search.bits, _FRONT + search.k - 1,
                            )  # fmt: skip
                    cell += 1


@_inner
def _pack_query(search, photo, box, scratch):
    """The query's cells as words, and where the bank's words for them lie; the norms of the query's patches.

    search, photo, box : as in :func:`_match_box`. scratch : :class:`Scratch`, of which words, offsets and level are
    written.
    """
    down, across, query, patch = search.down, search.across, search.query[photo], search.patch
    top, near = down.patches[box.begin].first, across.patches[box.west].first
    for s in range(top, down.patches[box.end - 1].stop):
        for t in range(near, across.patches[box.east - 1].stop):
            row, column = down.cells[s], across.cells[t]
            pixels = query[:, row.start : row.start + row.size, column.start : column.start + column.size]
            step = scratch.packed.shape[1] * _LINE
            _pack_cell(pixels, step, scratch.words[s - top, t - near], scratch.offsets[s - top, t - near])
    for row in range(box.begin, box.end):
        for column in range(box.west, box.east):
            y, x, norm = down.patches[row].anchor, across.patches[column].anchor, uint32(0)
            for plane in range(len(query)):
                part = uint32(0)
                for line in range(y, y + patch):
                    for pixel in range(x, x + patch):
                        level = uint32(query[plane, line, pixel])
                        part = uint32(part + level * level)
                norm = uint32(norm + search.weights[plane] * part)
            scratch.level[row - box.begin, column - box.west] = norm


@_inner
def _pack_cell(pixels, row, words, offsets):
    """One cell's words in the order of :func:`_pack_rows`; pixels past its right border are 0.

    pixels : (L, cell rows, cell columns) uint8, of the query. row : int64, bytes of a row of the bank's packed words.
    Written: words : (n,) uint32; offsets : (n,) int64, bytes to the bank's words, n being the most words that a cell
    takes.
    """
    planes, tall, wide = pixels.shape
    group = pixels_per_word()
    bits = 32 // group
    mask, whole, number, deep = (1 << bits) - 1, tall // group * group, 0, 0
    for plane in range(planes):
        y = 0
        while y < tall:
            for x in range(0, wide, 1 if y < whole else group):
                word = 0
                for pixel in range(group if y < whole else min(group, wide - x)):
                    below, beside = (pixel, 0) if y < whole else (0, pixel)
                    level = LEVEL - np.int64(pixels[plane, y + below, x + beside])
                    word |= (level & mask) << (pixel * bits)
                words[number], offsets[number] = word, deep * row + x * _LINE
                number += 1
            y += group if y < whole else 1
            deep += 1


@_inner
def _pack_rows(block, y, tall, box, places):
    """Pack the bank's rows y .. y + tall for every column: words of one column, then words of the last rows.

    block : (L, H, W, 32) uint8. y, tall : int64, pixels. box : :class:`Box`. places : :class:`Places`, at whose address
    packed (words of a column, columns, 32) uint32 are written.
    """
    planes, height, width, _ = block.shape
    group, pixels, out = pixels_per_word(), block.ctypes.data, places.packed
    whole = tall // group * group
    for plane in range(planes):
        row = 0
        while row < tall:
            first = pixels + ((plane * height + y + row) * width + box.left) * LANES
            step = width * LANES if row < whole else LANES
            for x in range(box.right - box.left):
                pack_pixels(first + x * LANES, step, out + x * _LINE)
            out += places.row
            row += group if row < whole else 1


@_inner
def _multiply_cells(across, weights, unit, radius, tall, words, box, places):
    """Products of one row of cells with the packed rows, for every horizontal shift that stays inside.

    across : :class:`Axis`. weights : (L,) uint32. unit : bool, whether all weights are 1. radius : int64, pixels. tall
    : int64, pixels of the row's height. words : two int64, the row's first cell and how many words each has room for.
    box : :class:`Box`. places : :class:`Places`, at whose address cells (S columns, shifts, 32) uint32 are written.
    """
    first, most = words  # the row's first cell, and how many words each has room for
    near, runs = across.patches[box.west].first, 1 if unit else len(weights)
    for t in range(near, across.patches[box.east - 1].stop):
        cell = across.cells[t]
        bank = places.packed + (cell.start + cell.low - box.left) * _LINE
        out = places.cells + (t - near) * places.shifts + (cell.low + radius) * _LINE
        count = _words_of(tall, cell.size) * len(weights) // runs
        for run in range(runs):
            begin, weight = (first + t - near) * most + run * count, 0 if unit else np.int64(weights[run])
            cell_products(bank, places.words + begin * 4, places.offsets + begin * 8, count, cell.count, weight, out)


@_inner
def _cells_of(cells, number, count, places):
    """Addresses (two int64) of two rows of lines whose sum is that of ``number`` cells side by side.

    cells : int64, address of the first cell's products, (shifts, 32) uint32. number : int64, cells. count : int64,
    shifts. places : :class:`Places`, whose joined may be overwritten.
    """
    if number == 1:
        return cells, places.nothing
    if number == 2:  # the usual case
        return cells, cells + places.shifts
    add_words(cells, cells + places.shifts, places.joined, count)
    for cell in range(2, number - 1):
        add_words(places.joined, cells + cell * places.shifts, places.joined, count)
    return places.joined, cells + (number - 1) * places.shifts


@_inner
def _join_cells(across, radius, box, places, strips):
    """Add the cells that lie side by side in each patch to strips, where no patch ends.

    across : :class:`Axis`. radius : int64, pixels. box : :class:`Box`. places : :class:`Places`. strips : int64,
    address of the row's strips, (columns of patches, shifts, 32) uint32, written.
    """
    near = across.patches[box.west].first
    for column in range(box.west, box.east):
        patch = across.patches[column]
        skip = (patch.low + radius) * _LINE
        cells = places.cells + (patch.first - near) * places.shifts + skip
        one, other = _cells_of(cells, patch.stop - patch.first, patch.count, places)
        add_words(one, other, strips + (column - box.west) * places.shifts + skip, patch.count)


@_inner
def _move_norms(block, weights, patch, old, new, box, places):
    """Weighted sums of pixel (pixel - 2 LEVEL) of every patch of rows new .. new + patch, from those at ``old``.

    block : (L, H, W, 32) uint8. weights : (L,) uint32. patch, old, new : int64, pixels. box : :class:`Box`. places :
    :class:`Places`, at whose addresses columns (read, too) and norms (columns, 32) uint32 are written.
    """
    planes, height, width, _ = block.shape
    row, count, anew = width * LANES, box.right - box.left, abs(new - old) >= patch
    if anew:
        clear_words(places.columns, count)
    for plane in range(planes):
        pixels, weight = block.ctypes.data + (plane * height * width + box.left) * LANES, weights[plane]
        if anew:
            for y in range(new, new + patch):
                exchange_norms(places.black, pixels + y * row, weight, places.columns, count)
        else:
            for top in range(old, new, 1 if new > old else -1):
                leaving, entering = (top, top + patch) if new > old else (top + patch - 1, top - 1)
                exchange_norms(pixels + leaving * row, pixels + entering * row, weight, places.columns, count)
    slide_norms(places.columns, patch, count - patch + 1, places.norms)


@_inner
def _keep_nearest(across, radius, box, places, cells, base, apart, allowed, level, total, near, keys, bits, kth):
    """Join cells to strips, add up the strips of one row of patches, and keep what is nearer than the K-th so far.

    across : :class:`Axis`. radius : int64, pixels. box : :class:`Box`. places : :class:`Places`. cells : three int64,
    the patches' first and last row of cells, and the address of the shift's strips, uint32. base : int64, the place of
    lane 0's first pixel in the patches' row. apart : int64, places from a lane's image to the next. allowed : uint32,
    bit n where lane n may be used. level : (columns of patches,) uint32, norms of the query's patches. total : (shifts,
    32) uint32 and near : (shifts,) uint32, overwritten as in :class:`Scratch`. keys : (columns, 8 + K8) uint64, the
    row's part of those in :func:`_match_blocks`, read and written. bits : int64, of a key, that hold the place. kth :
    int64, where in a list the K-th key stands.
    """
    start, last, strips = cells
    for column in range(box.west, box.east):
        patch = across.patches[column]
        skip = (patch.low + radius) * _LINE
        row = places.cells + (patch.first - across.patches[box.west].first) * places.shifts + skip
        one, other = _cells_of(row, patch.stop - patch.first, patch.count, places)
        strip = strips + (column - box.west) * places.shifts + skip
        above = _above(start, last, strip, patch.count, places)
        strip += last % places.ring * places.apart
        x = patch.anchor + patch.low
        norms = places.norms + (x - box.left) * _LINE
        done, size = 0, 1 if keys[column, kth] == _FAR else patch.count  # the first K make a bound for the next
        while done < patch.count:
            size, skip = min(size, patch.count - done), done * _LINE
            if patch_distances(
                one + skip, other + skip, above + skip, norms + skip, level[column - box.west],
                uint32(keys[column, kth] >> uint64(bits)), size, strip + skip, places.total, places.near,
            ):  # fmt: skip
                _insert_near(total, near, allowed, size, base + x + done, apart, keys, column, bits, kth)
            done, size = done + size, 2 * size


@_inner
def _above(start, last, strip, count, places):
    """Address of the sum of a patch's strips start .. last, the last left out; strip s lies in slot s % ring.

    start, last : int64, rows of cells. strip : int64, address of the patch's strip in slot 0, (shifts, 32) uint32.
    count : int64, shifts. places : :class:`Places`, whose above may be overwritten.
    """
    if start == last:
        return places.nothing
    one = strip + start % places.ring * places.apart
    if start + 1 == last:  # the usual case; with a ring of one it is the place of the last strip, too
        return one
    add_words(one, strip + (start + 1) % places.ring * places.apart, places.above, count)
    for cell in range(start + 2, last):
        add_words(places.above, strip + cell % places.ring * places.apart, places.above, count)
    return places.above


@_inner
def _insert_near(total, near, allowed, count, base, apart, keys, column, bits, kth):
    """Insert the lanes that are near enough; lane 0's patch at the first shift is at place ``base``.

    total, near, allowed, apart, keys, bits, kth : as in :func:`_keep_nearest`. count : int64, shifts. base : int64, a
    place. column : int64, of the patch whose list it is.
    """
    long = keys.shape[1]
    address = keys.ctypes.data + column * long * 8
    for dx in range(count):
        lanes = near[dx] & allowed
        while lanes:
            lane = lowest_bit(lanes)
            lanes &= lanes - uint32(1)
            key = uint64(total[dx, lane]) << uint64(bits) | uint64(base + lane * apart + dx)
            if key < keys[column, kth]:
                insert_key(address, key, long // _FRONT - 1)

"""match and gather: every backend against a brute force of its own, bit for bit, with ties, borders and blocks."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from dataclasses import replace

import llvmlite.binding
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from idekernels import (
    BankError,
    BankSettings,
    JoinedBank,
    MemoryBank,
    PatchBank,
    PatchGrid,
    gather,
    match,
    open_bank,
    prepare,
)
from idekernels import write_bank as write_bank_file
from idekernels.representations import REPRESENTATIONS


def random_bank(rng, images, height, width, *, weights=(1,), channels=1, levels=256, patch=1, overlap=0, radius=0):
    """A bank of independent pixels; with few levels, full of ties."""
    names = tuple(REPRESENTATIONS)[: len(weights)]
    source = (rng.integers(0, levels, (images, len(weights), height, width)) * (255 // max(1, levels - 1))).clip(0, 255)
    target = rng.integers(0, 256, (images, channels, height, width), dtype=np.uint8)
    chosen = BankSettings(patch, overlap, radius, names, tuple(weights))
    return MemoryBank(source.astype(np.uint8), target, [f"{i:03d}" for i in range(images)], chosen)


def naive_match(query, bank, grid, radius, k, exclude=None):
    """All positions of all images at once, sorted by (distance, image, row, column)."""
    source = bank.source(0, bank.images).astype(np.int64)
    windows = sliding_window_view(source, (grid.patch, grid.patch), axis=(2, 3))  # (n, L, R, C, P, P)
    weights = np.array(bank.weights, np.int64)[:, None, None]
    image, row, column = np.indices((bank.images, *windows.shape[2:4]))
    found = np.empty((4, len(query), grid.nodes, k), np.int64)
    for photo, node in np.ndindex(len(query), grid.nodes):
        y, x = grid.anchors[node]
        mine = query[photo, :, None, None, y : y + grid.patch, x : x + grid.patch].astype(np.int64)
        distance = (weights * ((windows - mine) ** 2).sum(axis=(4, 5))).sum(axis=1)
        allowed = (abs(row - y) <= radius) & (abs(column - x) <= radius)
        if exclude is not None:
            allowed &= ~np.isin(image, exclude[photo])
        listed = [part[allowed] for part in (image, row, column, distance)]
        order = np.lexsort((listed[2], listed[1], listed[0], listed[3]))[:k]
        found[:, photo, node] = [part[order] for part in listed]
    return found


def both(patches):
    return patches.source, patches.target


def assert_same(comp, ref):
    for name, part in zip(("image", "row", "column", "distance"), ref, strict=True):
        np.testing.assert_array_equal(getattr(comp, name), part, err_msg=name)
    assert comp.image.dtype == comp.row.dtype == comp.column.dtype == np.int32
    assert comp.distance.dtype == np.uint32


def same_bits(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("image", "row", "column", "distance")
    )


@st.composite
def problems(draw):
    patch = draw(st.integers(1, 6))
    overlap = draw(st.integers(0, patch - 1))
    height, width = (draw(st.integers(patch, 11)) for _ in range(2))
    grid = PatchGrid(height, width, patch, overlap)
    images = draw(st.sampled_from([1, 2, 3, 5, 31, 32, 33, 65]))
    radius = draw(st.sampled_from([0, 1, 2, 3, 100]))
    weights = tuple(draw(st.lists(st.integers(1, 40), min_size=1, max_size=3)))
    photos = draw(st.integers(1, 3))
    levels = draw(st.sampled_from([1, 2, 3, 256]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    bank = random_bank(rng, images, height, width, weights=weights, levels=levels)
    exclude = None
    if images > 1 and draw(st.booleans()):
        exclude = rng.integers(-1, images, (photos, draw(st.integers(1, min(3, images - 1)))))
    # one photo comes from the bank, so that distance 0 and its ties occur
    query = random_bank(rng, photos, height, width, weights=weights, levels=levels).source(0, photos)
    query[0] = bank.source(images - 1, images)[0]
    left = images - (0 if exclude is None else max(len(set(ids[ids >= 0].tolist())) for ids in exclude))
    corner = left * min(radius + 1, height - patch + 1) * min(radius + 1, width - patch + 1)
    k = draw(st.integers(1, min(corner, 12)))
    return query, bank, grid, radius, k, exclude


@settings(max_examples=40, deadline=None)
@given(problems())
def test_both_backends_equal_brute_force(problem):
    query, bank, grid, radius, k, exclude = problem
    ref = naive_match(query, bank, grid, radius, k, exclude)

    for backend in ("cpu", "reference"):
        comp = match(query, bank, grid, radius=radius, k=k, exclude=exclude, backend=backend)
        assert_same(comp, ref)


@pytest.mark.parametrize(("patch", "overlap"), [(10, 5), (10, 0), (10, 9), (7, 3), (1, 0), (12, 11)])
def test_realistic_patches_equal_brute_force(patch, overlap):
    rng = np.random.default_rng(patch * 100 + overlap)
    bank = random_bank(rng, 3, 27, 23, weights=(2, 1), levels=256)
    query = rng.integers(0, 256, (2, 2, 27, 23), dtype=np.uint8)
    grid = PatchGrid(27, 23, patch, overlap)

    assert_same(match(query, bank, grid, radius=3, k=5, backend="cpu"), naive_match(query, bank, grid, 3, 5))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_ties_go_to_the_lowest_image_row_and_column(backend):
    """Constant images: every position is as good, so the list must be the positions in order."""
    bank = PatchBank.from_images([np.full((6, 6), 90, np.uint8)] * 35, [np.zeros((6, 6), np.uint8)] * 35)
    query = np.full((1, 1, 6, 6), 93, np.uint8)
    found = match(query, bank, PatchGrid(6, 6, 4, 2), radius=1, k=6, backend=backend)

    positions = [(n, r, c) for n in range(35) for r in (0, 1) for c in (0, 1)][:6]
    first_node = list(zip(found.image[0, 0], found.row[0, 0], found.column[0, 0], strict=True))
    assert first_node == positions
    assert (found.distance == 9 * 16).all()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_duplicated_images_tie_to_the_first(backend):
    rng = np.random.default_rng(5)
    photos = rng.integers(0, 256, (3, 9, 9), dtype=np.uint8)
    bank = PatchBank.from_images(np.tile(photos, (12, 1, 1)), np.tile(photos, (12, 1, 1)))
    found = match(photos[1:2, None], bank, PatchGrid(9, 9, 3, 1), radius=0, k=12, backend=backend)

    assert (found.image == np.arange(1, 36, 3)).all()
    assert (found.distance == 0).all()


def test_a_banked_photo_finds_itself():
    rng = np.random.default_rng(6)
    bank = random_bank(rng, 40, 14, 12, patch=5, overlap=2, radius=2)
    grid = bank.grid()
    found = match(bank.source(0, 40), bank, k=2, backend="cpu")

    assert (found.distance[..., 0] == 0).all() and (found.distance[..., 1] > 0).all()
    assert (found.image[..., 0] == np.arange(40)[:, None]).all()
    assert (found.row[..., 0] == grid.anchors[:, 0]).all()
    assert (found.column[..., 0] == grid.anchors[:, 1]).all()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_excluded_images_are_never_candidates(backend):
    rng = np.random.default_rng(7)
    bank = random_bank(rng, 34, 6, 6, levels=2)
    exclude = np.array([[0, 33, -1], [5, 5, 5]])
    found = match(bank.source(4, 6), bank, PatchGrid(6, 6, 3, 1), radius=1, k=10, exclude=exclude, backend=backend)

    assert not np.isin(found.image[0], [0, 33]).any()
    assert not (found.image[1] == 5).any()
    assert (found.image[0] == 4).any()


@pytest.mark.parametrize("chunks", [1, 2, 5, 18, 19])
def test_however_the_rows_are_shared_out_none_is_lost(chunks, monkeypatch):
    rng = np.random.default_rng(17)
    bank = random_bank(rng, 33, 40, 7, levels=3)
    query = rng.integers(0, 3, (2, 1, 40, 7), dtype=np.uint8) * 127
    grid = PatchGrid(40, 7, 4, 2)
    monkeypatch.setattr(
        importlib.import_module("idekernels.backends.cpu.matching"), "_chunks", lambda photos, rows: chunks
    )

    assert grid.shape[0] == 19
    assert_same(match(query, bank, grid, radius=2, k=3, backend="cpu"), naive_match(query, bank, grid, 2, 3))


def test_the_number_of_threads_changes_nothing():
    rng = np.random.default_rng(8)
    bank = random_bank(rng, 40, 40, 12, levels=3)
    query = rng.integers(0, 3, (2, 1, 40, 12), dtype=np.uint8) * 127
    most = numba.get_num_threads()
    try:
        found = []
        for threads in sorted({1, most}):
            numba.set_num_threads(threads)
            found += [match(query[:n], bank, PatchGrid(40, 12, 4, 2), radius=2, k=7, backend="cpu") for n in (2, 1)]
    finally:
        numba.set_num_threads(most)

    assert all(same_bits(found[i], found[i % 2]) for i in range(len(found)))
    assert np.array_equal(found[0].distance[:1], found[1].distance)


def test_a_streamed_bank_gives_the_same_bits(tmp_path):
    rng = np.random.default_rng(9)
    photos, sketches = rng.integers(0, 4, (2, 70, 11, 9), dtype=np.uint8)
    names = [f"{i:02d}" for i in range(70)]
    write_bank_file(tmp_path / "bank.h5", zip(names, photos, sketches, strict=True), BankSettings(4, 2, 2))
    in_memory = PatchBank.from_images(photos, sketches, names, BankSettings(4, 2, 2))
    query = rng.integers(0, 4, (2, 1, 11, 9), dtype=np.uint8)

    ref = prepare(in_memory, "cpu")
    assert ref.handle.resident
    expected = match(query, ref, k=9)
    cut = both(gather(expected, ref))
    with open_bank(tmp_path / "bank.h5") as bank:
        for memory in (0, 1000, 10**9):
            comp = prepare(bank, "cpu", memory)
            assert comp.handle.resident == (memory == 10**9)
            assert same_bits(match(query, comp, k=9), expected)
            assert same_bits(match(query, comp, k=9), expected)  # and again from what is kept
            for one, other in zip(both(gather(expected, comp)), cut, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("sizes", [(5, 33, 2), (1, 39), (32, 8), (40,)])
@pytest.mark.parametrize("memory", [None, 0])
def test_shards_equal_the_joined_bank(sizes, memory):
    rng = np.random.default_rng(10)
    whole = random_bank(rng, 40, 9, 8, levels=3, channels=3, patch=3, overlap=1, radius=2)
    ends = np.cumsum(sizes)
    shards = [
        MemoryBank(whole.source(end - size, end), whole.target(end - size, end), whole.names[end - size : end],
                  whole.settings)
        for size, end in zip(sizes, ends, strict=True)
    ]  # fmt: skip
    joined = prepare(JoinedBank(shards), "cpu", memory)
    query = rng.integers(0, 3, (1, 1, 9, 8), dtype=np.uint8) * 127

    ref, comp = match(query, prepare(whole, "cpu"), k=11), match(query, joined, k=11)
    assert same_bits(ref, comp)
    for one, other in zip(both(gather(ref, whole, backend="cpu")), both(gather(comp, joined)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_shards_that_do_not_fit_are_refused():
    rng = np.random.default_rng(11)
    bank = random_bank(rng, 2, 9, 8)
    renamed = MemoryBank(bank.source(0, 2), bank.target(0, 2), ["a", "b"], bank.settings)
    wider = MemoryBank(random_bank(rng, 2, 9, 9).source(0, 2), random_bank(rng, 2, 9, 9).target(0, 2), ["a", "b"],
                      bank.settings)  # fmt: skip
    other = MemoryBank(bank.source(0, 2), bank.target(0, 2), ["a", "b"], BankSettings(2, 1, 0))

    assert JoinedBank([bank, renamed]).images == 4
    for shards, says in [((bank, bank), "share pair '000'"), ((bank, wider), "width"), ((bank, other), "settings")]:
        with pytest.raises(BankError, match=says):
            JoinedBank(shards)
    with pytest.raises(ValueError, match="no banks"):
        JoinedBank([])


class _FailsOnce(MemoryBank):
    """A bank whose second block cannot be read the first time."""

    failures = 1

    def source(self, start, stop):
        if start > 0 and self.failures:
            self.failures -= 1
            raise BankError("a damaged chunk")
        return super().source(start, stop)


def test_a_failed_read_leaves_no_half_bank_behind():
    rng = np.random.default_rng(12)
    whole = random_bank(rng, 40, 6, 6, patch=4, overlap=2)
    bank = _FailsOnce(whole.source(0, 40), whole.target(0, 40), whole.names, whole.settings)
    prepared, query = prepare(bank, "cpu"), whole.source(39, 40)

    with pytest.raises(BankError, match="damaged chunk"):
        match(query, prepared, k=1)
    assert (match(query, prepared, k=1).image == 39).all()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_distances_are_exact_up_to_the_largest_allowed(backend):
    """Weight 660 on 10 x 10 pixels can reach 4,291,650,000, just below 2^32; 661 cannot be held."""
    black, white = np.zeros((1, 1, 10, 10), np.uint8), np.full((1, 1, 10, 10), 255, np.uint8)
    fits = MemoryBank(black, black, ["a"], BankSettings(10, 5, 0, weights=(660,)))
    found = match(white, fits, k=1, backend=backend)
    assert found.distance.item() == 660 * 100 * 255**2

    over = MemoryBank(black, black, ["a"], BankSettings(10, 5, 0, weights=(661,)))
    with pytest.raises(ValueError, match=r"past 2\^32; take smaller patches or weights"):
        match(white, over, k=1, backend=backend)


def test_gather_cuts_what_stands_there():
    rng = np.random.default_rng(13)
    bank = random_bank(rng, 36, 9, 8, weights=(1, 2), channels=3, patch=4, overlap=1, radius=2)
    found = match(bank.source(0, 2), bank, k=5)

    for backend in ("cpu", "reference"):
        source, target = both(gather(replace(found, backend=None), bank, backend=backend))
        assert source.dtype == target.dtype == np.uint8
        for index in np.ndindex(found.image.shape):
            n, y, x = (int(part[index]) for part in (found.image, found.row, found.column))
            assert np.array_equal(source[index], bank.source(n, n + 1)[0, :, y : y + 4, x : x + 4])
            assert np.array_equal(target[index], bank.target(n, n + 1)[0, :, y : y + 4, x : x + 4])


@pytest.mark.parametrize(("name", "value"), [("image", 36), ("image", -1), ("row", 6), ("column", 5), ("column", -2)])
def test_gather_refuses_places_outside_the_bank(name, value):
    bank = random_bank(np.random.default_rng(14), 36, 9, 8, patch=4)
    found = match(bank.source(0, 1), bank, k=1)
    getattr(found, name)[0, 3, 0] = value

    with pytest.raises(ValueError, match=f"candidate's {name} must be in 0 .."):
        gather(found, bank)


def _call(query=None, grid=None, **options):
    bank = random_bank(np.random.default_rng(15), 3, 8, 7, patch=3, radius=1)
    return match(bank.source(0, 2) if query is None else query, bank, grid, **options)


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"query": np.zeros((1, 1, 8, 7))}, TypeError, "query must be uint8, not float64"),
        ({"query": [[1, 2]]}, TypeError, "query must be a NumPy array, not list"),
        ({"query": np.zeros((1, 8, 7), np.uint8)}, ValueError, "query must have 4 dimensions"),
        ({"query": np.zeros((0, 1, 8, 7), np.uint8)}, ValueError, "query is empty"),
        ({"query": np.zeros((1, 2, 8, 7), np.uint8)}, ValueError, "query must have the shape"),
        ({"query": np.zeros((1, 1, 7, 8), np.uint8)}, ValueError, "query must have the shape"),
        ({"grid": PatchGrid(8, 8, 3, 0)}, ValueError, "the grid is 8 x 8, the bank 8 x 7"),
        ({"k": 0}, ValueError, "k must be 1 or more"),
        ({"k": 257}, ValueError, "at most 256"),
        ({"k": 2.0}, TypeError, "k must be an integer"),
        ({"k": True}, TypeError, "k must be an integer"),
        ({"k": 13}, ValueError, "k is 13, but a corner patch has only 12 positions in 3 images at radius 1"),
        ({"k": 9, "exclude": [0, 1]}, ValueError, "only 8 positions in 2 images"),
        ({"k": 1, "exclude": [[0, 1, 2], [0, 0, 0]]}, ValueError, "only 0 positions in 0 images"),
        ({"radius": -1}, ValueError, "radius must be 0 or more"),
        ({"radius": 1.5}, TypeError, "radius must be an integer"),
        ({"exclude": [0]}, ValueError, r"exclude must be \(2,\) or \(2, X\), not \(1,\)"),
        ({"exclude": 0}, ValueError, r"exclude must be \(2,\) or \(2, X\), not \(\)"),
        ({"exclude": [0, 3]}, ValueError, "image ids below 3"),
        ({"exclude": [0, -2]}, ValueError, "image ids below 3"),
        ({"exclude": [0.0, 1.0]}, TypeError, "exclude must hold integers"),
        ({"backend": "cuda9"}, ValueError, "no backend called 'cuda9'; there are auto, reference, cpu"),
    ],
)
def test_wrong_arguments_are_named(options, kind, says):
    with pytest.raises(kind, match=says):
        _call(**{"k": 2, **options})


def test_a_query_may_lie_in_memory_as_it_likes():
    rng = np.random.default_rng(16)
    bank = random_bank(rng, 3, 8, 7, weights=(1, 3), patch=3, radius=1)
    query = np.asfortranarray(rng.integers(0, 256, (2, 2, 8, 7), dtype=np.uint8))

    assert same_bits(match(query, bank, k=3), match(np.ascontiguousarray(query), bank, k=3))


@pytest.mark.parametrize(
    ("settings_", "kind", "says"),
    [
        ({"radius": -1}, ValueError, "radius must be at least 0"),
        ({"radius": 1.5}, TypeError, "radius must be integers"),
        ({"weights": (0,)}, ValueError, "weights must be positive"),
        ({"weights": (1.5,)}, TypeError, "weights must be integers"),
        ({"weights": (1, 2)}, ValueError, "one weight a representation"),
        ({"representations": ("dog", "dog"), "weights": (1, 1)}, ValueError, "each once"),
        ({"representations": ("sift",)}, ValueError, "unknown representation 'sift'"),
        ({"representations": (), "weights": ()}, ValueError, "unknown representation"),
        ({"overlap": 10}, ValueError, "below patch"),
    ],
)
def test_impossible_bank_settings_are_refused(settings_, kind, says):
    with pytest.raises(kind, match=says):
        BankSettings(**settings_)


_PRIMITIVES = """
import numba, numpy as np
from idekernels.backends.cpu import simd

@numba.njit
def products(packed, query, offsets, count, shifts, weight, out):
    simd.cell_products(
        packed.ctypes.data, query.ctypes.data, offsets.ctypes.data, count, shifts, weight, out.ctypes.data)

@numba.njit
def pack(block, first, step, out):
    simd.pack_pixels(block.ctypes.data + first, step, out.ctypes.data)
    return simd.pixels_per_word()

@numba.njit
def patches(left, right, above, norms, level, bound, shifts, strip, out, near):
    return simd.patch_distances(
        left.ctypes.data, right.ctypes.data, above.ctypes.data, norms.ctypes.data, level, bound, shifts,
        strip.ctypes.data, out.ctypes.data, near.ctypes.data)

@numba.njit
def exchange(leaving, entering, weight, columns):
    simd.exchange_norms(leaving.ctypes.data, entering.ctypes.data, weight, columns.ctypes.data, len(columns))

@numba.njit
def slide(columns, patch, norms):
    simd.slide_norms(columns.ctypes.data, patch, len(norms), norms.ctypes.data)

@numba.njit
def insert(keys, key):
    simd.insert_key(keys.ctypes.data, key, len(keys) // 8 - 1)

@numba.njit
def add(one, other, out):
    simd.add_words(one.ctypes.data, other.ctypes.data, out.ctypes.data, len(out))
    simd.clear_words(one.ctypes.data, len(one))

@numba.njit
def tickets(counter, bits):
    return simd.take_ticket(counter.ctypes.data), simd.lowest_bit(bits)

rng = np.random.default_rng(0)
block = rng.integers(0, 256, (6, 32), dtype=np.uint8)
word = np.zeros((1, 32), np.uint32)
group = pack(block, 0, 32, word)
for pixel in range(group):
    bits = 32 // group
    assert (word >> np.uint32(pixel * bits) & np.uint32((1 << bits) - 1) == block[pixel]).all()

for count in (1, 2, 7, 20):
    for shifts in (1, 2, 3, 5, 11, 17):
        pixels = rng.integers(0, 256, (count, shifts, 32, group), dtype=np.uint8)
        levels = rng.integers(0, 256, (count, group), dtype=np.uint8)
        pixels[:, 0, :16], levels[0] = 255, rng.choice([0, 255])
        pixels[0, 0, :8] = 0
        kind, word = ((np.uint8, np.int8), (np.uint16, np.int16))[group == 2]
        packed = np.ascontiguousarray(pixels.astype(kind)).view(np.uint32)[..., 0]
        query = np.ascontiguousarray((simd.LEVEL - levels.astype(np.int64)).astype(word)).view(np.uint32)[:, 0]
        offsets = np.arange(count)[::-1].astype(np.int64) * shifts * 128
        for weight in (0, 1, 300):
            out = rng.integers(0, 2**32, (shifts + 1, 32), dtype=np.uint32)
            before, signed = out.copy(), 127 - levels.astype(np.int64)
            exact = np.einsum("msnp,mp->sn", pixels[::-1].astype(np.int64), signed)
            products(packed, query, offsets, count, shifts, weight, out)
            expected = exact if weight == 0 else before[:-1] + weight * exact
            assert (out[:-1] == (expected % 2**32)).all() and (out[-1] == before[-1]).all(), (count, shifts, weight)

for shifts in (1, 4, 11):
    left, right, above, norms = rng.integers(0, 2**32, (4, shifts, 32), dtype=np.uint32)
    near, out = np.zeros(shifts, np.uint32), np.zeros((shifts, 32), np.uint32)
    joined = left + right
    total = norms + np.uint32(77) + np.uint32(2) * (above + joined)
    for bound in (0, int(total.min()), 2**31, 2**32 - 1):
        strip = above.copy()
        found = patches(left, right, strip, norms, np.uint32(77), np.uint32(bound), shifts, strip, out, near)
        assert (out == total).all() and (strip == joined).all() and found == (total <= bound).any()
        assert (near == ((total <= bound) << np.arange(32)).sum(axis=1)).all()

columns = rng.integers(0, 2**32, (19, 32), dtype=np.uint32)
leaving, entering = rng.integers(0, 256, (2, 19, 32), dtype=np.uint8)
norm = lambda pixels: pixels.astype(np.int64) * (pixels.astype(np.int64) - 254)
expected = (columns + 659 * (norm(entering) - norm(leaving))) % 2**32
exchange(leaving, entering, np.uint32(659), columns)
assert (columns == expected).all()
for patch in (1, 2, 10, 19):
    norms = np.zeros((20 - patch, 32), np.uint32)
    slide(columns, patch, norms)
    assert all((norms[x] == columns[x : x + patch].sum(axis=0, dtype=np.uint32)).all() for x in range(20 - patch))

for vectors in (1, 2, 32):
    keys, given = np.zeros(8 + 8 * vectors, np.uint64), rng.integers(0, 2**64 - 1, 600, dtype=np.uint64)
    keys[8:] = 2**64 - 1
    for key in given:
        insert(keys, key)
    assert (keys[8:] == np.sort(given)[: 8 * vectors]).all() and not keys[:8].any()

one, other = rng.integers(0, 2**32, (2, 3, 32), dtype=np.uint32)
out, expected = np.zeros((3, 32), np.uint32), one + other
add(one, other, out)
assert (out == expected).all() and not one.any()
counter = np.array([5])
assert tickets(counter, np.uint32(8)) == (5, 3) and counter[0] == 6
module = products.inspect_llvm(products.signatures[0])
names = [name for name in ("vpdpbusd.512", "vpdpbusd.256", "pmaddw.d.512", "pmadd.wd") if name in module]
print(*(names or ["generic"]))
"""

_SEARCHES = """
import numpy as np
import idekernels as ide
found = []
for patch, overlap, weights, radius in [(10, 5, (1,), 5), (7, 3, (3, 2), 3), (4, 0, (2, 2), 1), (5, 4, (1, 660), 9)]:
    rng = np.random.default_rng(patch)
    source = rng.integers(0, 256, (70, len(weights), 33, 29), dtype=np.uint8)
    settings = ide.BankSettings(patch, overlap, radius, ("intensity", "dog")[: len(weights)], weights)
    bank = ide.MemoryBank(source, source[:, :1], [str(n) for n in range(70)], settings)
    query = rng.integers(0, 256, (2, len(weights), 33, 29), dtype=np.uint8)
    ref, comp = (ide.match(query, bank, k=12, backend=backend) for backend in ("reference", "cpu"))
    assert all((getattr(ref, name) == getattr(comp, name)).all() for name in ("image", "row", "column", "distance"))
"""

# What Numba is told to compile for, what the processor must have, and what the vectors become. The rest of the search
# differs only in how many pixels a word has: it runs on this processor in all other tests, and on any, with two, here.
_AVX2 = "+avx,+avx2,+sse3,+ssse3,+sse4.1,+sse4.2"
_AVX512 = f"{_AVX2},+avx512f,+avx512bw,+avx512dq,+avx512vl"
_PROCESSORS = {
    "this": ({}, "", None),
    "any": ({"NUMBA_CPU_NAME": "generic"}, "", "generic"),
    "avx2": ({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": _AVX2}, "avx2", "pmadd.wd"),
    "avx2, bytes": (
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": f"{_AVX2},+avxvnni"},
        "avx2 avxvnni",
        "vpdpbusd.256",
    ),
    "avx512": ({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": _AVX512}, "avx512bw avx512vl", "pmaddw.d.512"),
    "avx512, bytes": (
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": f"{_AVX512},+avx512vnni"},
        "avx512bw avx512vl avx512vnni",
        "vpdpbusd.512",
    ),
}


@pytest.mark.parametrize("processor", _PROCESSORS)
def test_the_vector_primitives_are_exact_for_this_processor_and_for_any(processor, tmp_path):
    """NUMBA_CPU_NAME=generic is what people set to share compiled kernels; it must not abort the process."""
    wish, needed, expected = _PROCESSORS[processor]
    features = llvmlite.binding.get_host_cpu_features()
    if not all(features.get(name) for name in needed.split()):
        pytest.skip(f"this processor has not all of {needed}")
    done = subprocess.run(
        [sys.executable, "-c", _PRIMITIVES + (_SEARCHES if processor == "any" else "")],
        env={**os.environ, **wish, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    if expected:
        assert done.stdout.split() == [expected]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("bits", [12, 13, 40])
def test_a_bank_whose_places_fit_into_no_key_is_searched_in_parts(bits, streamed, monkeypatch):
    """Thirty-two images of 9 x 8 pixels are 2304 places: 12 bits hold one block of four, 13 three."""
    rng = np.random.default_rng(19)
    bank = random_bank(rng, 100, 9, 8, levels=3, patch=4, overlap=2, radius=2)
    query, exclude = bank.source(50, 52), np.array([[50, 51], [3, -1]])
    matching = importlib.import_module("idekernels.backends.cpu.matching")
    monkeypatch.setattr(matching, "_place_bits", lambda limit: bits)

    found = match(query, prepare(bank, "cpu", 0 if streamed else None), k=40, exclude=exclude)
    assert_same(found, naive_match(query, bank, bank.grid(), 2, 40, exclude))


@pytest.mark.parametrize("k", [1, 7, 8, 9, 17, 256])
def test_any_number_of_candidates_is_kept_in_order(k):
    rng = np.random.default_rng(20)
    bank = random_bank(rng, 70, 13, 12, weights=(4, 4), levels=4, patch=6, overlap=2, radius=3)
    query = rng.integers(0, 4, (2, 2, 13, 12), dtype=np.uint8) * 85

    assert_same(match(query, bank, k=k, backend="cpu"), naive_match(query, bank, bank.grid(), 3, k))


@pytest.mark.parametrize(("patch", "overlap"), [(6, 3), (6, 5), (5, 0)])
def test_vertical_shifts_followed_in_several_turns_change_nothing(patch, overlap, monkeypatch):
    """A wide radius leaves no room for all of them at a time."""
    rng = np.random.default_rng(21)
    bank = random_bank(rng, 33, 26, 24, levels=3)
    query, grid = bank.source(5, 7), PatchGrid(26, 24, patch, overlap)
    monkeypatch.setattr(importlib.import_module("idekernels.backends.cpu.matching"), "_shifts", lambda down, radius: 4)

    assert_same(match(query, bank, grid, radius=9, k=6, backend="cpu"), naive_match(query, bank, grid, 9, 6))


def test_columns_beyond_one_task_are_shared_out():
    rng = np.random.default_rng(22)
    bank = random_bank(rng, 34, 9, 70, levels=3)
    query, grid = bank.source(5, 6), PatchGrid(9, 70, 4, 2)

    assert grid.shape[1] > 20
    assert_same(match(query, bank, grid, radius=3, k=9, backend="cpu"), naive_match(query, bank, grid, 3, 9))

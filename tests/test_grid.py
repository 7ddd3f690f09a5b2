"""PatchGrid against counting pixels one by one: coverage, anchors, neighbours, overlaps, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idekernels import PatchGrid


@st.composite
def grids(draw: st.DrawFn, largest: int = 24) -> PatchGrid:
    patch = draw(st.integers(1, 9))
    overlap = draw(st.integers(0, patch - 1))
    height, width = (draw(st.integers(patch, max(patch, largest))) for _ in range(2))
    return PatchGrid(height, width, patch, overlap)


def naive_anchors(length: int, patch: int, step: int) -> list[int]:
    anchors = [0]
    while anchors[-1] + patch < length:
        anchors.append(min(anchors[-1] + step, length - patch))
    return anchors


def pixels_of(grid: PatchGrid, node: int) -> set[tuple[int, int]]:
    y, x = grid.anchors[node].tolist()
    return {(r, c) for r in range(y, y + grid.patch) for c in range(x, x + grid.patch)}


@settings(max_examples=60, deadline=None)
@given(grids())
def test_every_pixel_is_covered_and_no_patch_leaves_the_image(grid):
    covered = np.zeros((grid.height, grid.width), int)
    for y, x in grid.anchors:
        assert y >= 0 and x >= 0 and y + grid.patch <= grid.height and x + grid.patch <= grid.width
        covered[y : y + grid.patch, x : x + grid.patch] += 1

    assert covered.min() >= 1
    assert len({tuple(anchor) for anchor in grid.anchors.tolist()}) == grid.nodes


@settings(max_examples=60, deadline=None)
@given(grids(), st.integers(0, 30))
def test_positions_are_those_of_the_window_that_stay_inside(grid, radius):
    down, across = grid.positions(radius)
    for counts, anchors, length in ((down, grid.rows, grid.height), (across, grid.columns, grid.width)):
        inside = range(length - grid.patch + 1)
        assert counts.tolist() == [sum(abs(at - place) <= radius for place in inside) for at in anchors.tolist()]
        assert counts.dtype == np.int32


@settings(max_examples=60, deadline=None)
@given(grids())
def test_anchors_step_evenly_and_the_last_is_clamped(grid):
    rows = naive_anchors(grid.height, grid.patch, grid.step)
    columns = naive_anchors(grid.width, grid.patch, grid.step)

    assert grid.rows.tolist() == rows
    assert grid.columns.tolist() == columns
    assert grid.shape == (len(rows), len(columns))
    assert grid.anchors.tolist() == [[y, x] for y in rows for x in columns]
    assert {array.dtype for array in (grid.rows, grid.columns, grid.anchors, grid.edges, grid.shifts)} == {
        np.dtype(np.int32)
    }


@settings(max_examples=40, deadline=None)
@given(grids(16))
def test_edges_join_every_pair_of_neighbours_once(grid):
    rows, columns = grid.shape
    across = [[r * columns + c, r * columns + c + 1] for r in range(rows) for c in range(columns - 1)]
    down = [[r * columns + c, (r + 1) * columns + c] for r in range(rows - 1) for c in range(columns)]

    assert grid.edges.tolist() == across + down


@settings(max_examples=25, deadline=None)
@given(grids(14))
def test_shifts_cut_out_exactly_the_shared_pixels(grid):
    for (i, j), (down, across) in zip(grid.edges.tolist(), grid.shifts.tolist(), strict=True):
        (yi, xi), (yj, xj) = grid.anchors[[i, j]].tolist()
        shared = pixels_of(grid, i) & pixels_of(grid, j)
        span = range(grid.patch)
        near = {(yi + r, xi + c) for r in span for c in span if r >= down and c >= across}
        far = {(yj + r, xj + c) for r in span for c in span if r < grid.patch - down and c < grid.patch - across}

        assert near == far == shared


@pytest.mark.parametrize(
    ("arguments", "nodes"),
    [((10, 10, 10, 5), 1), ((10, 11, 10, 0), 2), ((250, 200, 10, 5), 49 * 39), ((7, 3, 1, 0), 21), ((5, 9, 5, 4), 5)],
)
def test_known_sizes(arguments, nodes):
    assert PatchGrid(*arguments).nodes == nodes


def test_integers_of_numpy_are_taken_and_kept_as_plain_ones():
    grid = PatchGrid(np.int64(12), np.uint8(9), np.int32(4), np.int16(2))

    assert grid == PatchGrid(12, 9, 4, 2)
    assert type(grid.height) is int


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ((9, 20, 10, 5), ValueError, "9 x 20 image is smaller"),
        ((20, 9, 10, 5), ValueError, "20 x 9 image is smaller"),
        ((20, 20, 0, 0), ValueError, "patch must be at least 1, not 0"),
        ((20, 20, -3, 0), ValueError, "patch must be at least 1, not -3"),
        ((20, 20, 5, 5), ValueError, r"below patch \(5\), not 5"),
        ((20, 20, 5, -1), ValueError, "not -1"),
        ((20.0, 20, 5, 2), TypeError, "height must be an integer, not 20.0"),
        ((20, "20", 5, 2), TypeError, "width must be an integer, not '20'"),
        ((20, 20, True, 0), TypeError, "patch must be an integer, not True"),
        ((20, 20, 5, None), TypeError, "overlap must be an integer, not None"),
    ],
)
def test_impossible_grids_are_refused(arguments, kind, says):
    with pytest.raises(kind, match=says):
        PatchGrid(*arguments)

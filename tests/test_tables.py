"""Evidence and compatibility against their formulas, pixel by pixel, and both backends against each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_grid import grids, pixels_of
from test_match import random_bank

from idekernels import PatchGrid, compatibility, evidence, gather, match
from idekernels.operations import Compatibility


def random_patches(rng, grid, *, photos=1, k=3, channels=1, levels=256):
    size = (photos, grid.nodes, k, channels, grid.patch, grid.patch)
    return (rng.integers(0, levels, size) * (255 // max(1, levels - 1))).astype(np.uint8)


def naive_evidence(query, sources, grid):
    photos, nodes, k, layers = sources.shape[:4]
    table = np.empty((photos, nodes, layers, k, k), np.int64)
    for b, i, plane in np.ndindex(photos, nodes, layers):
        y, x = grid.anchors[i]
        mine = query[b, plane, y : y + grid.patch, x : x + grid.patch].astype(np.int64).ravel()
        residual = sources[b, i, :, plane].reshape(k, -1).astype(np.int64) - mine
        table[b, i, plane] = [[sum(one * other) for other in residual] for one in residual]
    return table


def overlap_columns(targets, grid, photo, edge):
    """O_i and O_j of an edge: the candidates' values on the pixels that both patches cover, one column a candidate."""
    columns = []
    i, j = grid.edges[edge].tolist()
    shared = sorted(pixels_of(grid, i) & pixels_of(grid, j))
    for node in (i, j):
        y, x = grid.anchors[node].tolist()
        values = [targets[photo, node, :, :, r - y, c - x].astype(np.int64) for r, c in shared]
        columns.append(np.array(values).reshape(len(shared), *targets.shape[2:4]).transpose(0, 2, 1))
    k, channels = targets.shape[2:4]
    return [column.reshape(len(shared) * channels, k) for column in columns]


@st.composite
def tables(draw):
    grid = draw(grids(9).filter(lambda grid: grid.nodes <= 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = {"photos": draw(st.integers(1, 2)), "k": draw(st.integers(1, 4)), "channels": draw(st.integers(1, 3))}
    return grid, random_patches(rng, grid, levels=draw(st.sampled_from([1, 2, 256])), **sizes), rng


@settings(max_examples=25, deadline=None)
@given(tables())
def test_evidence_is_its_formula(problem):
    grid, sources, rng = problem
    query = rng.integers(0, 256, (len(sources), sources.shape[3], grid.height, grid.width), dtype=np.uint8)
    ref = naive_evidence(query, sources, grid).astype(np.float32)

    for backend in ("cpu", "reference"):
        comp = evidence(query, sources, grid, backend=backend).grams
        assert comp.dtype == np.float32
        np.testing.assert_array_equal(comp, ref)


@settings(max_examples=25, deadline=None)
@given(tables())
def test_compatibility_is_its_formula(problem):
    grid, targets, _ = problem
    found = {backend: compatibility(targets, grid, backend=backend) for backend in ("cpu", "reference")}
    for photo, edge in np.ndindex(len(targets), len(grid.edges)):
        near, far = overlap_columns(targets, grid, photo, edge)
        for comp in found.values():
            np.testing.assert_array_equal(comp.own[photo, edge], near.T @ near)
            np.testing.assert_array_equal(comp.other[photo, edge], far.T @ far)
            np.testing.assert_array_equal(comp.cross[photo, edge], near.T @ far)
            apart = ((near[:, :, None] - far[:, None, :]) ** 2).sum(axis=0)
            np.testing.assert_array_equal(comp.disagreement[photo, edge], apart)
    assert {table.dtype for comp in found.values() for table in (comp.own, comp.other, comp.cross)} == {
        np.dtype(np.float32)
    }


def test_large_tables_are_rounded_once_from_the_exact_integer():
    """A patch of 64 pixels passes 2^24: a float32 sum would drift, an integer rounded at the end does not."""
    grid = PatchGrid(64, 96, 64, 32)
    rng = np.random.default_rng(0)
    patches = random_patches(rng, grid, k=2, channels=3)
    query = np.zeros((1, 3, 64, 96), np.uint8)
    exact = np.einsum("bnilyx,bnjlyx->bnlij", *[patches.astype(np.int64)] * 2)
    assert exact.max() > 2**24

    for backend in ("cpu", "reference"):
        np.testing.assert_array_equal(evidence(query, patches, grid, backend=backend), exact.astype(np.float32))
        near, far = overlap_columns(patches, grid, 0, 0)
        comp = compatibility(patches, grid, backend=backend)
        np.testing.assert_array_equal(comp.cross[0, 0], (near.T @ far).astype(np.float32))


def test_the_diagonal_of_evidence_is_the_distance_of_match():
    rng = np.random.default_rng(1)
    bank = random_bank(rng, 5, 13, 11, weights=(2, 1, 7), patch=4, overlap=1, radius=2)
    query = rng.integers(0, 256, (2, 3, 13, 11), dtype=np.uint8)
    found = match(query, bank, k=4)
    table = evidence(query, gather(found, bank), bank.grid()).grams * np.array(bank.weights, np.float32)[:, None, None]

    np.testing.assert_array_equal(np.einsum("bnlkk->bnk", table), found.distance)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_patches_that_only_touch_have_zero_tables_and_clamped_ones_do_not(backend):
    grid = PatchGrid(4, 11, 4, 0)  # anchors 0, 4, 7: the last two share one column
    patches = np.full((1, 3, 2, 1, 4, 4), 10, np.uint8)
    comp = compatibility(patches, grid, backend=backend)

    for table in (comp.own, comp.other, comp.cross):
        assert (table[0, 0] == 0).all()
        assert (table[0, 1] == 400).all()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_single_patch_has_no_edges(backend):
    comp = compatibility(np.ones((2, 1, 3, 1, 5, 5), np.uint8), PatchGrid(5, 5, 5, 2), backend=backend)
    assert comp.own.shape == comp.other.shape == comp.cross.shape == comp.disagreement.shape == (2, 0, 3, 3)


GRID = PatchGrid(6, 6, 3, 0)
QUERY, PATCHES = np.zeros((1, 1, 6, 6), np.uint8), np.zeros((1, 4, 2, 1, 3, 3), np.uint8)


@pytest.mark.parametrize(
    ("query", "patches", "kind", "says"),
    [
        (QUERY.astype(np.float32), PATCHES, TypeError, "query must be uint8, not float32"),
        (QUERY[:, :, :5], PATCHES, ValueError, "query must have the shape"),
        (QUERY, PATCHES.astype(np.int16), TypeError, "sources must be uint8, not int16"),
        (QUERY, PATCHES[:, :3], ValueError, "sources must have the shape"),
        (QUERY, PATCHES[..., :2], ValueError, "sources must have the shape"),
        (QUERY, PATCHES[:, :, :0], ValueError, "sources is empty"),
        (QUERY[0], PATCHES, ValueError, "query must have 4 dimensions"),
    ],
)
def test_evidence_refuses_what_does_not_fit(query, patches, kind, says):
    with pytest.raises(kind, match=says):
        evidence(query, patches, GRID)


def test_compatibility_refuses_what_does_not_fit():
    with pytest.raises(TypeError, match="targets must be uint8"):
        compatibility(PATCHES.astype(float), GRID)
    with pytest.raises(ValueError, match="targets must have the shape"):
        compatibility(PATCHES[:, :2], GRID)
    huge = PatchGrid(182, 182, 182, 0)
    with pytest.raises(ValueError, match=r"past 2\^31"):
        compatibility(np.zeros((1, 1, 1, 1, 182, 182), np.uint8), huge)
    with pytest.raises(ValueError, match=r"past 2\^31"):
        evidence(np.zeros((1, 1, 182, 182), np.uint8), np.zeros((1, 1, 1, 1, 182, 182), np.uint8), huge)


def test_the_largest_allowed_products_do_not_overflow():
    grid = PatchGrid(181, 182, 181, 180)
    patches = np.full((1, 2, 1, 1, 181, 181), 255, np.uint8)
    for backend in ("cpu", "reference"):
        table = evidence(np.zeros((1, 1, 181, 182), np.uint8), patches, grid, backend=backend).grams
        assert (table == np.float32(181 * 181 * 255**2)).all()
        comp: Compatibility = compatibility(patches, grid, backend=backend)
        assert (comp.cross == np.float32(181 * 180 * 255**2)).all()

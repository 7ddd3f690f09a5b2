"""Blending and composing: identical patches give their image back, seams are the cheapest there are, backends agree."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_grid import grids
from test_tables import random_patches

from idekernels import PatchGrid, blend, compose
from idekernels.backends import reference
from idekernels.backends.cpu.blending import seam
from idekernels.operations import BLENDINGS, blend_window

BACKENDS = ("cpu", "reference")


def cut_up(images, grid):
    """(B, C, H, W) -> the patches that stand there, (B, N, C, P, P) float32."""
    patch = grid.patch
    pieces = [images[:, :, y : y + patch, x : x + patch] for y, x in grid.anchors]
    return np.ascontiguousarray(np.stack(pieces, axis=1), np.float32)


def naive_blend(patches, grid, window):
    """Pixel by pixel: the weighted mean of every patch that covers it."""
    photos, _, channels = patches.shape[:3]
    picture = np.empty((photos, channels, grid.height, grid.width))
    for r, c in np.ndindex(grid.height, grid.width):
        covering = [(n, r - y, c - x) for n, (y, x) in enumerate(grid.anchors.tolist())
                    if 0 <= r - y < grid.patch and 0 <= c - x < grid.patch]  # fmt: skip
        share = np.array([window[p, q] for _, p, q in covering])
        values = np.stack([patches[:, n, :, p, q].astype(float) for n, p, q in covering])
        picture[..., r, c] = np.tensordot(share / share.sum(), values, axes=1)
    return picture


@settings(max_examples=20, deadline=None)
@given(grids(11), st.integers(1, 2), st.sampled_from([1, 3]), st.integers(0, 2**32))
def test_average_and_feather_are_weighted_means(grid, photos, channels, seed):
    patches = cut_up(np.zeros((photos, channels, grid.height, grid.width)), grid)
    patches += np.random.default_rng(seed).random(patches.shape, np.float32) * 255
    for how in ("average", "feather"):
        ref = naive_blend(patches, grid, blend_window(how, grid.patch))
        for backend in BACKENDS:
            comp = blend(patches, grid, how=how, backend=backend).pixels
            assert comp.dtype == np.float32
            np.testing.assert_allclose(comp, ref, rtol=1e-6, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(grids(13), st.sampled_from(BLENDINGS), st.sampled_from([1, 3]), st.integers(0, 2**32))
def test_patches_of_one_image_give_it_back(grid, how, channels, seed):
    image = np.random.default_rng(seed).integers(0, 256, (2, channels, grid.height, grid.width)).astype(np.float32)
    constant = np.full_like(image, 77.7)
    for backend in BACKENDS:
        for ref in (image, constant):
            comp = blend(cut_up(ref, grid), grid, how=how, backend=backend)
            np.testing.assert_allclose(comp, ref, rtol=0 if how == "cut" else 3e-7)


@settings(max_examples=25, deadline=None)
@given(grids(13), st.sampled_from(BLENDINGS), st.integers(0, 2**32))
def test_no_value_leaves_the_range_of_the_patches(grid, how, seed):
    patches = random_patches(np.random.default_rng(seed), grid, k=1)[:, :, 0].astype(np.float32)
    comp = blend(patches, grid, how=how).pixels
    assert comp.min() >= patches.min() * (1 - 1e-6) and comp.max() <= patches.max() * (1 + 1e-6)


@settings(max_examples=25, deadline=None)
@given(grids(13), st.sampled_from([1, 3]), st.sampled_from([1, 2, 256]), st.integers(0, 2**32))
def test_cut_equals_the_reference_to_the_bit(grid, channels, levels, seed):
    patches = random_patches(np.random.default_rng(seed), grid, photos=2, k=1, channels=channels, levels=levels)
    patches = patches[:, :, 0].astype(np.float32)

    np.testing.assert_array_equal(
        blend(patches, grid, how="cut", backend="cpu"), blend(patches, grid, how="cut", backend="reference")
    )


def all_seams(length, overlap):
    return [
        path
        for path in itertools.product(range(overlap), repeat=length)
        if all(abs(a - b) <= 1 for a, b in itertools.pairwise(path))
    ]


def cost_of(path, error):
    return sum(error[row, column] for row, column in enumerate(path))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.sampled_from([1, 3, 1000]), st.integers(0, 2**32))
def test_a_seam_is_the_cheapest_of_all(length, overlap, levels, seed):
    error = np.random.default_rng(seed).integers(0, levels, (length, overlap)).astype(float)
    cheapest = min(cost_of(path, error) for path in all_seams(length, overlap))
    found = [tuple(cutting(error).tolist()) for cutting in (seam, reference._seam)]

    assert found[0] == found[1]
    assert found[0] in all_seams(length, overlap)
    assert cost_of(found[0], error) == cheapest


def test_ties_of_a_seam_go_to_the_lowest_column():
    for cutting in (seam, reference._seam):
        assert cutting(np.ones((4, 3))).tolist() == [0, 0, 0, 0]
        assert cutting(np.array([[1.0, 0, 0], [1, 0, 0], [1, 1, 0]])).tolist() == [1, 1, 2]
        assert cutting(np.zeros((3, 0))).tolist() == [0, 0, 0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("down", [False, True])
def test_two_patches_are_cut_along_the_cheapest_boundary(backend, down):
    """The picture tells which patch each pixel came from; that boundary must cost what exhaustive search finds."""
    patch, overlap = 4, 3
    grid = PatchGrid(5, 4, patch, overlap) if down else PatchGrid(4, 5, patch, overlap)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        patches = rng.permutation(2 * 16).reshape(1, 2, 1, 4, 4).astype(np.float32)  # every value once
        picture = blend(patches, grid, how="cut", backend=backend).pixels[0, 0]
        first, second = patches[0, :, 0]
        if down:
            picture, first, second = picture.T, first.T, second.T
        error = (first[:, 1:].astype(float) - second[:, :3]) ** 2
        taken = picture[:, 1:4] == second[:, :3]
        assert ((picture[:, 1:4] == first[:, 1:]) ^ taken).all()
        path = tuple((~taken).sum(axis=1).tolist())
        assert all(taken[row, column:].all() for row, column in enumerate(path))

        paths = all_seams(4, overlap)
        assert path in paths
        assert cost_of(path, error) == min(cost_of(other, error) for other in paths)
        assert (picture[:, 0] == first[:, 0]).all() and (picture[:, 4] == second[:, 3]).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_pixel_of_a_cut_comes_from_a_patch_that_covers_it(backend):
    grid = PatchGrid(11, 12, 5, 3)
    patches = np.arange(grid.nodes * 25, dtype=np.float32).reshape(1, grid.nodes, 1, 5, 5)
    patches = np.random.default_rng(0).permutation(patches.ravel()).reshape(patches.shape)
    picture = blend(patches, grid, how="cut", backend=backend).pixels[0, 0]
    for r, c in np.ndindex(11, 12):
        could = [patches[0, n, 0, r - y, c - x] for n, (y, x) in enumerate(grid.anchors.tolist())
                 if 0 <= r - y < 5 and 0 <= c - x < 5]  # fmt: skip
        assert picture[r, c] in could


@pytest.mark.parametrize("patch", [1, 2, 5, 10, 64])
def test_the_feather_is_positive_symmetric_and_highest_in_the_middle(patch):
    window = blend_window("feather", patch)

    assert window.shape == (patch, patch) and (window > 0).all()
    np.testing.assert_allclose(window, window[::-1])
    np.testing.assert_allclose(window, window.T)
    np.testing.assert_allclose(window.max(), window[patch // 2, patch // 2])
    positions = np.pi * (np.arange(patch) + 0.5) / patch
    np.testing.assert_allclose(window[patch // 2] / window[patch // 2].max(),
                               np.sin(positions) ** 2 / (np.sin(positions) ** 2).max())  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(grids(8).filter(lambda grid: grid.nodes < 40), st.integers(1, 4), st.sampled_from([1, 3]), st.integers(0, 2**32))
def test_compose_is_the_weighted_sum(grid, k, channels, seed):
    rng = np.random.default_rng(seed)
    targets = random_patches(rng, grid, photos=2, k=k, channels=channels)
    weights = rng.dirichlet(np.ones(k), (2, grid.nodes)).astype(np.float32)
    weights[rng.random(weights.shape) < 0.3] = 0
    ref = (weights[..., None, None, None].astype(float) * targets).sum(axis=2)
    for backend in BACKENDS:
        comp = compose(targets, weights, backend=backend).patches
        assert comp.dtype == np.float32
        np.testing.assert_allclose(comp, ref, rtol=1e-5, atol=1e-4)


GRID = PatchGrid(5, 5, 3, 1)
PATCHES = np.zeros((1, 4, 1, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("patches", "how", "kind", "says"),
    [
        (PATCHES, "mixed", ValueError, "how must be one of average, feather, cut, not 'mixed'"),
        (PATCHES.astype(float), "cut", TypeError, "patches must be float32, not float64"),
        (PATCHES[:, :3], "cut", ValueError, "patches must have the shape"),
        (PATCHES[..., :2], "average", ValueError, "patches must have the shape"),
        (PATCHES[0], "average", ValueError, "patches must have 5 dimensions"),
    ],
)
def test_wrong_arguments_are_named(patches, how, kind, says):
    with pytest.raises(kind, match=says):
        blend(patches, GRID, how=how)


def test_compose_refuses_what_does_not_fit():
    targets = np.zeros((1, 4, 2, 1, 3, 3), np.uint8)
    with pytest.raises(ValueError, match="weights must have the shape"):
        compose(targets, np.zeros((1, 4, 3), np.float32))
    with pytest.raises(TypeError, match="weights must be float32"):
        compose(targets, np.zeros((1, 4, 2)))

"""Scoot against scikit-image's co-occurrence matrices, turned to MATLAB's orientation, and its decided cases."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from skimage.feature import graycomatrix, graycoprops
from test_metrics_all import smooth_image

from idemodel.metrics import scoot


def naive_features(image):
    levels = np.minimum(np.floor(6 * image.astype(np.float64) / 255), 5).astype(np.uint8)
    rows, columns = ([int(np.floor(i * side / 4)) for i in range(5)] for side in image.shape)
    features = []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
            counts = graycomatrix(levels[top:bottom, left:right], [1], angles, levels=6).astype(np.float64)
            turned = [counts[:, :, 0, 0], *(counts[:, :, 0, angle].T for angle in (1, 2, 3))]
            mean = np.floor(sum(turned) / 4 + 0.5).astype(np.uint32)[:, :, None, None]
            features += [graycoprops(mean, "contrast")[0, 0], graycoprops(mean, "ASM")[0, 0]]
    return np.array(features)


@pytest.mark.parametrize("shape", [(16, 16), (17, 31), (62, 50), (125, 99)])
def test_scoot_equals_scikit_images_matrices(shape):
    first, second = smooth_image(1, shape), smooth_image(2, shape)
    ref = 1 / (1 + np.linalg.norm(naive_features(first) - naive_features(second)))

    assert scoot(first, second) == pytest.approx(ref, abs=1e-12)


def test_levels_change_where_the_definition_says():
    """floor(6 v / 255): 42 is of level 0 and 43 of level 1, 254 of 5 and 255 is capped at 5."""
    shape, board = (16, 16), np.indices((16, 16)).sum(axis=0) % 2

    assert scoot(np.uint8(42 * board), np.zeros(shape, np.uint8)) == 1.0
    assert scoot(np.uint8(43 * board), np.zeros(shape, np.uint8)) < 1.0
    assert scoot(np.uint8(254 + board), np.full(shape, 255, np.uint8)) == 1.0


def test_a_chessboard_of_black_and_white_in_closed_form():
    """In a block of 8 x 8: at 0 and 90 degrees 28 pairs go either way, on both diagonals 49 stay black or white."""
    board = np.uint8(255 * (np.indices((32, 32)).sum(axis=0) % 2))
    either_way, black, white = 2 * 28 / 4, 49 / 4, 49 / 4  # 24 + 25 of the two diagonals are black, 25 + 24 white
    rounded = np.floor(np.array([either_way, either_way, black, white]) + 0.5)
    share = rounded / rounded.sum()
    contrast, energy = 25 * share[:2].sum(), np.sum(share**2)

    comp = scoot(board, np.zeros((32, 32), np.uint8))

    assert comp == pytest.approx(1 / (1 + np.sqrt(16 * (contrast**2 + (energy - 1) ** 2))), abs=1e-12)


def test_constant_images_have_equal_textures():
    assert scoot(np.zeros((20, 20), np.uint8), np.full((20, 20), 255, np.uint8)) == 1.0

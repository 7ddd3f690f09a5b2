"""GMSD against its definition by full convolutions, and in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import convolve2d
from test_metrics_all import smooth_image

from idemodel.metrics import gmsd


def conv2_same(image, kernel):
    """MATLAB's conv2(image, kernel, 'same')."""
    full = convolve2d(image, kernel, mode="full")
    top, left = (-(-(side + 1) // 2) - 1 for side in kernel.shape)
    return full[top : top + image.shape[0], left : left + image.shape[1]]


def naive_gmsd(first, second):
    prewitt = np.array([[1, 0, -1]] * 3) / 3
    maps = []
    for image in (first, second):
        small = conv2_same(image.astype(np.float64), np.full((2, 2), 0.25))[::2, ::2]
        maps.append(np.sqrt(conv2_same(small, prewitt) ** 2 + conv2_same(small, prewitt.T) ** 2))
    return np.std((2 * maps[0] * maps[1] + 170) / (maps[0] ** 2 + maps[1] ** 2 + 170))


@pytest.mark.parametrize("shape", [(6, 6), (7, 9), (64, 51), (33, 40)])
def test_gmsd_equals_its_definition(shape):
    first, second = smooth_image(1, shape), smooth_image(2, shape)

    assert gmsd(first, second) == pytest.approx(naive_gmsd(first, second), abs=1e-12)


def test_a_step_against_black_in_closed_form():
    """Of 32 x 32 halved pixels: how many have which squared gradient, the zeros outside the border included."""
    black, step = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    step[:, 32:] = 30
    counts = {0: 900, 900: 30 * 3 + 2 * 14, 500: 2, 800: 4}  # the step and the right border; top and bottom; corners
    similarities = np.concatenate([np.full(count, 170 / (square + 170)) for square, count in counts.items()])

    assert similarities.size == 32 * 32
    assert gmsd(step, black) == pytest.approx(np.std(similarities), abs=1e-12)

"""SSIM and MS-SSIM against their definitions, window by window, and in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from test_metrics_all import smooth_image

from idemodel.metrics import ms_ssim, ssim

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
OFFSETS = np.arange(11) - 5.0
WINDOW = np.exp(-(OFFSETS[:, None] ** 2 + OFFSETS[None] ** 2) / (2 * 1.5**2))
WINDOW /= WINDOW.sum()


def naive_terms(first, second):
    """Luminance and contrast-structure of every window, straight from the definition."""
    a, b = (sliding_window_view(image.astype(np.float64), (11, 11)) for image in (first, second))
    mean_a, mean_b = ((WINDOW * windows).sum(axis=(2, 3)) for windows in (a, b))
    da, db = a - mean_a[..., None, None], b - mean_b[..., None, None]
    var_a, var_b, cov = ((WINDOW * product).sum(axis=(2, 3)) for product in (da * da, db * db, da * db))
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return luminance, (2 * cov + C2) / (var_a + var_b + C2)


def naive_ms_ssim(first, second):
    first, second = first.astype(np.float64), second.astype(np.float64)
    score = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        luminance, structure = naive_terms(first, second)
        term = (luminance * structure).mean() if scale == 4 else structure.mean()
        score *= max(term, 0.0) ** weight
        first, second = naive_half(first), naive_half(second)
    return score


def naive_half(image):
    """Two-by-two means, pixel by pixel; the first row and column repeated where a side is odd."""
    odd = int(image.shape[0] % 2 or image.shape[1] % 2)

    def pixel(row, column):
        return image[max(row - odd, 0), max(column - odd, 0)]

    return np.array(
        [
            [
                np.mean([pixel(2 * i + a, 2 * j + b) for a in (0, 1) for b in (0, 1)])
                for j in range((image.shape[1] + odd) // 2)
            ]
            for i in range((image.shape[0] + odd) // 2)
        ]
    )


def test_ssim_equals_its_definition():
    first, second = smooth_image(1, (31, 43)), smooth_image(2, (31, 43))
    luminance, structure = naive_terms(first, second)

    assert ssim(first, second) == pytest.approx((luminance * structure).mean(), abs=1e-9)


@pytest.mark.parametrize("shape", [(161, 176), (177, 162)])
def test_ms_ssim_equals_its_definition(shape):
    first, second = smooth_image(1, shape), smooth_image(2, shape)
    near = np.uint8(0.7 * first + 0.3 * second)

    assert ms_ssim(near, first) == pytest.approx(naive_ms_ssim(near, first), abs=1e-9)
    assert ms_ssim(second, first) == pytest.approx(naive_ms_ssim(second, first), abs=1e-9)


@pytest.mark.parametrize(("a", "b"), [(0, 255), (10, 20), (200, 100)])
def test_constant_images_differ_in_luminance_alone(a, b):
    first, second = np.full((170, 170), a, np.uint8), np.full((170, 170), b, np.uint8)
    luminance = (2 * a * b + C1) / (a * a + b * b + C1)

    assert ssim(first, second) == pytest.approx(luminance, abs=1e-9)
    assert ms_ssim(first, second) == pytest.approx(luminance**0.1333, abs=1e-9)


def test_a_negative_is_anticorrelated_and_its_ms_ssim_zero():
    image = smooth_image(3)

    assert ssim(255 - image, image) < 0.0
    assert ms_ssim(255 - image, image) == 0.0

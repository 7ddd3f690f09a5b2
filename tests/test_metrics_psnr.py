"""PSNR: scikit-image's figure, worked cases, and the cap where the ratio is infinite."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from idemodel.metrics import METRICS, psnr

RANDOM = np.random.default_rng(5)


def test_is_the_figure_of_scikit_image():
    truth = RANDOM.integers(0, 256, (31, 45), dtype=np.uint8)
    for spread in (1, 9, 60):
        noisy = np.uint8(np.clip(truth + RANDOM.normal(0, spread, truth.shape), 0, 255))
        assert psnr(noisy, truth) == pytest.approx(peak_signal_noise_ratio(truth, noisy), abs=1e-9)


def test_opposite_images_have_zero_and_one_level_has_its_figure():
    black, white = np.zeros((7, 5), np.uint8), np.full((7, 5), 255, np.uint8)
    assert psnr(black, white) == 0.0
    assert psnr(black, black + 1) == pytest.approx(20 * np.log10(255))


def test_identical_images_and_what_comes_near_have_100_decibels():
    image = RANDOM.integers(0, 255, (500, 500), dtype=np.uint8)
    almost = image.copy()
    almost[3, 3] += 1
    assert psnr(image, image) == psnr(almost, image) == METRICS["psnr"].range[1] == 100.0

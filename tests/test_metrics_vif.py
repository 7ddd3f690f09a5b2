"""VIF against torchmetrics, which follows the same definition, and its decided cases."""

from __future__ import annotations

import numpy as np
import pytest
from test_metrics_all import smooth_image

from idemodel.metrics import vif


@pytest.mark.parametrize("shape", [(41, 41), (58, 73), (120, 90)])
def test_vif_equals_torchmetrics(shape):
    torch = pytest.importorskip("torch")
    peer = pytest.importorskip("torchmetrics.functional.image").visual_information_fidelity
    truth = smooth_image(1, shape)
    noisy = np.uint8(np.clip(truth + np.random.default_rng(0).normal(0, 20, shape), 0, 255))
    for synthesised in (noisy, smooth_image(2, shape), truth // 2, np.full(shape, 90, np.uint8)):
        first, second = (torch.from_numpy(image.astype(np.float64))[None, None] for image in (synthesised, truth))

        assert vif(synthesised, truth) == pytest.approx(float(peer(first, second)), abs=1e-9)


def test_contrast_gained_is_information_gained():
    truth = np.uint8(64 + smooth_image(3, (80, 80)) // 2)
    stretched = np.uint8((truth.astype(int) - 64) * 2)

    assert vif(stretched, truth) > 1.0
    assert vif(truth // 2, truth) < 1.0


def test_a_constant_truth_has_nothing_to_keep():
    flat, image = np.full((50, 50), 77, np.uint8), smooth_image(4, (50, 50))

    assert vif(flat, flat) == 1.0
    assert vif(image, flat) == 0.0
    assert vif(np.full((50, 50), 78, np.uint8), flat) == 0.0
    assert vif(flat, image) == pytest.approx(0.0, abs=1e-9)


def test_one_pixel_of_one_level_is_enough_to_be_defined():
    truth = np.full((41, 41), 255, np.uint8)
    truth[0, 0] = 254

    assert 0.0 <= vif(np.full((41, 41), 255, np.uint8), truth) < 1e-3

"""MS-SSIM, the structural similarity over five scales; own arithmetic: libraries differ at odd sizes."""

from __future__ import annotations

import numpy as np

from idemodel.metrics.arguments import Grey, Plane, as_planes
from idemodel.metrics.filters import gaussian_inside
from idemodel.metrics.kinds import Metric

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # fine to coarse, table 1 of the paper
WINDOW, SIGMA = 11, 1.5  # the Gaussian window
MINIMUM = (WINDOW - 1) * 2 ** (len(WEIGHTS) - 1) + 1  # 161: the window still fits on the coarsest scale
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ms_ssim(synthesised: Grey, truth: Grey) -> float:
    """Multi-scale structural similarity: Wang, Simoncelli and Bovik, Asilomar 2003.

    Five scales with the weights of the paper; on each the window of :func:`idemodel.metrics.ssim.ssim`, over
    the pixels whose window lies inside; contrast and structure on every scale, luminance on the coarsest
    alone; a negative term counts as 0. Between scales a 2 x 2 mean; where a side is odd, the first row *and*
    the first column are repeated once, as piq does. (torchmetrics drops the last row or column instead and
    mirrors the border, which moves the score of a 250 x 200 image by up to 0.02.) Symmetric.

    Parameters
    ----------
    synthesised, truth
        (H, W) uint8, at least 161 x 161.

    Returns
    -------
    float
        In [0, 1]; 1 for identical images, constant ones too.

    Raises
    ------
    TypeError, ValueError
        See :func:`idemodel.metrics.arguments.as_planes`.
    """
    return _ms_ssim(*as_planes("ms_ssim", synthesised, truth, MINIMUM))


def _ms_ssim(synthesised: Plane, truth: Plane) -> float:
    score = 1.0
    for weight in WEIGHTS[:-1]:
        score *= max(0.0, float(_contrast_structure(synthesised, truth).mean())) ** weight
        synthesised, truth = _halved(synthesised), _halved(truth)
    coarsest = _contrast_structure(synthesised, truth) * _luminance(synthesised, truth)
    return min(1.0, score * max(0.0, float(coarsest.mean())) ** WEIGHTS[-1])


def _contrast_structure(first: Plane, second: Plane) -> Plane:
    first_mean, second_mean = _smoothed(first), _smoothed(second)
    variances = _smoothed(first**2) - first_mean**2 + _smoothed(second**2) - second_mean**2
    covariance = _smoothed(first * second) - first_mean * second_mean
    return (2.0 * covariance + C2) / (np.maximum(variances, 0.0) + C2)


def _luminance(first: Plane, second: Plane) -> Plane:
    first_mean, second_mean = _smoothed(first), _smoothed(second)
    return (2.0 * first_mean * second_mean + C1) / (first_mean**2 + second_mean**2 + C1)


def _smoothed(image: Plane) -> Plane:
    return gaussian_inside(image, WINDOW, SIGMA)


def _halved(image: Plane) -> Plane:
    if image.shape[0] % 2 or image.shape[1] % 2:
        image = np.pad(image, ((1, 0), (1, 0)), mode="edge")
    rows, columns = image.shape[0] // 2, image.shape[1] // 2
    return image[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).mean(axis=(1, 3))


MS_SSIM = Metric(
    name="ms_ssim",
    label="MS-SSIM",
    higher_is_better=True,
    range=(0.0, 1.0),
    source="Wang et al. 2003; five scales, odd sides padded as in piq",
    minimum=MINIMUM,
    function=ms_ssim,
)

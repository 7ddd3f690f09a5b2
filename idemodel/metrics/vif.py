"""VIF, the pixel-domain visual information fidelity; own arithmetic, separable and without torch."""

from __future__ import annotations

import math

import numpy as np

from idemodel.metrics.arguments import Grey, Plane, as_planes
from idemodel.metrics.filters import gaussian_inside
from idemodel.metrics.kinds import Metric

WINDOWS = (17, 9, 5, 3)  # fine to coarse; sigma is a fifth of the window
MINIMUM = 41  # what the four windows need
NOISE_VARIANCE = 2.0  # of the visual channel, for grey levels 0 to 255
FLAT = 1e-10  # a variance below this counts as 0


def vif(synthesised: Grey, truth: Grey) -> float:
    """Visual information fidelity: Sheikh and Bovik, IEEE TIP 15(2), 2006; pixel-domain VIF-p.

    Four scales, Gaussian windows of 17, 9, 5 and 3 pixels inside the image, noise variance 2 on the range 0
    to 255, float64: the definition that torchmetrics' ``visual_information_fidelity(synthesised, truth)``
    follows, equal to it to 1e-9 (a test says so), but fifteen times as fast, the windows being separable. Not
    symmetric: the truth is the reference whose information is to be preserved.

    A constant truth carries no information, the ratio is then 0 / 0. Decided: 1 if the synthesised image is
    the same, else 0.

    Parameters
    ----------
    synthesised, truth
        (H, W) uint8, at least 41 x 41.

    Returns
    -------
    float
        In [0, inf): 1 for identical images, above 1 where contrast was gained; always finite.

    Raises
    ------
    TypeError, ValueError
        See :func:`idemodel.metrics.arguments.as_planes`.
    """
    planes = as_planes("vif", synthesised, truth, MINIMUM)
    if np.array_equal(synthesised, truth):
        return 1.0
    if truth.min() == truth.max():
        return 0.0
    return _vif(*planes)


def _vif(synthesised: Plane, truth: Plane) -> float:
    preserved = total = 0.0
    for scale, window in enumerate(WINDOWS):
        if scale:
            synthesised = gaussian_inside(synthesised, window, window / 5)[::2, ::2]
            truth = gaussian_inside(truth, window, window / 5)[::2, ::2]
        kept, there = _information(synthesised, truth, window)
        preserved, total = preserved + kept, total + there
    return preserved / total


def _information(synthesised: Plane, truth: Plane, window: int) -> tuple[float, float]:
    """Information of the truth in the synthesised image and in itself, on one scale (equations 19 and 20)."""
    synthesised_mean, truth_mean, synthesised_square, truth_square, product = (
        gaussian_inside(plane, window, window / 5)
        for plane in (synthesised, truth, synthesised**2, truth**2, synthesised * truth)
    )
    variance = np.maximum(truth_square - truth_mean**2, 0.0)
    distorted = np.maximum(synthesised_square - synthesised_mean**2, 0.0)
    covariance = product - synthesised_mean * truth_mean
    gain = covariance / (variance + FLAT)
    residual = distorted - gain * covariance
    no_gain = (variance < FLAT) | (distorted < FLAT) | (gain < 0.0)
    gain = np.where(no_gain, 0.0, gain)
    residual = np.maximum(np.where(no_gain, distorted, residual), FLAT)
    variance = np.where(variance < FLAT, 0.0, variance)
    kept = np.log1p(gain**2 * variance / (residual + NOISE_VARIANCE)).sum()
    return float(kept), float(np.log1p(variance / NOISE_VARIANCE).sum())


VIF = Metric(
    name="vif",
    label="VIF",
    higher_is_better=True,
    range=(0.0, math.inf),
    source="Sheikh and Bovik 2006; pixel domain (VIF-p), noise variance 2",
    minimum=MINIMUM,
    function=vif,
)

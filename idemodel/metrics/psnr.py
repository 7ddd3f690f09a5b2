"""PSNR, the peak signal-to-noise ratio."""

from __future__ import annotations

import math

import numpy as np

from idemodel.metrics.arguments import Grey, Plane, as_planes
from idemodel.metrics.kinds import Metric

MINIMUM = 2
CAP = 100.0  # dB; the ratio of identical images is infinite, and a mean of scores must not be


def psnr(synthesised: Grey, truth: Grey) -> float:
    """Peak signal-to-noise ratio in decibels: ``10 log10(255^2 / MSE)``, at most 100.

    Identical images have no error and an infinite ratio; they get 100 dB, and so does any pair with a larger ratio
    (a single level in one pixel of more than 150,000). Symmetric.

    Parameters
    ----------
    synthesised, truth
        (H, W) uint8, at least 2 x 2.

    Returns
    -------
    float
        In [0, 100] dB; 100 for identical images.

    Raises
    ------
    TypeError, ValueError
        See :func:`idemodel.metrics.arguments.as_planes`.
    """
    return _psnr(*as_planes("psnr", synthesised, truth, MINIMUM))


def _psnr(synthesised: Plane, truth: Plane) -> float:
    error = float(np.mean((synthesised - truth) ** 2))
    return min(CAP, 10.0 * math.log10(255.0**2 / error)) if error else CAP


PSNR = Metric(
    name="psnr",
    label="PSNR",
    higher_is_better=True,
    range=(0.0, CAP),
    source="10 log10(255^2 / MSE) in dB, at most 100, which identical images get",
    minimum=MINIMUM,
    function=psnr,
)

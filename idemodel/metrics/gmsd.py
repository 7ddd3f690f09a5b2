"""GMSD, the spread of the local gradient similarity."""

from __future__ import annotations

import numpy as np

from idemodel.metrics.arguments import Grey, Plane, as_planes
from idemodel.metrics.filters import block_means, gradient_magnitude, ratio_similarity
from idemodel.metrics.kinds import Metric

MINIMUM = 6  # one Prewitt window after the halving
PREWITT = (1 / 3, 1 / 3, 1 / 3)
STABILITY = 170.0  # the paper's c, for gradients on the range 0 to 255


def gmsd(synthesised: Grey, truth: Grey) -> float:
    """Gradient magnitude similarity deviation: Xue, Zhang, Mou and Bovik, IEEE TIP 23(2), 2014.

    Both images are halved by 2 x 2 means, gradients are Prewitt's over a border of zeros, the similarity map
    is ``(2ab + 170) / (a^2 + b^2 + 170)`` and the score its population standard deviation (piq's choice;
    MATLAB's ``std2`` divides by n - 1, at 250 x 200 a difference below 2e-5). Symmetric. A distance: smaller
    is better.

    Parameters
    ----------
    synthesised, truth
        (H, W) uint8, at least 6 x 6.

    Returns
    -------
    float
        In [0, 0.5]; 0 for identical images, constant ones too.

    Raises
    ------
    TypeError, ValueError
        See :func:`idemodel.metrics.arguments.as_planes`.
    """
    return _gmsd(*as_planes("gmsd", synthesised, truth, MINIMUM))


def _gmsd(synthesised: Plane, truth: Plane) -> float:
    first, second = (gradient_magnitude(block_means(image, 2), PREWITT) for image in (synthesised, truth))
    return float(np.std(ratio_similarity(first, second, STABILITY)))


GMSD = Metric(
    name="gmsd",
    label="GMSD",
    higher_is_better=False,
    range=(0.0, 0.5),
    source="Xue et al. 2014; c = 170, population deviation",
    minimum=MINIMUM,
    function=gmsd,
)

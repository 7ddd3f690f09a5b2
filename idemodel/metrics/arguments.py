"""What every metric checks first: two grey images of one size, large enough; knows nothing of any metric."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from idemodel.files.shapes import shape_text

Grey: TypeAlias = NDArray[np.uint8]
Plane: TypeAlias = NDArray[np.float64]


def as_planes(metric: str, synthesised: Grey, truth: Grey, minimum: int) -> tuple[Plane, Plane]:
    """Check a pair of grey images and give them as float64 planes in 0 to 255.

    Parameters
    ----------
    metric
        Name of the metric, for the message.
    synthesised, truth
        (H, W) uint8.
    minimum
        The least height and width that the metric is defined for.

    Returns
    -------
    two (H, W) float64 arrays in [0, 255]

    Raises
    ------
    TypeError
        Not NumPy arrays of uint8.
    ValueError
        Not two-dimensional, of different sizes, or smaller than ``minimum`` on a side.
    """
    _check_grey(metric, synthesised)
    _check_grey(metric, truth)
    if synthesised.shape != truth.shape:
        raise ValueError(
            f"{metric}: the synthesised image is {shape_text(synthesised.shape)} and the truth "
            f"{shape_text(truth.shape)}; they must be of one size"
        )
    return as_plane(metric, synthesised, minimum), as_plane(metric, truth, minimum)


def as_plane(metric: str, image: Grey, minimum: int) -> Plane:
    """Check one grey image and give it as a float64 plane; see :func:`as_planes`."""
    _check_grey(metric, image)
    if min(image.shape) < minimum:
        raise ValueError(
            f"{metric}: an image of {shape_text(image.shape)} is too small; at least {minimum} x {minimum} is needed"
        )
    return image.astype(np.float64)


def _check_grey(metric: str, image: Grey) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        given = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f"{metric}: an image is a NumPy array of uint8, not {given}")
    if image.ndim != 2:
        raise ValueError(f"{metric}: a grey image is (H, W), not {image.shape}")

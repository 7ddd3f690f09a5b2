"""Scoot, a sketch metric by the co-occurrence of grey levels in blocks."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from idemodel.metrics.arguments import Grey, as_planes
from idemodel.metrics.kinds import Metric

LEVELS = 6
BLOCKS = 4  # blocks along each side
OFFSETS = (
    (0, 1),
    (-1, 1),
    (-1, 0),
    (-1, -1),
)  # rows, columns: 0, 45, 90, 135 degrees in MATLAB's orientation
MINIMUM = 16  # blocks of 4 x 4 are the smallest whose rounded matrix cannot be empty


def scoot(synthesised: Grey, truth: Grey) -> float:
    """Structure co-occurrence texture: Fan, Zhang, Wu, Liu, Cheng, Ren, Rosin and Ji, ICCV 2019.

    Grey levels are quantised to 6 by ``min(5, floor(6 v / 255))``. The image is cut into 4 x 4 blocks at
    ``floor(i H / 4)`` and ``floor(j W / 4)``. In each block the four co-occurrence matrices of distance 1 (0,
    45, 90 and 135 degrees, MATLAB's orientation, not symmetrised) are averaged, rounded half up and
    normalised to sum 1; its contrast ``sum (i - j)^2 p_ij`` and energy ``sum p_ij^2`` are the features. The
    score is ``1 / (1 + |f - g|_2)`` of the 32 features. Symmetric.

    Parameters
    ----------
    synthesised, truth
        (H, W) uint8, at least 16 x 16.

    Returns
    -------
    float
        In (0, 1]; 1 for identical images, and for any whose blocks have the same statistics (all constant
        ones).

    Raises
    ------
    TypeError, ValueError
        See :func:`idemodel.metrics.arguments.as_planes`.
    """
    as_planes("scoot", synthesised, truth, MINIMUM)
    return _scoot(_quantised(synthesised), _quantised(truth))


def _scoot(synthesised: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    difference = _features(synthesised) - _features(truth)
    return 1.0 / (1.0 + float(np.linalg.norm(difference)))


def _quantised(image: Grey) -> NDArray[np.int64]:
    return np.minimum(LEVELS * image.astype(np.int64) // 255, LEVELS - 1)


def _features(levels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Contrast and energy of every block, (BLOCKS, BLOCKS, 2)."""
    rows, columns = (np.arange(BLOCKS + 1) * side // BLOCKS for side in levels.shape)
    blocks = [
        [levels[top:bottom, left:right] for left, right in itertools.pairwise(columns)]
        for top, bottom in itertools.pairwise(rows)
    ]
    return np.array([[_contrast_and_energy(_cooccurrence(block)) for block in row] for row in blocks])


def _cooccurrence(block: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean of the four directions' counts, rounded half up, as probabilities, (LEVELS, LEVELS)."""
    height, width = block.shape
    counts = np.zeros(LEVELS * LEVELS, dtype=np.int64)
    for down, right in OFFSETS:
        here = block[max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
        there = block[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
        counts += np.bincount((LEVELS * here + there).ravel(), minlength=LEVELS * LEVELS)
    mean = (counts + len(OFFSETS) // 2) // len(OFFSETS)
    return (mean / mean.sum()).reshape(LEVELS, LEVELS)


def _contrast_and_energy(matrix: NDArray[np.float64]) -> tuple[float, float]:
    first, second = np.indices(matrix.shape)
    return float(np.sum((first - second) ** 2 * matrix)), float(np.sum(matrix**2))


SCOOT = Metric(
    name="scoot",
    label="Scoot",
    higher_is_better=True,
    range=(0.0, 1.0),
    source="Fan et al. 2019; 4 x 4 blocks, 6 levels, contrast and energy",
    minimum=MINIMUM,
    function=scoot,
)

"""The filters that metrics share: block means, gradients, Gaussian windows; each says what its border is."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d

from idemodel.metrics.arguments import Plane


def block_means(image: Plane, factor: int) -> Plane:
    """Average over ``factor`` x ``factor`` windows and keep every ``factor``-th, as the MATLAB originals do.

    Equal to ``conv2(image, ones(f) / f^2, 'same')`` sampled at 1, 1 + f, 1 + 2f, ...: the windows are
    disjoint, the first begins ``(f - 1) // 2`` pixels outside, and what lies outside counts as 0.

    Parameters
    ----------
    image
        (H, W) float64.
    factor
        Side of the window, at least 1.

    Returns
    -------
    (ceil(H / factor), ceil(W / factor)) float64
    """
    if factor == 1:
        return image
    before = (factor - 1) // 2
    counts = [-(-side // factor) for side in image.shape]
    padding = [
        (before, max(0, count * factor - before - side)) for count, side in zip(counts, image.shape, strict=True)
    ]
    padded = np.pad(image, padding)[: counts[0] * factor, : counts[1] * factor]
    return padded.reshape(counts[0], factor, counts[1], factor).mean(axis=(1, 3))


def gradient_magnitude(image: Plane, smoothing: tuple[float, float, float]) -> Plane:
    """Length of the gradient: central differences, smoothed across; zeros outside the image.

    Parameters
    ----------
    image
        (H, W) float64.
    smoothing
        The three weights across the difference: (3, 10, 3) / 16 is Scharr, (1, 1, 1) / 3 Prewitt.

    Returns
    -------
    (H, W) float64, not negative
    """
    padded = np.pad(image, 1)
    side, centre, other = smoothing
    across = side * padded[:-2] + centre * padded[1:-1] + other * padded[2:]
    down = side * padded[:, :-2] + centre * padded[:, 1:-1] + other * padded[:, 2:]
    return np.hypot(across[:, 2:] - across[:, :-2], down[2:] - down[:-2])


def ratio_similarity(first: Plane, second: Plane, stability: float) -> Plane:
    """``(2ab + c) / (a^2 + b^2 + c)``: 1 where two non-negative maps agree, towards 0 where they do not."""
    return (2.0 * first * second + stability) / (first**2 + second**2 + stability)


def gaussian_inside(image: Plane, window: int, sigma: float) -> Plane:
    """Gaussian means over the positions whose whole window lies inside the image.

    Parameters
    ----------
    image
        (H, W) float64, at least ``window`` on both sides.
    window
        Odd side of the square window.
    sigma
        Standard deviation in pixels; the weights are normalised to sum 1.

    Returns
    -------
    (H - window + 1, W - window + 1) float64
    """
    radius = window // 2
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2.0 * sigma**2))
    weights /= weights.sum()
    smooth = correlate1d(correlate1d(image, weights, axis=0), weights, axis=1)
    return smooth[radius : image.shape[0] - radius, radius : image.shape[1] - radius]

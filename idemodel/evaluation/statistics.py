"""Means with bootstrap intervals, and paired comparisons; knows numbers, not what they measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
SEED = 2022  # every interval starts from it, so equal data give equal intervals, on any number of workers
LEVEL = 0.95

_CHUNK = 1 << 21  # drawn indices held at once


@dataclass(frozen=True)
class Summary:
    """Mean, sample standard deviation (0 for a single value) and 95% interval of the mean."""

    mean: float
    std: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """A method against a reference on the same images.

    ``difference`` is the mean of method - reference, ``ci95`` its interval; ``wins``, ``ties`` and ``losses``
    count the images on which the method is better, equal, worse.
    """

    difference: float
    ci95: tuple[float, float]
    wins: int
    ties: int
    losses: int


def summarise(values: NDArray[np.float64]) -> Summary:
    """Summarise scores, (n,) float64 with n >= 1.

    Raises
    ------
    ValueError
        No values, or some are not finite.
    """
    scores = _checked(values)
    std = float(scores.std(ddof=1)) if scores.size > 1 else 0.0
    return Summary(float(scores.mean()), std, bootstrap_interval(scores))


def compare(values: NDArray[np.float64], reference: NDArray[np.float64], *, higher_is_better: bool) -> Comparison:
    """Compare scores with a reference's scores of the same images, both (n,) float64 in one order.

    Raises
    ------
    ValueError
        Different lengths, no values, or some are not finite.
    """
    scores, others = _checked(values), _checked(reference)
    if scores.shape != others.shape:
        raise ValueError(f"paired scores must be of one length, not {scores.size} and {others.size}")
    difference = scores - others
    gain = difference if higher_is_better else -difference
    return Comparison(
        difference=float(difference.mean()),
        ci95=bootstrap_interval(difference),
        wins=int(np.count_nonzero(gain > 0)),
        ties=int(np.count_nonzero(gain == 0)),
        losses=int(np.count_nonzero(gain < 0)),
    )


def bootstrap_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The percentile bootstrap's 95% interval of the mean: 10,000 resamples from the seed 2022.

    A single value has the interval from itself to itself: nothing is known of its spread.
    """
    scores = _checked(values)
    random = np.random.default_rng(SEED)
    rows = max(1, _CHUNK // scores.size)
    means = [
        scores[random.integers(scores.size, size=(min(rows, RESAMPLES - done), scores.size))].mean(axis=1)
        for done in range(0, RESAMPLES, rows)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _checked(values: NDArray[np.float64]) -> NDArray[np.float64]:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0:
        raise ValueError(f"scores are (n,) with n >= 1, not {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    return scores

"""Null-space linear discriminant analysis: fitted on samples of classes, applied to others; knows no image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray


@dataclass(frozen=True)
class NullSpaceLDA:
    """The most discriminant null-space projection: Chen, Liao, Ko, Lin and Yu, Pattern Recognition 33, 2000.

    The samples are reduced to the range of their total scatter S_t (a PCA that loses nothing), there to the
    null space of the within-class scatter S_w, in which every class falls on one point, and there rotated and
    ordered by the between-class scatter S_b, largest first. In general position c classes give c - 1
    dimensions.

    ``mean`` (d,) and ``projection`` (d, m) float64 with orthonormal columns; ``between`` (m,) is what each
    dimension has of S_b, descending.
    """

    mean: NDArray[np.float64]
    projection: NDArray[np.float64]
    between: NDArray[np.float64]

    def transform(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        """Project (n, d) samples to (n, m)."""
        projected: NDArray[np.float64] = (samples - self.mean) @ self.projection
        return projected


def fit_null_space_lda(samples: NDArray[np.float64], classes: NDArray[np.int64]) -> NullSpaceLDA:
    """Fit the projection.

    Parameters
    ----------
    samples
        (n, d) float64.
    classes
        (n,) integers, at least two different ones.

    Raises
    ------
    ValueError
        Shapes do not fit, there are fewer than two classes, values are not finite, or the null space is empty
        (as many samples as they have dimensions, or more: n - c >= d).
    """
    data, names, member = _checked(samples, classes)
    mean = data.mean(axis=0)
    centred = data - mean
    range_of_total = _row_space(centred)  # (d, r)
    if range_of_total.shape[1] == 0:
        raise ValueError("all samples are equal: there is nothing to tell apart")
    reduced = centred @ range_of_total
    counts = np.bincount(member)
    means = _class_means(reduced, member, counts)
    null_of_within = _null_space(reduced - means[member])  # (r, q)
    if null_of_within.shape[1] == 0:
        raise ValueError(
            f"the within-class scatter has no null space: {data.shape[0]} samples of {names.size} classes in "
            f"{data.shape[1]} dimensions; take fewer samples, or larger images"
        )
    weighted = np.sqrt(counts)[:, None] * (means @ null_of_within)
    _, spread, directions = scipy.linalg.svd(weighted, full_matrices=False)
    kept = spread > _threshold(weighted.shape, float(spread[0]))
    projection = range_of_total @ null_of_within @ directions[kept].T
    return NullSpaceLDA(mean, projection, spread[kept] ** 2)


def _checked(
    samples: NDArray[np.float64], classes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.intp]]:
    """The samples (n, d) float64, the c different classes, and each sample's class as an index into them, (n,)."""
    data, labels = np.asarray(samples, dtype=np.float64), np.asarray(classes)
    if data.ndim != 2 or labels.shape != data.shape[:1]:
        raise ValueError(f"samples are (n, d) and classes (n,), not {data.shape} and {labels.shape}")
    if not np.isfinite(data).all():
        raise ValueError("samples must be finite")
    names, member = np.unique(labels, return_inverse=True)
    if names.size < 2:
        raise ValueError(f"two classes are needed to tell apart, not {names.size}")
    return data, names, member


def _class_means(
    samples: NDArray[np.float64], member: NDArray[np.intp], counts: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Mean sample of every class, (c, r), of (n, r) samples and (c,) class sizes."""
    sums = np.stack([np.bincount(member, weights=column) for column in samples.T], axis=1)
    means: NDArray[np.float64] = sums / counts[:, None]
    return means


def _row_space(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal basis of the row space of (n, d), as (d, r) columns."""
    _, values, rows = scipy.linalg.svd(matrix, full_matrices=False)
    return rows[values > _threshold(matrix.shape, float(values[0]))].T


def _null_space(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal basis of the null space of (n, d), as (d, d - rank) columns."""
    _, values, rows = scipy.linalg.svd(matrix, full_matrices=True)
    rank = int(np.count_nonzero(values > _threshold(matrix.shape, float(values[0]))))
    return rows[rank:].T


def _threshold(shape: tuple[int, ...], largest: float) -> float:
    """Singular values up to this are rounding: NumPy's ``matrix_rank`` rule."""
    return max(shape) * float(np.finfo(np.float64).eps) * largest

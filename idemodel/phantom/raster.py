"""Owns the pixel grid in face units, soft masks and smooth noise; knows nothing of what a face looks like."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Window = tuple[slice, slice]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Frame:
    """A rectangle of pixels in face units: x right, y down, the eyes at (-0.5, 0) and (0.5, 0).

    `x0`, `y0` are the coordinates of pixel (0, 0); `scale` is pixels per unit, the distance between the eyes.
    """

    rows: int
    cols: int
    scale: float
    x0: float
    y0: float

    @classmethod
    def portrait(cls, height: int, width: int) -> Frame:
        """The whole picture: eyes at row H/2 and columns 0.375 W and 0.625 W."""
        scale = width / 4
        return cls(height, width, scale, -(width / 2) / scale, -(height / 2) / scale)

    @cached_property
    def x(self) -> Floats:
        """(1, cols) float32 abscissae."""
        return (self.x0 + np.arange(self.cols) / self.scale).astype(np.float32)[None, :]

    @cached_property
    def y(self) -> Floats:
        """(rows, 1) float32 ordinates."""
        return (self.y0 + np.arange(self.rows) / self.scale).astype(np.float32)[:, None]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.cols

    def window(self, left: float, right: float, top: float, bottom: float) -> tuple[Window, Frame]:
        """The part of the frame around a rectangle in face units: slices into this frame, its own frame."""
        c0, c1 = (_clamp((v - self.x0) * self.scale, self.cols) for v in (left, right))
        r0, r1 = (_clamp((v - self.y0) * self.scale, self.rows) for v in (top, bottom))
        part = Frame(r1 - r0, c1 - c0, self.scale, self.x0 + c0 / self.scale, self.y0 + r0 / self.scale)
        return (slice(r0, r1), slice(c0, c1)), part

    def pixels(self, points: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Rows and columns (not rounded) of points (..., 2) given as (x, y)."""
        return (points[..., 1] - self.y0) * self.scale, (points[..., 0] - self.x0) * self.scale

    def lookup(self, plane: Floats, points: NDArray[np.floating]) -> Floats:
        """The plane (rows, cols) at points (..., 2), nearest pixel, clamped at the border."""
        row, col = self.pixels(points)
        row = np.clip(np.rint(row), 0, self.rows - 1).astype(np.intp)
        col = np.clip(np.rint(col), 0, self.cols - 1).astype(np.intp)
        found: Floats = plane[row, col]
        return found


def _clamp(position: float, limit: int) -> int:
    return int(min(max(round(position), 0), limit))


def smoothstep(low: float, high: float, value: Floats) -> Floats:
    """0 below `low`, 1 above `high`, a cubic between; `low` > `high` makes it fall."""
    t = np.clip((value - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    step: Floats = t * t * (3 - 2 * t)
    return step


def cover(distance: Floats, scale: float, softness: float = 1.0) -> Floats:
    """Pixel coverage in [0, 1] of a signed distance in face units, positive inside; softness in pixels."""
    covered: Floats = np.clip(distance * np.float32(scale / softness) + np.float32(0.5), 0, 1)
    return covered


def bump(frame: Frame, cx: float, cy: float, sx: float, sy: float) -> Floats:
    """A Gaussian hill of height 1 over the frame."""
    across = np.exp(-0.5 * ((frame.x - cx) / sx) ** 2)
    down = np.exp(-0.5 * ((frame.y - cy) / sy) ** 2)
    hill: Floats = (across * down).astype(np.float32)
    return hill


def bell(value: Floats, width: float | Floats) -> Floats:
    """exp(-(value / width)^2 / 2)."""
    ratio = value / width
    hill: Floats = np.exp(np.float32(-0.5) * ratio * ratio)
    return hill


def smooth_noise(rng: np.random.Generator, frame: Frame, wavelength: float) -> Floats:
    """Gaussian-ish noise of about unit deviation, smooth over `wavelength` face units, on a fixed lattice.

    The lattice spans [-4, 4] x [-6, 6] and repeats beyond, so the same generator state gives the same field
    at any size.
    """
    knots = rng.standard_normal((int(12 / wavelength) + 4, int(8 / wavelength) + 4)).astype(np.float32)
    # Sums of four terms, not a matrix product: a BLAS may round differently with every thread count.
    row, row_weights = _spline_weights((frame.y[:, 0] + 6) / wavelength)
    col, col_weights = _spline_weights((frame.x[0] + 4) / wavelength)
    ribs: Floats = np.zeros((frame.rows, knots.shape[1]), dtype=np.float32)
    field: Floats = np.zeros(frame.shape, dtype=np.float32)
    for k, weight in enumerate(row_weights):
        ribs += weight[:, None] * knots[(row + k) % knots.shape[0]]
    for k, weight in enumerate(col_weights):
        field += weight * ribs[:, (col + k) % knots.shape[1]]
    return field * np.float32(2.0)


def _spline_weights(position: Floats) -> tuple[NDArray[np.intp], tuple[Floats, ...]]:
    """The first of the four knots that matter at each position, and their cubic B-spline weights."""
    first = np.floor(position).astype(np.intp)
    t = (position - first).astype(np.float32)
    rest = 1 - t
    inner = (2 / 3 - t * t + t**3 / 2, 2 / 3 - rest * rest + rest**3 / 2)
    return first, (rest**3 / 6, *inner, t**3 / 6)


def strand_noise(tile: Floats, across: Floats, along: Floats) -> Floats:
    """The (A, B) periodic tile read at (across, along), both in tile cells, linearly."""
    found: Floats = ndimage.map_coordinates(tile, [across, along], order=1, mode="grid-wrap", prefilter=False)
    return found


def blur(plane: Floats, sigma: float) -> Floats:
    """Gaussian blur, sigma in pixels, cut at 2.5 sigma."""
    blurred: Floats = ndimage.gaussian_filter(plane, sigma, mode="nearest", truncate=2.5)
    return blurred

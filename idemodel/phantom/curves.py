"""Owns closed outlines and pencil lines as curves in face units; knows nothing of pixels' colours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .raster import Floats, Frame

Points = Floats
XY = tuple[float, float]

_TABLE = 4096  # fine enough that its steps stay below a pixel


@dataclass(frozen=True)
class Line:
    """One drawn line: points (N, 2) in face units, a pressure (1 is a firm line), a width in face units.

    `layer` names the surface that the line lies on ("face", "body" or "top"): what is in front hides it.
    """

    points: Points
    pressure: float = 1.0
    width: float = 0.02
    layer: str = "face"


@dataclass(frozen=True)
class Outline:
    """A closed curve, star-shaped about `centre`, kept as points (N, 2)."""

    centre: tuple[float, float]
    points: Points

    @cached_property
    def _table(self) -> tuple[Floats, Floats]:
        """Radius, and the cosine between the ray and the normal, at `_TABLE` even angles."""
        offset = self.points - np.asarray(self.centre)
        theta = np.arctan2(offset[:, 0], -offset[:, 1])
        grid = np.arange(_TABLE) * (2 * np.pi / _TABLE) - np.pi
        radius = np.interp(grid, theta, np.hypot(offset[:, 0], offset[:, 1]), period=2 * np.pi)
        slope = (np.roll(radius, -1) - np.roll(radius, 1)) * _TABLE / (4 * np.pi)
        return radius.astype(np.float32), (1 / np.hypot(1, slope / radius)).astype(np.float32)

    def polar(self, frame: Frame) -> tuple[Floats, Floats, Floats]:
        """Over the frame: rho (0 at the centre, 1 on the curve), distance (inside > 0), angle from up."""
        dx, dy = frame.x - self.centre[0], frame.y - self.centre[1]
        theta = np.arctan2(dx, -dy)
        r = np.sqrt(dx * dx + dy * dy)
        index = ((theta + np.pi) * (_TABLE / (2 * np.pi))).astype(np.intp) % _TABLE
        radius, cosine = (table[index] for table in self._table)
        return r / radius, (radius - r) * cosine, theta


def spline(knots: Points, per_span: int = 16, closed: bool = False) -> Points:
    """A Catmull-Rom curve through the knots (K, 2), sampled `per_span` times a span."""
    if closed:
        padded = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    t = (np.arange(per_span) / per_span)[None, :, None]
    p0, p1, p2, p3 = (padded[k : len(padded) - 3 + k, None, :] for k in range(4))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    flat = curve.reshape(-1, 2)
    return flat if closed else np.concatenate([flat, knots[-1:]])


def symmetric_outline(half: list[XY], centre: XY, lean: float = 0.0) -> Outline:
    """The outline through the right half's knots, top to bottom, first and last on the axis.

    `lean` moves the upper part one way and the lower part the other, since no head is symmetric.
    """
    right = np.asarray(half, dtype=np.float64)
    left = right[-2:0:-1] * (-1, 1)
    points = spline(np.concatenate([right, left]), closed=True)
    points[:, 0] += lean * points[:, 1]
    return Outline(centre, points)


def curve_of(x: Points, y: Points) -> Points:
    """(N, 2) points from abscissae and ordinates."""
    return np.stack(np.broadcast_arrays(x, y), axis=-1).astype(np.float64)

"""Owns graphite on paper: strokes, density, grain, darkness; knows nothing of what is drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .curves import Line, Points
from .raster import Floats, Frame, blur, smooth_noise

_STEP = 0.6  # pixels between the samples of a stroke


class Paper:
    """A sheet that gathers graphite: `density` (H, W) float32, 0 is bare, about 2 is as dark as pencil goes.

    The hand's liberties live here: what is drawn at p lands at p + wander(p), smooth, a pixel or two.
    """

    def __init__(self, frame: Frame, rng: np.random.Generator) -> None:
        self.frame = frame
        self.density: Floats = np.zeros(frame.shape, dtype=np.float32)
        self._rng = rng
        self._wander = [smooth_noise(rng, frame, 0.9) * np.float32(0.017) for _ in range(2)]
        self._pressure = smooth_noise(rng, frame, 0.20)

    def smudge(self, amount: Floats) -> None:
        """Rub graphite into the paper: `amount` (H, W) of density, moved by the wander."""
        right, down = (np.rint(field * self.frame.scale).astype(np.intp) for field in self._wander)
        rows, cols = np.arange(self.frame.rows)[:, None] - down, np.arange(self.frame.cols)[None, :] - right
        rows, cols = np.clip(rows, 0, self.frame.rows - 1), np.clip(cols, 0, self.frame.cols - 1)
        self.density += blur(amount[rows, cols], 0.010 * self.frame.scale)

    def lines(self, lines: list[Line], seen: dict[str, Floats]) -> None:
        """Draw contours twice, never quite on the same path, lighter where the pencil lifts."""
        starts, stops, phases, weights, widths = (
            np.concatenate(part) for part in zip(*map(_segments, lines), strict=True)
        )
        sheer = self._sheer(lines, starts, seen)
        for share, slip in ((0.72, 0.0), (0.42, 0.010)):
            offset = self._rng.normal(0, slip, 2) if slip else np.zeros(2)
            lift = np.clip(1 + 0.22 * self.frame.lookup(self._pressure, starts), 0.35, 1.6)
            taper = np.clip(8 * np.minimum(phases, 1 - phases) + 0.35, 0, 1)
            self._deposit(starts + offset, stops + offset, share * weights * sheer * lift * taper, widths)

    def _sheer(self, lines: list[Line], starts: Points, seen: dict[str, Floats]) -> Floats:
        """How much of each segment shows, in [0, 1], given what is left bare of each line's layer."""
        layers = np.repeat([line.layer for line in lines], [len(line.points) - 1 for line in lines])
        shown = np.zeros(len(starts))
        for layer, plane in seen.items():
            here = layers == layer
            shown[here] = self.frame.lookup(plane, starts[here])
        return np.clip(1.6 * shown - 0.1, 0, 1)

    def strokes(self, points: Points, pressure: NDArray[np.floating], width: float) -> None:
        """Draw strokes, points (S, P, 2) with pressures (S, P), all of one width in face units."""
        middle = 0.5 * (pressure[:, :-1] + pressure[:, 1:])
        starts, stops = points[:, :-1].reshape(-1, 2), points[:, 1:].reshape(-1, 2)
        weights = middle.reshape(-1)
        keep = weights > 0.01
        starts, stops, weights = starts[keep], stops[keep], weights[keep]
        self._deposit(starts, stops, weights, np.full(len(weights), width))

    def _deposit(
        self, starts: Points, stops: Points, weights: NDArray[np.floating], widths: NDArray[np.floating]
    ) -> None:
        """Leave graphite along segments: area times pressure, shared among the pixels around each sample."""
        scale = self.frame.scale
        length = np.hypot(*(stops - starts).T) * scale
        count = np.maximum(np.ceil(length / _STEP), 1).astype(np.intp)
        segment = np.repeat(np.arange(len(count)), count)
        order = np.arange(len(segment)) - np.repeat(np.cumsum(count) - count, count)
        t = ((order + 0.5) / count[segment])[:, None]
        points = starts[segment] * (1 - t) + stops[segment] * t
        points[:, 0] += self.frame.lookup(self._wander[0], points)
        points[:, 1] += self.frame.lookup(self._wander[1], points)
        row, col = self.frame.pixels(points)
        spread = np.maximum(widths * scale - 0.7, 0)[segment] * 0.36
        row = row + spread * self._rng.standard_normal(len(row), dtype=np.float32)
        col = col + spread * self._rng.standard_normal(len(col), dtype=np.float32)
        amount = (weights * widths * scale * length / count)[segment]
        self._splat(row, col, amount)

    def _splat(self, row: Points, col: Points, amount: Points) -> None:
        rows, cols = self.frame.shape
        inside = (row > 0) & (row < rows - 1) & (col > 0) & (col < cols - 1)
        row, col, amount = row[inside], col[inside], amount[inside]
        r0, c0 = row.astype(np.intp), col.astype(np.intp)
        fr, fc = row - r0, col - c0
        base = r0 * cols + c0
        total = np.zeros(rows * cols)
        for step, share in (
            (0, (1 - fr) * (1 - fc)),
            (1, (1 - fr) * fc),
            (cols, fr * (1 - fc)),
            (cols + 1, fr * fc),
        ):
            total += np.bincount(base + step, weights=amount * share, minlength=rows * cols)
        self.density += total.reshape(rows, cols).astype(np.float32)

    def picture(self) -> NDArray[np.uint8]:
        """The uint8 sketch (H, W): grain breaks up light graphite more than heavy."""
        grain = blur(self._rng.standard_normal(self.frame.shape, dtype=np.float32), 0.55)
        grain *= np.float32(1 / grain.std())
        density = self.density * np.clip(1 + 0.45 * grain / (1 + self.density), 0.1, 2.2)
        dark = 1 - np.exp(-density)
        white = 0.992 + 0.006 * grain
        value = white - 0.93 * dark
        sketch: NDArray[np.uint8] = (np.clip(value, 0, 1) * 255 + 0.5).astype(np.uint8)
        return sketch


def _segments(line: Line) -> tuple[Points, Points, Points, Points, Points]:
    """A line as segments: starts, stops (N-1, 2), phase in [0, 1] along it, pressure and width of each."""
    count = len(line.points) - 1
    phase = (np.arange(count) + 0.5) / count
    return line.points[:-1], line.points[1:], phase, np.full(count, line.pressure), np.full(count, line.width)

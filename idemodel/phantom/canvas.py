"""Owns the layered surface of a portrait (albedo, relief, strands); does not know what the layers show."""

from __future__ import annotations

from typing import Any

import numpy as np

from .raster import Floats, Frame, Window

# Planes of the surface, in order.
RED, GREEN, BLUE, DEPTH, SLOPE_X, SLOPE_Y, GLOSS, STRAND_X, STRAND_Y, HAIR, SKIN, EYE = range(12)


def linear(colour: tuple[float, float, float]) -> Floats:
    """sRGB in [0, 1] to linear light (3,), gamma 2.2."""
    return (np.asarray(colour, dtype=np.float32) ** np.float32(2.2)).astype(np.float32)


class Surface:
    """Stacked planes (12, H, W) float32 that layers cover one after another, from back to front.

    `covers` keeps, per named layer, how much of it is still seen, for the lines that lie on it.
    """

    def __init__(self, frame: Frame, background: tuple[float, float, float]) -> None:
        self.frame = frame
        self.planes: Floats = np.zeros((12, *frame.shape), dtype=np.float32)
        self.planes[RED : BLUE + 1] = linear(background)[:, None, None]
        self.planes[DEPTH] = -1.2
        self.covers: dict[str, Floats] = {}

    def mark(self, layer: str) -> None:
        """Start a named layer: lines on it stay visible where later layers leave it bare."""
        self.covers[layer] = np.ones(self.frame.shape, dtype=np.float32)

    def lay(self, mask: Floats, planes: dict[int, Any], relief: Floats | None = None) -> None:
        """Cover with a layer of coverage `mask` (H, W); planes not given become 0.

        `relief` (H, W) gives depth and slopes.
        """
        bare = 1 - mask
        for seen in self.covers.values():
            seen *= bare
        given = dict(planes)
        if relief is not None:
            down, right = np.gradient(relief)
            given |= {DEPTH: relief, SLOPE_X: right * self.frame.scale, SLOPE_Y: down * self.frame.scale}
        for index in range(len(self.planes)):
            plane = self.planes[index]
            if index in given:
                plane += mask * (given[index] - plane)
            elif index > DEPTH:
                plane *= bare

    def tint(self, where: Window, mask: Floats, colour: Floats) -> None:
        """Paint a linear colour (3,) or (3, h, w) over a window, keeping the relief."""
        part = self.planes[RED : BLUE + 1, where[0], where[1]]
        target = colour[:, None, None] if colour.ndim == 1 else colour
        part += mask * (target - part)

    def scale(self, where: Window, factor: Floats, tint: tuple[float, float, float] = (1, 1, 1)) -> None:
        """Multiply the albedo over a window by `factor`, per channel to the power `tint` (1 is neutral)."""
        for channel, power in zip((RED, GREEN, BLUE), tint, strict=True):
            self.planes[channel][where] *= factor if power == 1 else factor**power

    def comb(self, where: Window, mask: Floats, dx: Floats, dy: Floats) -> None:
        """Mark hair lying in direction (dx, dy) over a window, keeping colour and relief."""
        norm = 1 / np.hypot(dx, dy)
        for index, value in ((STRAND_X, dx * norm), (STRAND_Y, dy * norm), (HAIR, 1.0)):
            part = self.planes[index][where]
            part += mask * (value - part)

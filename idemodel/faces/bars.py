"""Black bars at an image's edges, which the alignment of old data sets left there: found, and mended by mirroring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_BLACK = 10  # grey levels: nothing that a camera or a pencil leaves in whole rows
_OFF = 1.5  # pixels that a bar's inner edge may be off the straight line
_STRAIGHT = 0.85  # share of the columns that must be at the line, bars at the other edges are among the rest
_DEEPEST = 0.25  # of the image's side
_STEEPEST = 0.25  # rows a column: a head is not tilted further
_POINTS = 256  # columns that a line is laid through, of all
_MIRRORED = 8  # pixels: wide enough for texture, too narrow for a second head
_BLURRED = 1.5  # pixels beside a bar that resampling and JPEG have darkened


def bars(image: Image) -> Mask:
    """Where an image (H, W) or (H, W, 3) uint8 has bars, (H, W) bool.

    A bar is black, lies along an edge and ends in a straight line, level or tilted. Dark clothes and hair do not; what
    is black to the last grey level and ends so is taken for a bar. Two bars that take more than 15 % of an edge
    between them hide each other's line and are left.
    """
    black = np.all([plane <= _BLACK for plane in _planes(image)], axis=0)
    found = np.zeros(black.shape, np.bool_)
    for turns in range(4):
        found |= np.rot90(_lower_bar(np.rot90(black, turns)), -turns)
    return found


def mended(image: Image) -> Image:
    """The image with the few pixels beside its bars mirrored into them; the very array where there are none."""
    hidden = bars(image)
    if not hidden.any() or hidden.all():
        return image
    from scipy import ndimage

    places = np.array(np.nonzero(hidden))
    distance, nearest = ndimage.distance_transform_edt(hidden, return_indices=True)
    distance, nearest = distance[hidden], nearest[:, hidden]
    share = (np.maximum(distance - 1, 0) % _MIRRORED) / np.maximum(distance, 1)  # to and fro within a narrow strip
    mirrored = np.rint(nearest + (nearest - places) * share).astype(np.int64)
    mirrored = np.clip(mirrored, 0, np.array(hidden.shape)[:, None] - 1)
    inside = hidden[tuple(mirrored)]  # a corner's mirror image may lie in a bar
    rows, columns = np.where(inside, nearest, mirrored)
    filled = image.copy()
    filled[hidden] = image[rows, columns]
    return filled


def _planes(image: Image) -> list[Image]:
    return [image] if image.ndim == 2 else [image[..., channel] for channel in range(image.shape[2])]


def _lower_bar(black: Mask) -> Mask:
    """The bar along the last row, if there is one."""
    height, width = black.shape
    nothing = np.zeros_like(black)
    upwards = black[::-1]
    depth = np.where(upwards.all(axis=0), height, np.argmin(upwards, axis=0))  # black pixels in a row from the edge
    at = np.flatnonzero(depth)
    if len(at) < max(2, width // 25):
        return nothing
    some = at[:: -(-len(at) // _POINTS)]
    slope, start = _median_line(some, depth[some])
    line = np.maximum(slope * np.arange(width) + start, 0.0)
    within, there = np.abs(depth - line) <= _OFF, line >= 1
    straight = there.any() and min(within.mean(), (depth[there] > 0).mean()) >= _STRAIGHT
    if not straight or abs(slope) > _STEEPEST or line.max() > _DEEPEST * height:
        return nothing
    reach = np.where(line > 0, np.ceil(line + _BLURRED), 0)
    return np.asarray(np.arange(height)[:, None] >= height - reach, np.bool_)


def _median_line(places: NDArray[np.int64], depths: NDArray[np.int64]) -> tuple[float, float]:
    """Slope and start of a line through points by increasing places: medians (Theil, 1950; Sen, 1968).

    The estimate of ``scipy.stats.theilslopes`` to the last digit, without its interval, nor a third of a second that
    importing it takes.
    """
    left, right = np.triu_indices(len(places), 1)
    slope = np.median((depths[right] - depths[left]) / (places[right] - places[left]))
    return float(slope), float(np.median(depths) - slope * np.median(places))

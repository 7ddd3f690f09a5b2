"""Merging of top-K lists, of NumPy's arrays or a device's: their order, their padding and their checks; knows no bank.

A list is two arrays, place and distance, ascending by (distance, place). Where it has fewer candidates than entries,
the last distances are ``MISSING``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idekernels.arguments import namespace, on_device, whole

if TYPE_CHECKING:
    from idekernels.results import Candidates

Array = NDArray[Any]

MISSING = np.uint32(0xFFFFFFFF)  # no patch is as far as this: operations.match refuses settings that could reach it

NOWHERE = 2**62  # the place of what is missing
_SIDE = 2**16  # image sides are below it, and image numbers below 2^31, so that a place fits into int64


def nearest(place: Array, distance: Array, k: int) -> tuple[Array, Array]:
    """The k nearest of S lists at every node, ascending; equal distances go to the lowest place.

    Lists may be merged all at once or a few at a time, in any order, with the same result.

    Parameters
    ----------
    place : (S, B, N, K) int64
        Numbers that ascend with (image, row, column), by one rule for all lists.
    distance : (S, B, N, K) uint32
        ``MISSING`` where a list has no more candidates.
    k : int
        At most S * K.

    Returns
    -------
    place : (B, N, k) int64
    distance : (B, N, k) uint32
    """
    xp = namespace(distance)
    lists, photos, nodes, kept = distance.shape
    place, distance = (xp.moveaxis(part, 0, 2).reshape(photos, nodes, lists * kept) for part in (place, distance))
    order = xp.argsort(place, axis=-1)  # one sort a key: CuPy's lexsort takes flat arrays alone
    place, distance = (xp.take_along_axis(part, order, axis=-1) for part in (place, distance))
    order = xp.argsort(distance, axis=-1, kind="stable")[..., :k]  # stable: equal distances stay in order of place
    return xp.take_along_axis(place, order, axis=-1), xp.take_along_axis(distance, order, axis=-1)


def empty(shape: tuple[int, ...], xp: Any = np) -> tuple[Array, Array]:
    """Lists without a candidate: place int64 and distance uint32, both of this shape."""
    return xp.full(shape, NOWHERE, np.int64), xp.full(shape, MISSING, np.uint32)


def listed(part: Candidates, start: int, k: int) -> tuple[Array, Array]:
    """The first k candidates of a shard whose first image is ``start``: place and distance, (B, N, k)."""
    kept = min(k, part.distance.shape[2])
    place, distance = empty((*part.distance.shape[:2], k), namespace(part.distance))
    image, row, column = (axis[..., :kept].astype(np.int64) for axis in (part.image, part.row, part.column))
    place[..., :kept] = ((image + start) * _SIDE + row) * _SIDE + column
    distance[..., :kept] = part.distance[..., :kept]
    return place, distance


def unlisted(place: Array, distance: Array) -> tuple[Array, Array, Array]:
    """Image, row and column, int32, of the places that :func:`listed` made; -1 where a candidate is missing."""
    xp, absent = namespace(distance), distance == MISSING
    places = (place // _SIDE**2, place // _SIDE % _SIDE, place % _SIDE)
    image, row, column = (xp.where(absent, -1, axis).astype(np.int32) for axis in places)
    return image, row, column


def check_parts(parts: Sequence[Candidates], starts: Sequence[int]) -> list[int]:
    """Check that lists of shards can be merged; the shards' first images as plain integers.

    Raises
    ------
    TypeError, ValueError
        As :func:`idekernels.operations.merge` says.
    """
    if not len(parts) or len(parts) != len(starts):
        raise ValueError(f"give at least one part and as many starts, not {len(parts)} and {len(starts)}")
    begins = [whole("starts", start, 0, 2**31 - 1) for start in starts]
    first = parts[0].distance
    for number, part in enumerate(parts):
        for name, dtype in (("image", np.int32), ("row", np.int32), ("column", np.int32), ("distance", np.uint32)):
            axis = getattr(part, name)
            if on_device(axis) != on_device(first):
                raise TypeError("some parts are NumPy arrays, others a device's; bring them to one side")
            if axis.dtype != dtype:
                raise TypeError(f"part {number}: {name} must be {np.dtype(dtype)}, not {axis.dtype}")
            if (
                axis.shape[:2] != first.shape[:2]
                or axis.shape != part.distance.shape
                or axis.ndim != 3
                or not axis.size
            ):
                raise ValueError(
                    f"part {number}: {name} is {axis.shape}; all parts must have the same photos and nodes"
                )
    if not on_device(first):
        _check_values(parts, begins)
    return begins


def check_complete(parts: Sequence[Candidates], starts: Sequence[int], place: Array, distance: Array) -> None:
    """Refuse a merged list that a part was too short for: what it does not list may come before the K-th of all.

    Raises
    ------
    ValueError
        A part has fewer than K entries a node, and at some node all are candidates that come before the K-th of all.
    """
    k = distance.shape[2]
    for number, (part, start) in enumerate(zip(parts, starts, strict=True)):
        kept = part.distance.shape[2]
        if kept >= k:
            continue
        last_place, last = (axis[..., -1] for axis in listed(part, start, kept))
        taken = (last < distance[..., -1]) | ((last == distance[..., -1]) & (last_place < place[..., -1]))
        if (taken & (last != MISSING)).any():
            raise ValueError(
                f"part {number} lists {kept} candidates a node, at some node all before the {k}-th of all parts: its "
                f"shard may hold nearer ones than are listed; match it with k={k} and partial=True"
            )


def _check_values(parts: Sequence[Candidates], starts: Sequence[int]) -> None:
    ranges = []
    for number, (part, start) in enumerate(zip(parts, starts, strict=True)):
        there = part.distance != MISSING
        for name, most in (("image", 2**31 - 1 - start), ("row", _SIDE - 1), ("column", _SIDE - 1)):
            axis = getattr(part, name)[there]
            if axis.size and (axis.min() < 0 or axis.max() > most):
                raise ValueError(f"part {number}: {name} must be in 0 .. {most}, not {axis.min()} .. {axis.max()}")
        if (part.distance[..., 1:] < part.distance[..., :-1]).any():
            raise ValueError(f"part {number}: candidates must come with ascending distance, as match gives them")
        if there.any():
            images = part.image[there]
            ranges.append((start + int(images.min()), start + int(images.max()), number))
    ranges.sort()
    for (_, last, one), (begin, _, other) in pairwise(ranges):
        if begin <= last:
            raise ValueError(f"image {begin} of part {other} lies among those of part {one}; are the starts right?")

"""Exact patch matching on the device: launches the kernel that variants.py chooses over a bank's blocks, and merges."""

from __future__ import annotations

from typing import Any

import numpy as np

from idekernels.backends.cuda import launch, variants
from idekernels.backends.cuda.device import Device
from idekernels.backends.cuda.residency import Prepared
from idekernels.backends.cuda.variants import MatchProblem, Search
from idekernels.grid import PatchGrid


def match(query: Any, prepared: Prepared, grid: PatchGrid, radius: int, k: int, exclude: Any) -> tuple[Any, Any]:
    """Find the K nearest patches; see :func:`idekernels.operations.match` for the meaning.

    Query (B, L, H, W) uint8 on the device, exclude (B, any) int64 on the host. Returns place
    (image * H + row) * W + column, (B, N, K) int64, and distance, (B, N, K) uint32.
    """
    if k > launch.MOST_KEPT:
        raise ValueError(f"k is {k}, the backend cuda keeps {launch.MOST_KEPT} at most; take a smaller k, or cpu")
    bank, device, photos = prepared.bank, prepared.device, len(query)
    problem = MatchProblem(grid, radius, bank.weights, k, photos, bank.images)
    variant = variants.choose(problem, device.limits)
    shape = variant.shape(problem, device.limits)
    kernels = device.module(variants.source_text(variant.source), shape.options())
    xp, planes = device.xp, prepared.padded(query)
    rows, columns = xp.asarray(grid.rows), xp.asarray(grid.columns)
    weights = xp.asarray(np.array(bank.weights, np.uint32))
    distance = xp.full((photos, grid.nodes, k), np.uint32(launch.WORST), np.uint32)
    place = xp.zeros((photos, grid.nodes, k), np.int64)
    for first, images, block in prepared.blocks("source"):
        splits = shape.splits(photos, images, device.limits)
        found = xp.empty((2, splits, photos, grid.nodes, k), np.uint32)
        barred = _barred(xp, first, images, exclude)
        search = Search(block, planes, rows, columns, barred, weights, splits, found[0], found[1])
        kernels.launch(variant.kernel, shape.blocks(photos, splits), shape.threads, shape.arguments(search))
        merge(device, found[0], found[1], first * grid.height * grid.width, distance, place)
    return place, distance


def merge(device: Device, distances: Any, places: Any, origin: int, distance: Any, place: Any) -> None:
    """Merge S lists of every query into its running list, in place; all ascending by (distance, place), on the device.

    distances, places (S, ..., K) uint32, ``origin`` what is added to these places; distance (..., K) uint32, place
    (..., K) int64. Entries of distance ``WORST`` are empty, at the end of a list.
    """
    queries, k = place.size // place.shape[-1], place.shape[-1]
    kernels = device.module(variants.source_text(variants.MERGE_SOURCE), variants.merge_options(k))
    kernels.launch(
        "merge", (queries, 1, 1), launch.WARP,
        (distances, places, np.int32(len(distances)), np.int32(queries), np.int64(origin), distance, place),
    )  # fmt: skip


def _barred(xp: Any, first: int, images: int, exclude: Any) -> Any:
    """1 where a photo must not use an image of the block, (B, images) uint8."""
    here = exclude[(exclude >= first) & (exclude < first + images)]
    if not here.size:
        return xp.zeros((len(exclude), images), np.uint8)
    ids = np.arange(first, first + images)
    return xp.asarray((exclude[:, :, None] == ids).any(axis=1).astype(np.uint8))

"""Exact patch matching on the device: launches the kernel that variants.py chooses over a bank's blocks, and merges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from idekernels.backends.cuda import launch, variants
from idekernels.backends.cuda.device import Device
from idekernels.backends.cuda.residency import Prepared
from idekernels.backends.cuda.variants import MatchProblem, Search
from idekernels.grid import PatchGrid


def match(
    query: Any, prepared: Prepared, grid: PatchGrid, radius: int, k: int, exclude: Any
) -> tuple[Any, Any, Any, Any]:
    """Find the K nearest patches; see :meth:`idekernels.backends.protocol.Backend.match`.

    Query (B, L, H, W) uint8 on the device, exclude (B, any) int64 on the host.
    """
    if k > launch.MOST_KEPT:
        raise ValueError(f"k is {k}, the backend cuda keeps {launch.MOST_KEPT} at most; take a smaller k, or cpu")
    bank, device, photos = prepared.bank, prepared.device, len(query)
    problem = MatchProblem(grid, radius, bank.weights, k, photos, bank.images)
    variant = variants.choose(problem, device.limits)
    shape = variant.shape(problem, device.limits)
    kernels = device.module(variants.source_text(variant.source), shape.options())
    xp, planes = device.xp, prepared.padded(query)
    rows, columns = device.constant(grid.rows), device.constant(grid.columns)
    weights = device.constant(np.array(bank.weights, np.uint32))
    lists = [xp.empty((photos, grid.nodes, k), kind) for kind in (np.uint32, np.int32, np.int32, np.int32)]
    for first, images, block in prepared.blocks("source"):
        splits = shape.splits(photos, images, device.limits)
        found = xp.empty((2, splits, photos, grid.nodes, k), np.uint32)
        barred = _barred(prepared, first, images, exclude)
        search = Search(block, planes, rows, columns, barred, weights, splits, found[0], found[1])
        kernels.launch(variant.kernel, shape.blocks(photos, splits), shape.threads, shape.arguments(search))
        merge(device, found, first, (grid.height, grid.width), first > 0, lists)
    distance, image, row, column = lists
    return image, row, column, distance


def merge(device: Device, found: Any, first: int, size: tuple[int, int], begun: bool, lists: Sequence[Any]) -> None:
    """Merge S lists of every query into its running list, in place; all ascending by (distance, place), on the device.

    found : (2, S, ..., K) uint32, distances and places (image * H + row) * W + column of images of ``size`` (H, W),
    counted from image ``first`` of the bank on. begun : whether the running list has entries. lists : distance (..., K)
    uint32, image, row and column int32. Entries of distance ``WORST`` are empty, at the end of a list.
    """
    k, queries = found.shape[-1], lists[0].size // found.shape[-1]
    kernels = device.module(variants.source_text(variants.MERGE_SOURCE), variants.merge_options(k))
    kernels.launch(
        "merge", (queries, 1, 1), launch.WARP,
        (found[0], found[1], *map(np.int32, (found.shape[1], queries, first, *size, begun)), *lists),
    )  # fmt: skip


def _barred(prepared: Prepared, first: int, images: int, exclude: Any) -> Any:
    """1 where a photo must not use an image of the block, (B, images) uint8."""
    if not ((exclude >= first) & (exclude < first + images)).any():
        return prepared.nobody(len(exclude), images)
    ids = np.arange(first, first + images)
    return prepared.device.xp.asarray((exclude[:, :, None] == ids).any(axis=1).astype(np.uint8))

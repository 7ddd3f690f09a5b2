"""Exact patch matching on the device: launches match.cu over a bank's blocks and merges what they find."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from idekernels.backends.cuda import launch
from idekernels.backends.cuda.residency import Prepared
from idekernels.grid import PatchGrid

WORST = np.uint32(0xFFFFFFFF)  # no patch is as far as this: operations.match refuses settings that could reach it


@cache
def source() -> str:
    """The CUDA C++ of both kernels."""
    return Path(__file__).with_name("match.cu").read_text(encoding="utf-8")


def match(query: Any, prepared: Prepared, grid: PatchGrid, radius: int, k: int, exclude: Any) -> tuple[Any, Any]:
    """Find the K nearest patches; see :func:`idekernels.operations.match` for the meaning.

    Returns place (image * H + row) * W + column, (B, N, K) int64, and distance, (B, N, K) uint32.
    """
    if k > launch.MOST_KEPT:
        raise ValueError(f"k is {k}, the backend cuda keeps {launch.MOST_KEPT} at most; take a smaller k, or cpu")
    bank, device = prepared.bank, prepared.device
    xp, photos = device.xp, len(query)
    shape = launch.match_shape(grid, radius, bank.planes, k, bank.weights, device.limits)
    kernels = device.module(source(), shape.options())
    planes = prepared.padded(query)
    rows, columns = xp.asarray(grid.rows), xp.asarray(grid.columns)
    weights = xp.asarray(np.array(bank.weights, np.uint32))
    distance = xp.full((photos, grid.nodes, k), WORST, np.uint32)
    place = xp.zeros((photos, grid.nodes, k), np.int64)
    for first, images, block in prepared.blocks("source"):
        splits = shape.splits(grid, photos, images, device.limits)
        found = xp.empty((2, splits, photos, grid.nodes, k), np.uint32)
        barred = _barred(xp, first, images, exclude)
        kernels.launch(
            "match", shape.grid(grid, photos, splits), shape.threads,
            (block, np.int32(images), planes, rows, np.int32(len(grid.rows)), columns, np.int32(len(grid.columns)),
             barred, weights, np.int32(splits), found[0], found[1]),
        )  # fmt: skip
        queries = photos * grid.nodes
        kernels.launch(
            "merge", (queries, 1, 1), launch.WARP,
            (found[0], found[1], np.int32(splits), np.int32(queries), np.int64(first), distance, place),
        )  # fmt: skip
    return place, distance


def _barred(xp: Any, first: int, images: int, exclude: Any) -> Any:
    """1 where a photo must not use an image of the block, (B, images) uint8."""
    here = exclude[(exclude >= first) & (exclude < first + images)]
    if not here.size:
        return xp.zeros((len(exclude), images), np.uint8)
    ids = np.arange(first, first + images)
    return xp.asarray((exclude[:, :, None] == ids).any(axis=1).astype(np.uint8))

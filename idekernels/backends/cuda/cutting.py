"""Patches laid over one another on the device, cut along seams: one launch of cut.cu, and its geometry."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import launch, variants
from idekernels.grid import PatchGrid

SOURCE = ("common.cuh", "levels.cuh", "cut.cu")


def cut(patches: Any, grid: PatchGrid) -> Any:
    """Quilt along minimum-error boundaries; see :func:`idekernels.operations.blend`."""
    return quilted(patches, grid, 0.0)


def quilted(patches: Any, grid: PatchGrid, most: float) -> Any:
    """The quilt, or where ``most`` is above 0 its shares of that, clipped to [0, 1].

    One launch, a block a photo: cut.cu, where the order of the patches is told. Errors are float32: equal to the
    reference where patches hold whole levels, as those of one candidate do.
    """
    if grid.patch > launch.MOST_CUT:
        raise ValueError(
            f"patch is {grid.patch}, the backend cuda cuts {launch.MOST_CUT} at most; take cpu, or feather"
        )
    device = devices.current()
    xp, (photos, _, channels) = device.xp, patches.shape[:3]
    canvas = xp.empty((photos, channels, grid.height, grid.width), np.float32)  # every pixel gets a patch
    kernels = device.module(variants.source_text(SOURCE), options(grid, channels))
    kernels.launch(
        "cut", (photos, 1, 1), launch.WARP * warps_of(grid),
        (xp.ascontiguousarray(patches), device.constant(grid.rows), device.constant(grid.columns),
         *map(np.int32, (*grid.shape, behind(grid), grid.height, grid.width)), np.float32(most), canvas),
    )  # fmt: skip
    return canvas


@cache
def options(grid: PatchGrid, channels: int) -> tuple[str, ...]:
    """The compiler's options for cut.cu."""
    return launch.compiler_options(PATCH=grid.patch, CHANNELS=channels, WARPS=warps_of(grid))


@cache
def warps_of(grid: PatchGrid) -> int:
    """Warps of a block: one for each patch of the widest wave, as far as there is room."""
    down, across = grid.shape
    widest = min(down, -(-across // behind(grid)))
    return max(1, min(launch.MOST_WARPS, widest, launch.STATIC_SHARED // shared_of(grid.patch)))


def shared_of(patch: int) -> int:
    """Bytes of shared memory that cut.cu declares for a warp."""
    return 6 * patch * patch + 18 * patch + 32


@cache
def behind(grid: PatchGrid) -> int:
    """How many waves a row of the grid is laid after the one above it: as many patches of a row as touch, at least."""
    return max(int((grid.columns < column + grid.patch).sum()) - at for at, column in enumerate(grid.columns))

"""Patches to a picture on the device: weighted sums of candidates, then averaged or feathered (cut: cutting.py)."""

from __future__ import annotations

from typing import Any

import numpy as np

from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import launch
from idekernels.backends.cuda.launch import WARP
from idekernels.backends.cuda.variants import source_text
from idekernels.grid import PatchGrid

COMPOSE = ("common.cuh", "compose.cu")
BLEND = ("common.cuh", "grid.cuh", "blend.cu")
BLEND_WARPS = 4  # of a block


def compose(targets: Any, weights: Any) -> Any:
    """Each node's patch, sum_k w_k O_k; see :func:`idekernels.operations.compose`."""
    device = devices.current()
    photos, nodes, k, channels, patch, _ = targets.shape
    out = device.xp.empty((photos, nodes, channels, patch, patch), np.float32)
    items = launch.number(nodes * channels * patch**2)
    device.module(source_text(COMPOSE), compose_options(k, patch, channels)).launch(
        "compose", launch.blocks(launch.blocks_for(int(items))[0], photos, 1), launch.THREADS,
        (launch.whole_words(targets), weights, np.int32(nodes), out),
    )  # fmt: skip
    return out


def compose_options(kept: int, patch: int, channels: int) -> tuple[str, ...]:
    """The compiler's options for compose.cu."""
    return launch.compiler_options(KEPT=kept, PATCH=patch, PLANES=channels, THREADS=launch.THREADS)


def blend(patches: Any, grid: PatchGrid, window: Any) -> Any:
    """Weighted mean of the overlapping patches; see :func:`idekernels.operations.blend`."""
    device = devices.current()
    photos, _, channels = patches.shape[:3]
    out = device.xp.empty((photos, channels, grid.height, grid.width), np.float32)
    blocks = launch.blocks(-(-grid.width // WARP), -(-grid.height // BLEND_WARPS), photos * channels)
    device.module(source_text(BLEND), blend_options(grid.patch, grid.step, channels)).launch(
        "blend", blocks, WARP * BLEND_WARPS,
        (patches, device.xp.asarray(window.astype(np.float32)), np.int32(grid.height), np.int32(grid.width),
         *map(np.int32, grid.shape), out),
    )  # fmt: skip
    return out


def blend_options(patch: int, step: int, channels: int) -> tuple[str, ...]:
    """The compiler's options for blend.cu."""
    return launch.compiler_options(PATCH=patch, STEP=step, PLANES=channels, WARPS=BLEND_WARPS)

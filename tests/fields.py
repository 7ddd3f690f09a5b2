"""Small fields of random patches: what weighing, propagation and blending are given in the tests of the backends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from idekernels import PatchGrid, compatibility, evidence
from idekernels.results import Compatibility

REFERENCE = "reference"


def numbers(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def patches_on(grid: PatchGrid, k: int, planes: int = 1, photos: int = 1, seed: int = 0) -> Any:
    shape = (photos, grid.nodes, k, planes, grid.patch, grid.patch)
    return numbers(seed).integers(0, 256, shape, dtype=np.uint8)


def field(grid: PatchGrid, k: int, photos: int = 1) -> tuple[Any, Compatibility]:
    query = numbers(9).integers(0, 256, (photos, 1, grid.height, grid.width), dtype=np.uint8)
    gram = evidence(query, patches_on(grid, k, 1, photos), grid, backend=REFERENCE).gram
    tables_ = compatibility(patches_on(grid, k, 1, photos, 1), grid, backend=REFERENCE)
    return np.ascontiguousarray(gram), replace(tables_, backend=None)  # any backend may have them

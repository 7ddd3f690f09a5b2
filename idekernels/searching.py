"""The exact search of a prepared bank: in all of its images, or for each photo in those that were chosen for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels.arguments import namespace
from idekernels.grid import PatchGrid
from idekernels.results import PreparedBank

Found = tuple[Any, Any, Any, Any]
_NOBODY = np.full((1, 1), -1, np.int64)


@dataclass(frozen=True)
class Search:
    """What is looked for: the grid's patches, within ``radius`` pixels, the ``k`` nearest."""

    grid: PatchGrid
    radius: int
    k: int

    def within(self, query: Any, prepared: PreparedBank, handle: Any, exclude: NDArray[np.int64]) -> Found:
        """What the bank's backend finds in a handle."""
        return prepared.backend.match(query, handle, self.grid, self.radius, self.k, exclude)


def searched(query: Any, prepared: PreparedBank, search: Search, exclude: NDArray[np.int64]) -> Found:
    """Find the K nearest patches; see :meth:`idekernels.backends.protocol.Backend.match`.

    query : (B, L, H, W) uint8, where the backend computes. exclude : (B, X) int64, on the host. Returns image, row and
    column (B, N, K) int32, with image numbers of the whole bank, and distance (B, N, K) uint32.
    """
    chosen = prepared.preselection.chosen(query, exclude) if prepared.preselection else [None] * len(query)
    if all(images is None for images in chosen):
        return search.within(query, prepared, prepared.handle, exclude)
    parts = []
    for photo, images in enumerate(chosen):
        one, barred = query[photo : photo + 1], exclude[photo : photo + 1]
        if images is None:
            parts.append(search.within(one, prepared, prepared.handle, barred))
        else:
            some = prepared.backend.select(prepared.handle, images)
            image, *rest = search.within(one, prepared, some, _NOBODY)
            parts.append((_in_bank(image, images), *rest))
    image, row, column, distance = map(namespace(parts[0][0]).concatenate, zip(*parts, strict=True))
    return image, row, column, distance


def _in_bank(image: Any, images: NDArray[np.int64]) -> Any:
    """Numbers of images in the whole bank, of numbers among some of its images; -1 stays."""
    xp = namespace(image)
    return xp.where(image < 0, np.int32(-1), xp.asarray(images.astype(np.int32))[image])

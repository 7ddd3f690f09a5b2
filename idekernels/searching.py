"""The exact search of a prepared bank: in all of its images, or for each photo in those that were chosen for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels.arguments import namespace
from idekernels.grid import PatchGrid
from idekernels.results import PreparedBank

_NOBODY = np.full((1, 1), -1, np.int64)


@dataclass(frozen=True)
class Search:
    """What is looked for: the grid's patches, within ``radius`` pixels, the ``k`` nearest."""

    grid: PatchGrid
    radius: int
    k: int

    def within(self, query: Any, prepared: PreparedBank, handle: Any, exclude: NDArray[np.int64]) -> tuple[Any, Any]:
        """What the bank's backend finds in a handle: place (B, N, K) int64 and distance (B, N, K) uint32."""
        return prepared.backend.match(query, handle, self.grid, self.radius, self.k, exclude)


def searched(query: Any, prepared: PreparedBank, search: Search, exclude: NDArray[np.int64]) -> tuple[Any, Any]:
    """Find the K nearest patches; see :meth:`idekernels.backends.protocol.Backend.match`.

    query : (B, L, H, W) uint8, where the backend computes. exclude : (B, X) int64, on the host. Returns place (B, N, K)
    int64, (image * H + row) * W + column with image numbers of the whole bank, and distance (B, N, K) uint32.
    """
    chosen = prepared.preselection.chosen(query, exclude) if prepared.preselection else [None] * len(query)
    if all(images is None for images in chosen):
        return search.within(query, prepared, prepared.handle, exclude)
    parts = []
    for photo, images in enumerate(chosen):
        one, barred = query[photo : photo + 1], exclude[photo : photo + 1]
        if images is None:
            place, distance = search.within(one, prepared, prepared.handle, barred)
        else:
            some = prepared.backend.select(prepared.handle, images)
            place, distance = search.within(one, prepared, some, _NOBODY)
            place = _in_bank(place, images, prepared.bank.height * prepared.bank.width)
        parts.append((place[0], distance[0]))
    join = namespace(parts[0][0]).stack
    return join([place for place, _ in parts]), join([distance for _, distance in parts])


def _in_bank(place: Any, images: NDArray[np.int64], pixels: int) -> Any:
    """Places in the whole bank, of places among some of its images; what is missing comes to lie anywhere."""
    xp = namespace(place)
    image = xp.minimum(place // pixels, len(images) - 1)
    return xp.asarray(images)[image] * pixels + place % pixels

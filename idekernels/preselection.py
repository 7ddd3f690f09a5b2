"""Which faces of a bank are near a photo, judged by descriptions alone: the choice before the exact search.

A patch's candidates come from any face that looks alike just there, so that a distance of whole descriptions, which one
large difference decides, finds few of them. Faces are elected instead: every region, 2 x 2 neighbouring cells (regions
overlap), gives a vote to each of the faces nearest to the photo in that region. All is done in integers, and equal
faces come in the bank's order: the choice is the same on every machine and backend.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels.arguments import namespace
from idekernels.backends.protocol import Backend
from idekernels.bank import PatchBank
from idekernels.bank.description import describe
from idekernels.files.processes import kept_property

_SHARE = 4  # of the faces that are asked for, one in so many gets a region's vote
_FEWEST = 8  # get it at least, as far as there are so many
_BARRED = 2**31 - 1  # the distance of a face that must not be chosen; no description is as far


@dataclass(frozen=True)
class Preselection:
    """The ``count`` faces of a bank that win the most votes of a photo's regions.

    Parameters
    ----------
    bank : PatchBank
    count : int
        At least 1.
    backend : Backend
        Where the votes are counted.
    """

    bank: PatchBank
    count: int
    backend: Backend = field(repr=False)

    def chosen(self, query: Any, exclude: NDArray[np.int64]) -> list[NDArray[np.int64] | None]:
        """The faces for every photo.

        Parameters
        ----------
        query : (B, L, H, W) uint8
            On the host or the backend's device.
        exclude : (B, X) int64
            Images that a photo must not use, -1 for none: they are chosen by nobody, and vote for nobody.

        Returns
        -------
        list of (n,) int64 or None
            For each photo the numbers of its faces, ascending, n = ``count``; None where there are no more than these.
        """
        planes = query if isinstance(query, np.ndarray) else query.get()
        barred = [np.unique(row[row >= 0]) for row in exclude]
        return [
            self._elected(seen, without) if self.count < self.bank.images - len(without) else None
            for seen, without in zip(describe(planes), barred, strict=True)
        ]

    def _elected(self, seen: NDArray[np.uint8], barred: NDArray[np.int64]) -> NDArray[np.int64]:
        """The faces for a photo of this description, (L, R, S) uint8."""
        cells = self._cells
        xp = namespace(cells)
        votes = xp.zeros(self.bank.images, np.int32)
        nearest = max(min(_FEWEST, self.count), self.count // _SHARE)
        for apart in _regions(cells, xp.asarray(seen), self.bank.weights, xp):
            if len(barred):
                apart[:, xp.asarray(barred)] = _BARRED
            limit = xp.partition(apart, nearest - 1, axis=1)[:, nearest - 1 : nearest]
            votes += (apart <= limit).sum(axis=0, dtype=np.int32)
        if len(barred):
            votes[xp.asarray(barred)] = -1
        order = xp.argsort(-votes, kind="stable")[: self.count]
        winners = order if isinstance(order, np.ndarray) else order.get()
        return np.sort(winners.astype(np.int64))

    @kept_property
    def _cells(self) -> Any:
        """The bank's descriptions where the backend computes, (R, L, S, n) uint8."""
        found = self.bank.descriptions()
        return self.backend.upload(np.ascontiguousarray(found.transpose(2, 1, 3, 0)))


def _regions(cells: Any, seen: Any, weights: tuple[int, ...], xp: Any) -> Iterator[Any]:
    """Yield for every row of regions their distances to all faces, (regions, n) int32 or int64."""
    kind = np.int32 if 4 * 255**2 * sum(weights) < _BARRED else np.int64
    above = None
    for row in range(len(cells)):
        apart = sum(
            weight * xp.square(cells[row, plane].astype(kind) - seen[plane, row][:, None].astype(kind))
            for plane, weight in enumerate(weights)
        )
        joined = apart[1:] + apart[:-1] if len(apart) > 1 else apart
        if above is not None:
            yield above + joined
        elif len(cells) == 1:
            yield joined
        above = joined

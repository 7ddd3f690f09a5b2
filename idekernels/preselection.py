"""Which faces of a bank are near a photo, judged by descriptions alone: the choice before the exact search.

A patch's candidates come from any face that looks alike just there, so that the distance of whole descriptions, which
one large difference decides, finds few of them. The faces are elected instead. Every region, 2 x 2 neighbouring cells
(regions overlap), names the faces nearest to the photo in that region; seats are then given one after the other, each
to the face that most regions name, where a region that has named c faces with seats counts 1 / (1 + c): no region is
left without (Thiele's proportional approval voting, 1895). All is done in integers, and of equal faces the bank's first
comes first: the choice is the same on every machine and backend.
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

_SHARE = 4  # of the faces that are asked for, a region names one in so many
_FEWEST = 8  # and at least these, as far as so many are asked for
_BARRED = 2**31 - 1  # the distance of a face that must not be chosen; no region of a description is as far


@dataclass(frozen=True)
class Preselection:
    """The ``count`` faces of a bank that a photo's regions elect.

    Parameters
    ----------
    bank : PatchBank
    count : int
        At least 1.
    backend : Backend
        What computes the distances, and holds the election.
    """

    bank: PatchBank
    count: int
    backend: Backend = field(repr=False)

    def warm_up(self) -> None:
        """Read the bank's descriptions, or compute them where its file has none, and compile what counts the votes."""
        _ = self._cells
        self.backend.elect(np.zeros((1, 1), np.int64), np.ones(1, np.bool_), 1)

    def chosen(self, query: Any, exclude: NDArray[np.int64]) -> list[NDArray[np.int64] | None]:
        """The faces for every photo.

        Parameters
        ----------
        query : (B, L, H, W) uint8
            On the host or the backend's device.
        exclude : (B, X) int64
            Images that a photo must not use, -1 for none: it is as if they were not in the bank.

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
        names = max(min(_FEWEST, self.count), self.count // _SHARE)
        named = []
        for apart in _regions(cells, xp.asarray(seen), self.bank.weights, xp):
            if len(barred):
                apart[:, xp.asarray(barred)] = _BARRED
            named.append(_nearest(apart, names, xp))
        standing = np.ones(self.bank.images, np.bool_)
        standing[barred] = False
        chosen: NDArray[np.int64] = self.backend.elect(np.concatenate(named), standing, self.count)
        return chosen

    @kept_property
    def _cells(self) -> Any:
        """The bank's descriptions where the backend computes, (R, L, S, n) uint8."""
        found = self.bank.descriptions()
        return self.backend.upload(np.ascontiguousarray(found.transpose(2, 1, 3, 0)))


def _regions(cells: Any, seen: Any, weights: tuple[int, ...], xp: Any) -> Iterator[Any]:
    """Yield for every row of regions their distances to all faces, (regions, n) int32 or int64.

    In place where that can be: fresh memory costs more than the arithmetic.
    """
    kind = np.int32 if 4 * 255**2 * sum(weights) < _BARRED else np.int64
    levels, above = seen.astype(np.int16)[..., None], None
    for row in range(len(cells)):
        apart = xp.zeros(cells.shape[2:], kind)
        for plane, weight in enumerate(weights):
            difference = cells[row, plane].astype(np.int16)
            difference -= levels[plane, row]
            square = difference.astype(kind)
            square *= square
            if weight != 1:
                square *= kind(weight)
            apart += square
        joined = apart[1:] + apart[:-1] if len(apart) > 1 else apart
        if above is not None:
            above += joined
            yield above
        elif len(cells) == 1:
            yield joined
        above = joined


def _nearest(apart: Any, count: int, xp: Any) -> NDArray[np.int64]:
    """The ``count`` nearest faces of every region, in the bank's order, (regions, count) int64 on the host.

    apart : (regions, n), distances; of equal ones the first are taken.
    """
    limit = xp.partition(apart, count - 1, axis=1)[:, count - 1 : count]
    near = xp.flatnonzero(apart <= limit)
    if near.size > count * len(apart):
        region = near // apart.shape[1]
        near = near[_first_of_equals(region, apart.ravel()[near] == limit.ravel()[region], count, xp)]
    named = near if isinstance(near, np.ndarray) else near.get()
    return named.reshape(-1, count) % apart.shape[1]


def _first_of_equals(region: Any, equal: Any, count: int, xp: Any) -> Any:
    """Which entries to keep so that every region has ``count``: all but the last of those that are equally far.

    region : (entries,) int64, ascending. equal : (entries,) bool, the entries at their region's limit.
    """
    all_near, at_limit = xp.bincount(region), xp.bincount(region, equal).astype(np.int64)
    number = xp.cumsum(equal) - (xp.cumsum(at_limit) - at_limit)[region]  # 1, 2, ... among the equal of a region
    return xp.logical_not(equal) | (number <= (count - all_near + at_limit)[region])

"""PatchGrid: where patches lie on an image, which are neighbours, and where they overlap; knows no pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idekernels.files.processes import kept_property


@dataclass(frozen=True)
class PatchGrid:
    """Square patches laid over an image so that every pixel is covered.

    Anchors (the patches' top-left pixels) stand every ``patch - overlap`` pixels; the last of a row or column is
    clamped to the border. Nodes are numbered row by row.

    Parameters
    ----------
    height, width : int
        Image size in pixels, each at least ``patch``.
    patch : int
        Side of a patch in pixels, at least 1.
    overlap : int
        Pixels shared by regular neighbours, ``0 <= overlap < patch``.

    Raises
    ------
    TypeError
        A value is not an integer.
    ValueError
        A value is out of its range.
    """

    height: int
    width: int
    patch: int = 10
    overlap: int = 5

    def __post_init__(self) -> None:
        for name in ("height", "width", "patch", "overlap"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise TypeError(f"{name} must be an integer, not {value!r}")
            object.__setattr__(self, name, int(value))
        if self.patch < 1:
            raise ValueError(f"patch must be at least 1, not {self.patch}")
        if not 0 <= self.overlap < self.patch:
            raise ValueError(f"overlap must be at least 0 and below patch ({self.patch}), not {self.overlap}")
        if min(self.height, self.width) < self.patch:
            raise ValueError(f"a {self.height} x {self.width} image is smaller than one {self.patch}-pixel patch")

    @property
    def step(self) -> int:
        """Distance between regular anchors, in pixels."""
        return self.patch - self.overlap

    @kept_property
    def rows(self) -> NDArray[np.int32]:
        """Anchor rows, ascending: (R,) int32."""
        return _anchors(self.height, self.patch, self.step)

    @kept_property
    def columns(self) -> NDArray[np.int32]:
        """Anchor columns, ascending: (C,) int32."""
        return _anchors(self.width, self.patch, self.step)

    @property
    def shape(self) -> tuple[int, int]:
        """Nodes down and across: (R, C)."""
        return len(self.rows), len(self.columns)

    @property
    def nodes(self) -> int:
        """Number of nodes, R * C."""
        return len(self.rows) * len(self.columns)

    @kept_property
    def anchors(self) -> NDArray[np.int32]:
        """Top-left pixel of every node: (N, 2) int32 of (row, column)."""
        rows, columns = np.meshgrid(self.rows, self.columns, indexing="ij")
        return np.stack([rows.ravel(), columns.ravel()], axis=1)

    def positions(self, radius: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """How many places a patch has within ``radius`` pixels of each anchor: down (R,) and across (C,) int32.

        A node has the product of its row's and its column's: the candidates of one image. They stay inside the image,
        so there are fewer at a border.
        """
        lasts = ((self.rows, self.height - self.patch), (self.columns, self.width - self.patch))
        down, across = (np.minimum(at + radius, last) - np.maximum(at - radius, 0) + 1 for at, last in lasts)
        return down, across

    @kept_property
    def edges(self) -> NDArray[np.int32]:
        """4-neighbour edges: (E, 2) int32 of nodes (i, j), i before j; all across first, then all down."""
        node = np.arange(self.nodes, dtype=np.int32).reshape(self.shape)
        across = np.stack([node[:, :-1].ravel(), node[:, 1:].ravel()], axis=1)
        down = np.stack([node[:-1].ravel(), node[1:].ravel()], axis=1)
        return np.concatenate([across, down])

    @kept_property
    def shifts(self) -> NDArray[np.int32]:
        """How far patch j lies from patch i on every edge: (E, 2) int32 of (rows, columns), in pixels.

        Their overlap is patch i from ``shift`` on, and patch j up to ``patch - shift``; it is empty where a shift
        is ``patch`` or more.
        """
        i, j = self.edges.T
        return self.anchors[j] - self.anchors[i]


def _anchors(length: int, patch: int, step: int) -> NDArray[np.int32]:
    last = length - patch
    regular = np.arange(0, last + 1, step, dtype=np.int32)
    return regular if regular[-1] == last else np.append(regular, np.int32(last))

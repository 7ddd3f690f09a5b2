"""The description of a face: each source plane as a thumbnail of whole grey levels; compares none.

An image is divided into 25 x 20 cells (10 x 10 pixels of 250 x 200), and a cell is the mean of its pixels, rounded.
All is done in integers, so that a description has the same bytes on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

VERSION = 1  # raise it when the same planes give another description
ROWS, COLUMNS = 25, 20  # of cells; an image of fewer pixels has one a pixel


def shape_of(planes: int, height: int, width: int) -> tuple[int, int, int]:
    """The shape of a description: planes, rows and columns of cells."""
    return planes, min(ROWS, height), min(COLUMNS, width)


def describe(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Describe images: the mean of every cell of every plane, a half rounded up.

    Parameters
    ----------
    planes : (n, L, H, W) uint8
        Source planes, as a bank holds them or makes them of a query.

    Returns
    -------
    (n, L, R, S) uint8
        R = min(25, H) rows and S = min(20, W) columns of cells. Cell r covers the pixels r H // R to (r + 1) H // R.
    """
    _, rows, columns = shape_of(*planes.shape[1:])
    down, across = _cuts(planes.shape[2], rows), _cuts(planes.shape[3], columns)
    high = np.add.reduceat(planes, down[:-1], axis=2, dtype=np.uint32)
    total = np.add.reduceat(high, across[:-1], axis=3, dtype=np.uint32).astype(np.int64)
    pixels = np.diff(down)[:, None] * np.diff(across)
    return ((2 * total + pixels) // (2 * pixels)).astype(np.uint8)


def _cuts(length: int, cells: int) -> NDArray[np.int64]:
    """Where cells begin, and the end of the last."""
    return np.arange(cells + 1, dtype=np.int64) * length // cells

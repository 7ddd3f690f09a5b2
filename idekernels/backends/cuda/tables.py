"""Evidence and compatibility on the device: geometry and launches of the patches' small Gram matrices, exact integers.

The kernels are evidence.cu and compatibility.cu. The two have nothing to read together: one is of source patches, the
other of targets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import launch
from idekernels.backends.cuda.launch import WARP, WORD
from idekernels.backends.cuda.variants import source_text
from idekernels.grid import PatchGrid

EVIDENCE = ("common.cuh", "grid.cuh", "gram.cuh", "evidence.cu")
ADD_PLANES = ("common.cuh", "add_planes.cu")
COMPATIBILITY = ("common.cuh", "grid.cuh", "gram.cuh", "compatibility.cu")

_QUAD = 4  # words: shared memory is read so many at once
_MOST_TILE = 7  # rows that a lane loads, left and right together: at most twelve sums, in registers
_WARPS = (4, 2, 1)  # of a block
_BLOCK_SHARED = 32 * 1024  # bytes of a block, where that is enough for whole rows
_STAGED_CELLS = 400  # of a table that is put together in shared memory: without it few bytes are written at once


@dataclass(frozen=True)
class GramShape:
    """Everything that evidence.cu and compatibility.cu are compiled with; the names are their macros', explained there.

    patch : pixels. planes : of a candidate, source planes or target channels. links : tables of edges, not of nodes.
    """

    kept: int
    patch: int
    planes: int
    links: bool
    tall: int
    wide: int
    chunk: int
    warps: int

    @property
    def threads(self) -> int:
        """Of a block: a warp for every node, or edge."""
        return WARP * self.warps

    @cache  # noqa: B019 - shapes are few
    def options(self) -> tuple[str, ...]:
        """The compiler's options."""
        return launch.compiler_options(
            KEPT=self.kept, PATCH=self.patch, PLANES=self.planes, TALL=self.tall, WIDE=self.wide, CHUNK=self.chunk,
            ROW=self.row, WARPS=self.warps, STAGED=self.staged,
        )  # fmt: skip

    @property
    def row(self) -> int:
        """Words from one row to the next: an odd number of quads."""
        return self.chunk + (0 if self.chunk // _QUAD % 2 else _QUAD)

    @property
    def staged(self) -> bool:
        """Whether tables are put together in shared memory."""
        return self.kept**2 <= _STAGED_CELLS

    @property
    def words(self) -> int:
        """Of a row as it is multiplied, whole quads: one plane's pixels for evidence, all channels' on an edge."""
        return _quads((self.planes if self.links else 1) * self.patch**2, WORD)

    def shared(self) -> int:
        """Bytes of shared memory of a block, exactly as the kernels declare them."""
        table = _quads(self.kept**2, 1) if self.staged else 0
        if self.links:
            return WORD * self.warps * (2 * self.kept * self.row + 3 * table)
        return WORD * self.warps * ((self.kept + 1) * self.row + _quads(self.kept + 1, 1) + table)

    def instructions(self) -> float:
        """Of a warp for four words of its rows, about: loads and products, in as many rounds as it has tiles for."""
        tiles = (3 if self.links else 1) * -(-self.kept // self.tall) * -(-self.kept // self.wide)
        return -(-tiles // WARP) * (self.tall + self.wide + WORD * self.tall * self.wide)


def _quads(count: int, unit: int) -> int:
    """Words of whole quads for ``count`` things, ``unit`` a word."""
    return -(-count // (unit * _QUAD)) * _QUAD


@cache
def gram_shape(kept: int, patch: int, planes: int, links: bool) -> GramShape:
    """The geometry for K candidates of ``planes`` planes: the cheapest tile, whole rows where shared memory has room.

    Raises
    ------
    ValueError
        So many candidates that not even a quad of each has room.
    """
    sides = range(1, _MOST_TILE)
    tiles = [(tall, wide) for tall, wide in product(sides, sides) if tall + wide <= _MOST_TILE]
    given = (GramShape(kept, patch, planes, links, *tile, chunk=_QUAD, warps=1) for tile in tiles)
    best = min(given, key=lambda shape: (shape.instructions(), shape.tall + shape.wide))
    for shape, most in _roomier(best):
        if shape.shared() <= most:
            return shape
    raise ValueError(f"k is {kept}, too many for the tables of the backend cuda; take a smaller k, or cpu")


def _roomier(shape: GramShape) -> Iterator[tuple[GramShape, int]]:
    """The shapes to try in turn, and the bytes that each may take: whole rows, then as much of them as fits."""
    for warps in _WARPS:
        yield replace(shape, warps=warps, chunk=shape.words), _BLOCK_SHARED
    for most in (_BLOCK_SHARED, launch.STATIC_SHARED):
        for warps in _WARPS:
            for chunk in (64, 32, 16, 8, 4):
                yield replace(shape, warps=warps, chunk=min(chunk, shape.words)), most


def evidence(query: Any, sources: Any, grid: PatchGrid, weights: tuple[int, ...]) -> Any:
    """Gram matrices of the residuals; see :meth:`idekernels.backends.protocol.Backend.evidence`."""
    device = devices.current()
    photos, _, k, planes = sources.shape[:4]
    query, sources = device.xp.asarray(query), launch.whole_words(sources)
    out = device.xp.empty((photos, grid.nodes, planes, k, k), np.float32)
    shape, (rows, columns) = gram_shape(k, grid.patch, planes, links=False), grid.shape
    unit = set(weights) == {1}
    times = query if unit else device.constant(np.array(weights, np.float32))  # not read where all are 1
    device.module(source_text(EVIDENCE), evidence_options(shape, unit)).launch(
        "evidence", launch.blocks(-(-columns // shape.warps), rows, photos * planes), shape.threads,
        (query, sources, times, *map(np.int32, (grid.height, grid.width, rows, columns, grid.step)), out),
    )  # fmt: skip
    return out


@cache
def evidence_options(shape: GramShape, unit: bool) -> tuple[str, ...]:
    """The compiler's options for evidence.cu; ``unit``: all planes have the weight 1."""
    return *shape.options(), f"-DUNIT={int(unit)}"


def gram(grams: Any) -> Any:
    """The planes' sum; see :meth:`idekernels.backends.protocol.Backend.gram`."""
    photos, nodes, planes, k = grams.shape[:4]
    if planes == 1:
        return grams[:, :, 0]
    device = devices.current()
    out = device.xp.empty((photos, nodes, k, k), np.float32)
    entries = launch.number(nodes * k * k)
    device.module(source_text(ADD_PLANES), add_planes_options(k, planes)).launch(
        "add_planes", launch.blocks(launch.blocks_for(int(entries))[0], photos, 1), launch.THREADS,
        (device.xp.ascontiguousarray(grams), np.int32(nodes), out),
    )  # fmt: skip
    return out


@cache
def add_planes_options(k: int, planes: int) -> tuple[str, ...]:
    """The compiler's options for add_planes.cu."""
    return launch.compiler_options(KEPT=k, PLANES=planes, THREADS=launch.THREADS)


def compatibility(targets: Any, grid: PatchGrid) -> tuple[Any, Any, Any]:
    """Overlap tables own (S_ij), other (S_ji), cross (C_ij); see :func:`idekernels.operations.compatibility`."""
    device = devices.current()
    photos, _, k, channels = targets.shape[:4]
    shape, (rows, columns) = gram_shape(k, grid.patch, channels, links=True), grid.shape
    edges = rows * (columns - 1) + (rows - 1) * columns
    own, other, cross = (device.xp.empty((photos, edges, k, k), np.float32) for _ in range(3))
    if edges:
        lasts = grid.height - grid.patch, grid.width - grid.patch
        device.module(source_text(COMPATIBILITY), shape.options()).launch(
            "compatibility", launch.blocks(-(-2 * columns // shape.warps), rows, photos), shape.threads,
            (launch.whole_words(targets), *map(np.int32, (rows, columns, grid.step, *lasts)), own, other, cross),
        )  # fmt: skip
    return own, other, cross

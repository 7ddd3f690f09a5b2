"""How kernels are laid over a device: block shapes, shares of memory and limits, with reasons; launches nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from idekernels.grid import PatchGrid

WARP = 32
MOST_KEPT = 64  # candidates: two registers a lane for every list of the matching, one block of threads in weigh
MOST_CUT = 64  # pixels of a patch's side in the minimum-error cut: its two tables are 32 KiB of shared memory
STATIC_SHARED = 48 * 1024  # bytes a block may declare on every device since sm_50 without asking

_MATCH_SHARED = 16 * 1024  # bytes: four blocks of four warps on an SM of 64 KiB (T4), more on larger ones
_MOST_IMAGES = 12  # of a tile: more fill the lanes no better
_BLOCKS_PER_SM = 8  # of matching, in flight or queued, so that the last wave is short
GRAM_SHARED = 16 * 1024  # bytes of patches in evidence and compatibility


@dataclass(frozen=True)
class Limits:
    """What the geometry depends on; read off a device's properties, or stated for a device that is not here.

    multiprocessors : SMs. shared : bytes of shared memory a block may declare. memory : bytes of the device in all.
    """

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    memory: int
    shared: int = STATIC_SHARED


@dataclass(frozen=True)
class MatchShape:
    """Everything that match.cu is compiled with; the names are its macros', where they are explained."""

    patch: int
    step: int
    radius: int
    planes: int
    kept: int
    height: int
    width: int
    unit: bool
    rows: int
    columns: int
    images: int
    band: int
    tiled: bool

    @property
    def pitch(self) -> int:
        """Bytes of an image row in memory: whole words, so that rows can be read four pixels at a time."""
        return -(-self.width // 4) * 4

    @property
    def threads(self) -> int:
        """Of a block: a warp for every patch column."""
        return WARP * self.columns

    def options(self) -> tuple[str, ...]:
        """The compiler's options."""
        values = {
            "PATCH": self.patch, "STEP": self.step, "RADIUS": self.radius, "PLANES": self.planes, "KEPT": self.kept,
            "HEIGHT": self.height, "WIDTH": self.width, "PITCH": self.pitch, "UNIT": self.unit, "ROWS": self.rows,
            "COLUMNS": self.columns, "IMAGES": self.images, "BAND": self.band, "TILED": self.tiled,
        }  # fmt: skip
        return ("-std=c++17", *(f"-D{name}={int(value)}" for name, value in values.items()))

    def shared(self) -> int:
        """Bytes of shared memory of a block, as match.cu declares them."""
        span = (self.rows - 1) * self.step + self.patch
        words = span
        if self.tiled:
            words += self.images * self.planes * (span + self.band - 1) * self.tile_words
            words += self.columns * self.planes * span * self.words
        return 4 * words

    @property
    def words(self) -> int:
        """Of a patch's row."""
        return -(-self.patch // 4)

    @property
    def groups(self) -> int:
        """Lanes that share a row of shifts, four each."""
        return -(-(2 * self.radius + 1) // 4)

    @property
    def tile_words(self) -> int:
        """Of a tile's row."""
        return (((self.columns - 1) * self.step + 4 * (self.groups - 1)) // 4 + self.words + 2) | 1

    def busy(self, images: int | None = None) -> float:
        """Share of the lanes that have a shift to compare."""
        side = 2 * self.radius + 1
        jobs = (images or self.images) * self.band * self.groups
        full = (images or self.images) * self.band * side / 4
        return full / (math.ceil(jobs / WARP) * WARP)

    def grid(self, grid: PatchGrid, photos: int, splits: int) -> tuple[int, int, int]:
        """Blocks: of patches, photos, runs of images."""
        down, across = grid.shape
        return -(-down // self.rows) * -(-across // self.columns), photos, splits

    def splits(self, grid: PatchGrid, photos: int, images: int, limits: Limits) -> int:
        """Runs of images that a photo's blocks are divided into: one photo alone would leave a large device idle."""
        blocks = self.grid(grid, photos, 1)[0] * photos
        wanted = -(-_BLOCKS_PER_SM * limits.multiprocessors // blocks)
        return max(1, min(wanted, -(-images // self.images)))


def match_shape(
    grid: PatchGrid, radius: int, planes: int, kept: int, weights: tuple[int, ...], limits: Limits
) -> MatchShape:
    """The geometry of matching.

    Four patches a warp share all but a fifth of their rows at half overlap; more would need too many registers. Four
    warps a block share a tile. As many images a tile as fill the lanes best within the budget; where not even one
    image fits, fewer columns, rows, shifts; where nothing fits, no tile.
    """
    side = 2 * radius + 1
    shape = MatchShape(
        grid.patch, grid.step, radius, planes, kept, grid.height, grid.width, weights == (1,),
        rows=4 if kept <= WARP else 2, columns=4, images=1, band=side, tiled=True,
    )  # fmt: skip
    budget = min(_MATCH_SHARED, limits.shared)
    smaller: list[dict[str, Any]] = [
        {}, {"columns": 2}, {"columns": 1}, {"rows": 2}, {"rows": 1}, {"band": -(-side // 4)}, {"band": 1},
    ]  # fmt: skip
    for less in smaller:
        shape = replace(shape, **less)
        if shape.shared() <= budget:
            fitting = [n for n in range(1, _MOST_IMAGES + 1) if replace(shape, images=n).shared() <= budget]
            return replace(shape, images=max(fitting, key=lambda n: (round(shape.busy(n), 3), -n)))
    return replace(shape, columns=4, rows=2, band=side, tiled=False)


def gram_threads(pairs: int) -> int:
    """Threads of a block that sums ``pairs`` products: whole warps, at most eight, which loop over the rest."""
    return min(256, -(-pairs // WARP) * WARP)


def gram_chunk(k: int, pixels: int, sides: int) -> int:
    """Pixels of K patches (on ``sides`` sides) that go to shared memory at once."""
    return max(1, min(pixels, GRAM_SHARED // (4 * sides * k) - 1))


def warps_for(k: int) -> int:
    """Threads of a block that has one candidate a thread."""
    return -(-k // WARP) * WARP


def message_parts(k: int) -> int:
    """Warps of a block of belief propagation, which share its 32 edges' labels; eight hide the tables' latency."""
    return min(8, k)


def message_lanes(k: int) -> int:
    """Edges of a block of belief propagation: 32, one a lane, so that tables and messages are read in whole lines."""
    del k
    return WARP

"""Which kernel matches: the variants' files, geometry and limits in one table, and the one place that chooses.

A new variant takes four files:

1. ``match_NAME.cu``: a kernel ``match_NAME`` on common.cuh and what else it needs.
2. this one: a shape (geometry, macros and the kernel's arguments) and a row of :data:`MATCHING`, above the rows that it
   goes before.
3. ``catalogue.py``: its budget of registers in ``MATCH_REGISTERS``; the compile gate then compiles it.
4. its test: tests/test_cuda_match.py runs every row on the emulated device, add what is particular to the new one.

No other file names a variant: matching.py launches what :func:`choose` gives it, emulator, compile gate and roofline go
over the table. Only variants with a model in benchmarks/launches.py (``MODELS``) get a predicted time.
Nothing is launched or compiled here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from idekernels.backends.cuda import launch
from idekernels.backends.cuda.launch import WARP, WORD, Limits
from idekernels.errors import InputError
from idekernels.grid import PatchGrid

# ---- what a variant is given and what it has to say


@dataclass(frozen=True)
class MatchProblem:
    """One call of match, as far as the choice and the geometry of its kernel depend on it.

    radius : pixels. weights : of the planes, integers. kept : K. photos : of the batch. images : of the whole bank.
    """

    grid: PatchGrid
    radius: int
    weights: tuple[int, ...]
    kept: int
    photos: int
    images: int


@dataclass(frozen=True)
class Search:
    """Arrays of one launch, on the device, C-contiguous: B photos, N nodes, L planes, S runs of the bank's images.

    bank (images, L, H, pitch) and query (B, L, H, pitch), uint8, rows of whole words; rows and columns int32, the
    grid's anchors; barred (B, images) uint8, 1 where a photo must not use an image; weights (L,) uint32. Written by the
    kernel: distances and places (S, B, N, K) uint32, ascending by (distance, place), place = (image * H + row) * W +
    column with the image's number within ``bank``, ``WORST`` as the distance of entries that stay empty.
    """

    bank: Any
    query: Any
    rows: Any
    columns: Any
    barred: Any
    weights: Any
    splits: int
    distances: Any
    places: Any


class Shape(Protocol):
    """The geometry of one variant for one problem on one device."""

    @property
    def threads(self) -> int:
        """Of a block."""

    def options(self) -> tuple[str, ...]:
        """The compiler's options, macros included."""

    def shared(self) -> int:
        """Bytes of shared memory of a block, exactly as the kernel declares them."""

    def splits(self, photos: int, images: int, limits: Limits) -> int:
        """S: runs into which a block of the bank, of so many images, is divided."""

    def blocks(self, photos: int, splits: int) -> tuple[int, int, int]:
        """The grid of the launch."""

    def arguments(self, search: Search) -> tuple[Any, ...]:
        """The kernel's arguments in its order: device arrays and NumPy integers of the kernel's types."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What the kernels of all variants are compiled with; the names are those of the macros.

    nodes : of the grid, down and across. unit : whether the planes' weights need not be multiplied by.
    """

    nodes: tuple[int, int]
    patch: int
    step: int
    radius: int
    planes: int
    kept: int
    height: int
    width: int
    unit: bool

    @staticmethod
    def of(problem: MatchProblem) -> dict[str, Any]:
        """The fields for a problem, all but ``unit``."""
        grid = problem.grid
        return {
            "nodes": grid.shape, "patch": grid.patch, "step": grid.step, "radius": problem.radius,
            "planes": len(problem.weights), "kept": problem.kept, "height": grid.height, "width": grid.width,
        }  # fmt: skip

    def compiled(self, **macros: int) -> tuple[str, ...]:
        """The compiler's options: these, and a variant's own macros."""
        return launch.compiler_options(
            PATCH=self.patch, STEP=self.step, RADIUS=self.radius, PLANES=self.planes, KEPT=self.kept,
            HEIGHT=self.height, WIDTH=self.width, PITCH=launch.pitch(self.width), UNIT=self.unit, **macros,
        )  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A kernel ``match_NAME``.

    source : the files that make it, in the order in which they are put together. shape : the geometry for a problem.
    fits : whether it takes a problem on such a device.
    """

    name: str
    source: tuple[str, ...]
    shape: Callable[[MatchProblem, Limits], Shape]
    fits: Callable[[MatchProblem, Limits], bool]

    @property
    def kernel(self) -> str:
        """The kernel's name."""
        return f"match_{self.name}"


# ---- direct: squared differences by __vabsdiffu4 and __dp4a

_SHIFTS = 4  # horizontal shifts of a lane: one word's bytes
DIRECT_WARPS_PER_SM = 16  # that the compiler must leave registers for: 128 a thread
_DIRECT_SHARED = 16 * 1024  # bytes: four blocks of four warps on an SM of 64 KiB (T4), more on larger ones
_MOST_IMAGES = 12  # per tile: above this, lane utilisation does not improve
_BLOCKS_PER_SM = 8  # at least, so that a partly filled last wave of blocks costs little


@dataclass(frozen=True, kw_only=True)
class DirectShape(Compared):
    """Everything that match_direct.cu is compiled with; the names are its macros', where they are explained."""

    rows: int
    columns: int
    images: int
    band: int
    tiled: bool

    @property
    def threads(self) -> int:
        """Of a block: a warp for every patch column."""
        return WARP * self.columns

    def options(self) -> tuple[str, ...]:
        """The compiler's options."""
        return self.compiled(
            ROWS=self.rows, COLUMNS=self.columns, IMAGES=self.images, BAND=self.band, TILED=self.tiled, SHIFTS=_SHIFTS,
            WARPS_PER_SM=DIRECT_WARPS_PER_SM,
        )  # fmt: skip

    def shared(self) -> int:
        """Bytes of shared memory of a block, as match_direct.cu declares them."""
        span = (self.rows - 1) * self.step + self.patch
        words = span
        if self.tiled:
            words += self.images * self.planes * (span + self.band - 1) * self.tile_words
            words += self.columns * self.planes * span * self.words
        return WORD * words

    @property
    def words(self) -> int:
        """Words of one pixel row of a patch."""
        return -(-self.patch // WORD)

    @property
    def groups(self) -> int:
        """Lanes that share a row of shifts."""
        return -(-(2 * self.radius + 1) // _SHIFTS)

    @property
    def tile_words(self) -> int:
        """Words of one pixel row of a tile; odd, so that the rows start in different banks of shared memory."""
        return (((self.columns - 1) * self.step + _SHIFTS * (self.groups - 1)) // WORD + self.words + 2) | 1

    def busy(self) -> float:
        """Share of the lanes that have a shift to compare."""
        side = 2 * self.radius + 1
        jobs = self.images * self.band * self.groups
        full = self.images * self.band * side / _SHIFTS
        return full / (math.ceil(jobs / WARP) * WARP)

    def blocks(self, photos: int, splits: int) -> tuple[int, int, int]:
        """Blocks: of patches, photos, runs of images."""
        down, across = self.nodes
        return -(-down // self.rows) * -(-across // self.columns), photos, splits

    def splits(self, photos: int, images: int, limits: Limits) -> int:
        """Runs of images that a photo's blocks are divided into: one photo alone would leave a large device idle."""
        blocks = self.blocks(photos, 1)[0] * photos
        wanted = -(-_BLOCKS_PER_SM * limits.multiprocessors // blocks)
        return max(1, min(wanted, -(-images // self.images)))

    def arguments(self, search: Search) -> tuple[Any, ...]:
        """As match_direct.cu documents them."""
        return (
            search.bank, np.int32(len(search.bank)), search.query, search.rows, np.int32(len(search.rows)),
            search.columns, np.int32(len(search.columns)), search.barred, search.weights, np.int32(search.splits),
            search.distances, search.places,
        )  # fmt: skip


def direct_shape(problem: MatchProblem, limits: Limits) -> DirectShape:
    """The geometry of the variant ``direct``.

    Four patches a warp share all but a fifth of their rows at half overlap; more would need too many registers. Four
    warps a block share a tile. As many images a tile as fill the lanes best within the budget; where not even one
    image fits, fewer columns, rows, shifts; where nothing fits, no tile.
    """
    side = 2 * problem.radius + 1
    shape = DirectShape(
        **Compared.of(problem), unit=problem.weights == (1,), rows=4 if problem.kept <= WARP else 2, columns=4,
        images=1, band=side, tiled=True,
    )  # fmt: skip
    budget = min(_DIRECT_SHARED, limits.shared)
    smaller: list[dict[str, Any]] = [
        {}, {"columns": 2}, {"columns": 1}, {"rows": 2}, {"rows": 1}, {"band": -(-side // 4)}, {"band": 1},
    ]  # fmt: skip
    for less in smaller:
        shape = replace(shape, **less)
        if shape.shared() <= budget:
            larger = (replace(shape, images=images) for images in range(1, _MOST_IMAGES + 1))
            fitting = (one for one in larger if one.shared() <= budget)
            return max(fitting, key=lambda one: (round(one.busy(), 3), -one.images))
    return replace(shape, columns=4, rows=2, band=side, tiled=False)


def _direct_fits(problem: MatchProblem, limits: Limits) -> bool:
    """Every problem, from the first devices with __dp4a on."""
    return problem.kept <= launch.MOST_KEPT and limits.capability >= (6, 1)


# ---- tensor: products of bytes by mma.m16n8k32

TENSOR_WARPS_PER_SM = 12  # that the compiler must leave registers for, at least: 168 a thread
_WARPS_PER_SM = ((16, 24), (32, 16))  # where a lane has no more words of its photos' patches: more
BANKS_APART = 8  # of shared memory's 32: as many as four rows, or four versions, leave to one
_MOST_GROUPS = 4  # of eight photos of a warp; eight leave too few warps an SM: docs/GPU.md, matching on tensor cores
_FEWEST = 2  # photos; one alone is faster by ``direct``: docs/GPU.md, measured
_MOST_WORDS = 84  # of a lane's registers: its photos' patches, where their words lie, a plane's sums before its weight
_MOST_DISTANCE = 2**29  # so that no sum of the kernel leaves int32
_NODES = ((2, 2), (1, 2), (1, 1))  # of a block, down and across, the first that fits
_TENSOR_IMAGES = 4  # per tile, at most
_ROWS_OF_MMA = 16
_SAMPLE = 4  # tiles a tile that the first limits are of
_MOST_SAMPLED = 16  # entries of a list that has a first limit: rows of a product
_BUNCH = 4  # groups whose products are made together
_QUEUE = (160, 192)  # places that wait, of a warp with few photos and with more
_SM_SHARED = 216 * 1024  # bytes, that the blocks which are to be resident may take together, where they can do with it
_MOST_RUNS = 8
_ENOUGH_WARPS = 16  # of an SM: more do not make it faster
_ANEW = 0.1  # of a run's work: what one more run of images fills anew, its lists above all


@dataclass(frozen=True, kw_only=True)
class TensorShape(Compared):
    """Everything that match_tensor.cu is compiled with; the names are its macros', where they are explained."""

    groups: int
    down: int
    across: int
    images: int
    sample: int
    queue: int
    warps_per_sm: int
    bunch: int

    @property
    def threads(self) -> int:
        """Of a block: a warp for every node."""
        return WARP * self.down * self.across

    def options(self) -> tuple[str, ...]:
        """The compiler's options."""
        return self.compiled(
            GROUPS=self.groups, DOWN=self.down, ACROSS=self.across, IMAGES=self.images, ROW=self.row,
            VERSION=self.version, SAMPLE=self.sample, QUEUE=self.queue, BLOCKS=self.resident, BUNCH=self.bunch,
        )  # fmt: skip

    def shared(self) -> int:
        """Bytes of shared memory of a block, as match_tensor.cu declares them."""
        warps, words = self.down * self.across, self.places + 1
        words += self.images * self.planes * 4 * self.version + warps * (self.jobs + 1)
        waiting = 2 * WORD * warps * (self.photos * max(self.kept, 8) + self.queue)
        return _whole(4 * WORD, _whole(2 * WORD, WORD * words) + waiting + 3 * WORD * warps * self.photos)

    @property
    def resident(self) -> int:
        """Blocks that an SM must have room for, which bounds the registers."""
        return self.warps_per_sm // (self.down * self.across)

    @property
    def photos(self) -> int:
        """That a block serves."""
        return 8 * self.groups

    @property
    def steps(self) -> int:
        """Products that a plane of a patch takes."""
        return tensor_steps(self.patch)

    @property
    def tall(self) -> int:
        """Places of a block's windows together, down."""
        return (self.down - 1) * self.step + 2 * self.radius + 1

    @property
    def wide(self) -> int:
        """The same across."""
        return (self.across - 1) * self.step + 2 * self.radius + 1

    @property
    def places(self) -> int:
        """Of all images of a tile, in all windows of a block."""
        return self.images * self.tall * self.wide

    @property
    def jobs(self) -> int:
        """Places that a warp compares in a tile."""
        return self.images * (2 * self.radius + 1) ** 2

    @property
    def row(self) -> int:
        """Words of a tile's row."""
        return self._pitches[0]

    @property
    def version(self) -> int:
        """Words from one version of a tile's plane to the next."""
        return self._pitches[1]

    @property
    def _pitches(self) -> tuple[int, int]:
        """Of a row and of a version, so that four rows from eight places on lie in different banks of shared memory.

        The four versions are 8 banks apart and the rows 2 or 6 more, or the other way round; whatever is less.
        """
        least, rows = (self.wide + 2) // WORD + -(-self.patch // WORD), self.tall + self.patch - 1
        near, far = _whole(WORD, least - 2) + 2, _whole(2 * BANKS_APART, least - BANKS_APART) + BANKS_APART
        apart = _whole(WARP, rows * near - BANKS_APART) + BANKS_APART
        return min((near, apart), (far, _whole(WORD, rows * far - 2) + 2), key=lambda pitches: pitches[1])

    def busy(self) -> float:
        """Share of the rows of products that compare a place."""
        return self.jobs / _whole(_ROWS_OF_MMA, self.jobs)

    def blocks(self, photos: int, splits: int) -> tuple[int, int, int]:
        """Blocks: of nodes, of photos, runs of images."""
        down, across = self.nodes
        return -(-down // self.down) * -(-across // self.across), -(-photos // self.photos), splits

    def splits(self, photos: int, images: int, limits: Limits) -> int:
        """Runs of images: as many as give the busiest SM the least to do, with warps enough to hide their waits."""
        nodes, batches, _ = self.blocks(photos, 1)

        def cost(runs: int) -> float:
            busiest = -(-nodes * batches * runs // limits.multiprocessors)
            warps = min(busiest, self.resident) * self.down * self.across
            return busiest / runs / min(1.0, warps / _ENOUGH_WARPS) * (1 + _ANEW * (runs - 1))

        return min(range(1, max(2, min(_MOST_RUNS, -(-images // self.images)) + 1)), key=cost)

    def arguments(self, search: Search) -> tuple[Any, ...]:
        """As match_tensor.cu documents them."""
        return (
            search.bank, np.int32(len(search.bank)), search.query, np.int32(len(search.query)), search.rows,
            np.int32(len(search.rows)), search.columns, np.int32(len(search.columns)), search.barred, search.weights,
            np.int32(search.splits), search.distances, search.places,
        )  # fmt: skip


def _whole(unit: int, length: int) -> int:
    """The least multiple of ``unit`` that is no less than ``length`` and than 0."""
    return max(0, -(-length // unit) * unit)


def _warps_per_sm(words: int) -> int:
    """That the compiler must leave registers for, by a lane's words of its photos' patches."""
    return next((warps for most, warps in _WARPS_PER_SM if words <= most), TENSOR_WARPS_PER_SM)


def _bunch(groups: int, unit: bool) -> int:
    """Groups whose products are made together, so that they fit into registers."""
    if not unit and groups < _BUNCH:
        return 1  # there is a plane's sum besides
    return groups if groups % _BUNCH else _BUNCH


def tensor_steps(patch: int) -> int:
    """Products of 32 bytes that one plane of a patch takes: its rows in whole words, one after the other."""
    return -(-patch * -(-patch // WORD) // 8)


def tensor_shape(problem: MatchProblem, limits: Limits) -> TensorShape:
    """The geometry of the variant ``tensor``: the most photos a warp, then nodes a block, that registers and shared
    memory have room for, and as many images a tile as fill the products best.

    Raises
    ------
    ValueError
        There is none.
    """
    found = _first_tensor_shape(problem, limits)
    if found is None:
        raise ValueError(f"the variant tensor does not fit {problem}")
    return found


@lru_cache(maxsize=64)  # a batch after the other is alike, and what is tried takes the host as long as a launch
def _first_tensor_shape(problem: MatchProblem, limits: Limits) -> TensorShape | None:
    return next(_tensor_shapes(problem, limits), None)


def _tensor_shapes(problem: MatchProblem, limits: Limits) -> Iterator[TensorShape]:
    grid, planes = problem.grid, len(problem.weights)
    words, unit = 2 * tensor_steps(grid.patch), set(problem.weights) == {1}
    most = min(_MOST_GROUPS, -(-problem.photos // 8), (_MOST_WORDS - words) // (words * planes + 4 * (not unit)))
    most = most if unit else min(most, _BUNCH)
    for groups, (down, across) in product(range(most, 0, -1), _NODES):
        shape = TensorShape(
            **Compared.of(problem), unit=unit, groups=groups, down=min(down, grid.shape[0]),
            across=min(across, grid.shape[1]), images=1, sample=_SAMPLE if problem.kept <= _MOST_SAMPLED else 0,
            queue=_QUEUE[groups > 1], warps_per_sm=_warps_per_sm(words * planes * groups), bunch=_bunch(groups, unit),
        )  # fmt: skip
        larger = (replace(shape, images=images) for images in range(1, _TENSOR_IMAGES + 1))
        fitting = [one for one in larger if one.shared() <= limits.shared]
        beside = [one for one in fitting if one.shared() * one.resident <= _SM_SHARED]
        if fitting:
            yield max(beside or fitting[:1], key=lambda one: (round(one.busy(), 3), one.images))


def _tensor_fits(problem: MatchProblem, limits: Limits) -> bool:
    """Devices with mma on bytes, several photos, lists of a lane an entry, sums within int32, numbers that are no more
    than places, and a shape that fits."""
    grid = problem.grid
    return (
        limits.capability >= (8, 0)
        and problem.photos >= _FEWEST
        and problem.kept <= WARP
        and 255**2 * grid.patch**2 * sum(problem.weights) <= _MOST_DISTANCE
        and (2 * problem.radius + 1) ** 2 <= grid.height * grid.width
        and _first_tensor_shape(problem, limits) is not None
    )


# ---- the table

MATCHING: tuple[Variant, ...] = (
    Variant("tensor", ("common.cuh", "pixels.cuh", "tensor.cuh", "match_tensor.cu"), tensor_shape, _tensor_fits),
    Variant("direct", ("common.cuh", "nearest.cuh", "pixels.cuh", "match_direct.cu"), direct_shape, _direct_fits),
)

MERGE_SOURCE = ("common.cuh", "nearest.cuh", "merge.cu")  # serves every variant: all write the same lists


def choose(problem: MatchProblem, limits: Limits) -> Variant:
    """The first variant that fits.

    Raises
    ------
    InputError
        None does.
    """
    for variant in MATCHING:
        if variant.fits(problem, limits):
            return variant
    major, minor = limits.capability
    raise InputError(
        f"the backend cuda has no matching kernel for {limits.name} (compute capability {major}.{minor}) that keeps "
        f"{problem.kept} candidates; take the backend cpu"
    )


def merge_options(kept: int) -> tuple[str, ...]:
    """The compiler's options for merge.cu."""
    return launch.compiler_options(KEPT=kept)


@cache
def source_text(files: tuple[str, ...]) -> str:
    """The CUDA C++ of the files one after the other, each once.

    They are put together instead of included: NVRTC has no path to our headers, and CuPy's cache on disk knows a kernel
    by its text and options alone, so that with ``#include`` a header changed by an upgrade would leave the old code in
    use. ``#line`` keeps file names and line numbers right in the compiler's messages.
    """
    folder = Path(__file__).parent
    return "\n".join(f'#line 1 "{Path(name).name}"\n{(folder / name).read_text(encoding="utf-8")}' for name in files)

"""What stage 1 launches on a card for a batch of photos: blocks, bytes, and how often a block passes its loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from benchmarks.cards import Card
from idekernels.backends.cuda import cutting, propagation, weighing
from idekernels.backends.cuda import launch as geometry
from idekernels.backends.cuda.blending import BLEND_WARPS
from idekernels.backends.cuda.catalogue import MANY
from idekernels.backends.cuda.launch import THREADS, WARP, Limits
from idekernels.backends.cuda.residency import GATHER_WARPS, MINE
from idekernels.backends.cuda.tables import gram_shape
from idekernels.backends.cuda.variants import MATCHING, DirectShape, MatchProblem, Shape, TensorShape, Variant
from idekernels.grid import PatchGrid

VISITS, STEPS = 12, 3  # of a node in all sweeps; moves of weight between two candidates in a visit: counted on photos
MERGE = "merge"


@dataclass(frozen=True)
class Setting:
    """Photos of a batch, pairs of the bank, the rest by default: one plane, patch 10, radius 5, K = 10, 250 x 200."""

    photos: int
    pairs: int = 88
    k: int = 10
    radius: int = 5
    iterations: int = 50
    sweeps: int = 32  # photos take 25 on average; where they are launched, by eights
    grid: PatchGrid = PatchGrid(250, 200)  # noqa: RUF009 - immutable


@dataclass(frozen=True)
class Passes:
    """How often the warps of a block, all together, pass one loop.

    markers : what its instructions begin with. each : how many of the first a pass holds as the source is written, from
    which follows how far it was unrolled; None: not at all. around : passes of the loop around it. inner : of several
    loops with such instructions it is the shortest, not the one with most of them.
    """

    markers: tuple[str, ...]
    times: float
    each: float | None = None
    around: float = 0.0
    inner: bool = False


@dataclass(frozen=True)
class Launch:
    """One kernel's launches, all alike; ``bytes`` that one must read and write at least.

    waits : for memory or for other blocks, one after the other whatever else happens, in a launch.
    """

    kernel: str
    blocks: int
    threads: int
    bytes: float
    passes: tuple[Passes, ...] = ()
    times: int = 1
    waits: float = 0.0
    compiled: str = ""  # the name of the setting that it is compiled for, where a kernel has several


def launches(setting: Setting, card: Card) -> Iterator[Launch]:
    """Every kernel, in the order of the work: weighing (mwf), then propagation (mrf), both ways of blending."""
    yield from matching(setting, card)
    yield from _tables(setting)
    yield from _weighing(setting, card)
    yield from _propagation(setting, card)
    yield from _blending(setting)


def problem(setting: Setting) -> MatchProblem:
    """What the matching has to do."""
    return MatchProblem(setting.grid, setting.radius, (1,), setting.k, setting.photos, setting.pairs)


def limits(card: Card) -> Limits:
    """The card as the geometry sees it."""
    return Limits(card.name, divmod(card.architecture, 10), card.multiprocessors, 0)


def modelled() -> list[Variant]:
    """The variants of matching whose loops are known here."""
    return [variant for variant in MATCHING if variant.name in MODELS]


def matching(setting: Setting, card: Card) -> Iterator[Launch]:
    """The first variant of matching that fits, of those with a model, and the merging of its lists."""
    task, device = problem(setting), limits(card)
    variant = next(one for one in modelled() if one.fits(task, device))
    yield from MODELS[variant.name](variant.kernel, setting, card, variant.shape(task, device))


def direct(kernel: str, setting: Setting, card: Card, shape: DirectShape) -> tuple[Launch, Launch]:
    """Direct matching in a given shape, and merging what its runs of images found."""
    return _searching(kernel, setting, card, shape, _compared)


# Counted by a simulation of the kernel on the student photos and on the standard workload, 88 pairs, K = 10: of a list
# with a first limit, in one run of images.
LOOKED = 13.0  # passes of the loop that lets places wait; 33 do, whatever the number of images
DRAINED = 1.8  # passes of the one that puts 32 of them, or fewer, into their lists
BESIDE = 13.0  # passes over places of the same list
WITHOUT = 2.7  # times as much without a first limit


def tensor(kernel: str, setting: Setting, card: Card, shape: TensorShape) -> tuple[Launch, Launch]:
    """Matching on tensor cores in a given shape, and merging what its runs of images found."""
    name = f"{kernel}: {MANY if shape.groups > 1 else 'defaults'}"
    return _searching(kernel, setting, card, shape, _multiplied, compiled=name)


def _searching(
    kernel: str, setting: Setting, card: Card, shape: Shape, block: Callable[..., tuple[Passes, ...]], **more: Any
) -> tuple[Launch, Launch]:
    """A variant's launch, of which ``block`` says what a block does for so many images, and the merging."""
    grid, photos, pairs, k = setting.grid, setting.photos, setting.pairs, setting.k
    splits = shape.splits(photos, pairs, limits(card))
    lists = photos * grid.nodes * k
    planes = (photos * pairs + photos) * grid.height * geometry.pitch(grid.width)
    blocks = math.prod(shape.blocks(photos, splits))
    searched = block(shape, pairs / splits, setting)
    merged = Passes(("SHFL.UP",), k * (1 + math.log(splits)), around=splits + 1)
    return (
        Launch(kernel, blocks, shape.threads, planes + splits * lists * 8, searched, **more),
        Launch(MERGE, photos * grid.nodes, WARP, splits * lists * 8 + 2 * lists * 12, (merged,)),
    )


def _multiplied(shape: TensorShape, images: float, setting: Setting) -> tuple[Passes, ...]:
    """A block that searches ``images``: products, what enters lists, tiles filled, squares summed."""
    warps, words = shape.down * shape.across, -(-shape.patch // 4)
    tiles = math.ceil(images / shape.images)
    sampled = math.ceil(tiles / shape.sample) if shape.sample and tiles > 1 else 0
    rounds = warps * images * (2 * shape.radius + 1) ** 2 / shape.busy() / 16
    lists = warps * min(setting.photos, shape.photos) * (1 if sampled else WITHOUT)
    rows = shape.tall + shape.patch - 1
    strips = math.ceil(shape.images * -(-shape.tall // 8) * shape.wide / WARP)  # whole warps of them, eight places each
    tiles += sampled
    filled = math.ceil(shape.images * rows * shape.row / WARP)
    return (
        Passes(("IMMA", "VOTE"), rounds * shape.groups * shape.steps, 1),
        Passes(("IMMA",), rounds * sampled / (tiles - sampled) * shape.groups * shape.steps, 1, inner=True),
        Passes(("POPC", "FLO"), LOOKED * lists),
        Passes(("MATCH",), DRAINED * lists),
        Passes(("SHFL.IDX", "FLO"), BESIDE * lists),
        Passes(("STS", "LDG"), tiles * filled, 4, inner=True),
        Passes(("IDP", "STS"), tiles * strips * 8, 2 * words),
        Passes(("IDP", "LDS"), tiles * strips * shape.patch, words, inner=True),
    )


MODELS: Mapping[str, Callable[..., tuple[Launch, Launch]]] = MappingProxyType({"direct": direct, "tensor": tensor})


def _compared(shape: DirectShape, images: float, setting: Setting) -> tuple[Passes, ...]:
    """A block that searches ``images``: pixel rows compared, tiles filled, insertions into the lists of the nearest."""
    span = (shape.rows - 1) * shape.step + shape.patch
    side = 2 * setting.radius + 1
    tiles = math.ceil(images / shape.images) * math.ceil(side / shape.band)
    rounds = shape.columns * tiles * math.ceil(min(images, shape.images) * shape.band * shape.groups / WARP)
    words = min(images, shape.images) * (span + shape.band - 1) * shape.tile_words
    inserted = setting.k * (1 + math.log(max(1.0, images * side**2 / setting.k)))
    return (
        Passes(("IDP",), rounds * span, 4 * shape.words, around=rounds),
        Passes(("STS", "LDG"), tiles * words / WARP, 1),
        Passes(("SHFL.UP",), shape.columns * shape.rows * inserted),
    )


def _tables(setting: Setting) -> Iterator[Launch]:
    grid, photos, k = setting.grid, setting.photos, setting.k
    patches = photos * grid.nodes * k * grid.patch**2
    copied = Passes(("LDG.E.U8", "STG.E.U8"), GATHER_WARPS * MINE / 4)  # four candidates a pass
    blocks = 2 * math.ceil(photos * grid.nodes * k / (GATHER_WARPS * MINE))  # both sides
    yield Launch("gather", blocks, GATHER_WARPS * WARP, 4 * patches, (copied,))
    yield _evidence(setting, patches)
    yield _compatibility(setting, patches)


DOTS = 0.4  # of a pass of evidence's loop over tiles: what products with the query take, four words of all candidates


def _evidence(setting: Setting, patches: int) -> Launch:
    """A warp a node: rows to shared memory, their products with the query, tiles of sums."""
    grid, photos, k = setting.grid, setting.photos, setting.k
    shape, (rows, columns) = gram_shape(k, grid.patch, 1, links=False), grid.shape
    return Launch(
        "evidence",
        photos * rows * -(-columns // shape.warps),
        shape.threads,
        photos * (grid.height * grid.width + grid.nodes * k * k * 4) + patches,
        (
            Passes(("LDG", "STS"), shape.warps * k, 1),
            Passes(("IDP",), shape.warps * (1 + DOTS) * shape.words / 4, shape.tall * shape.wide * 4),
        ),
    )


def _compatibility(setting: Setting, patches: int) -> Launch:
    """A warp an edge; every second one is of an edge down, whose overlap is rows: fewer words."""
    grid, photos, k = setting.grid, setting.photos, setting.k
    shape, (rows, columns) = gram_shape(k, grid.patch, 1, links=True), grid.shape
    down = -(-grid.overlap * grid.patch // 16)
    return Launch(
        "compatibility",
        photos * rows * -(-2 * columns // shape.warps),
        shape.threads,
        patches + photos * len(grid.edges) * 3 * k * k * 4,
        (
            Passes(("LDG", "STS"), shape.warps * 2 * k, 2, around=2 * shape.warps),
            Passes(("IDP",), shape.warps * (shape.words / 4 + down) / 2, shape.tall * shape.wide * 4),
        ),
    )


def _weighing(setting: Setting, card: Card) -> Iterator[Launch]:
    """A group of lanes a node; the sweeps of a photo in one launch where the card has clusters."""
    grid, photos, k = setting.grid, setting.photos, setting.k
    shape, threads = weighing.FieldShape(k), WARP * weighing.WARPS
    blocks = photos * shape.blocks(grid.nodes)
    nodes, edges, weights = (
        4 * photos * many for many in (grid.nodes * k * k, len(grid.edges) * k * k, grid.nodes * k)
    )
    yield Launch("centre", blocks, threads, nodes + 2 * edges)
    joined = Passes(("FADD", "STG"), k * shape.slots * weighing.WARPS)
    yield Launch("join", blocks, threads, 2 * nodes + 4 * edges + weights, (joined,))
    yield _sweeping(setting, card, nodes + 2 * edges + 2 * weights)
    yield Launch("certify", blocks, threads, nodes + edges + 3 * weights)
    yield Launch("total", photos, WARP * weighing.TOTAL_WARPS, 12 * photos * grid.nodes)


def _sweeping(setting: Setting, card: Card, read: float) -> Launch:
    """All sweeps, in one launch or in one for each colour. read : bytes that visits of all nodes read."""
    grid, photos, k, halves = setting.grid, setting.photos, setting.k, 2 * setting.sweeps
    swept = weighing.sweep_shape(k, grid, photos, limits(card))
    times = 1 if swept.cluster else halves
    rounds = VISITS * grid.nodes * swept.field.group / WARP / swept.blocks / times  # of a block, in a launch
    looked = halves / times * max(1, grid.nodes / 2 / (swept.blocks * swept.warps * WARP))
    passes = (
        Passes(("LDG.E.U8",), looked * swept.warps),
        Passes(("STG",), rounds),
        Passes(("SHFL.BFLY",), rounds * (STEPS + 1)),
        Passes(("FCHK",), rounds * k, inner=True),  # every pair is looked at: once a visit, if not in all of them
    )
    waits = 2 * halves + rounds / swept.warps if swept.cluster else 0  # flags, other blocks; a round's tables
    return Launch(
        "sweep", photos * swept.blocks, WARP * swept.warps, VISITS * read / times, passes, times, waits=waits
    )  # fmt: skip


def _propagation(setting: Setting, card: Card) -> Iterator[Launch]:
    """A thread an edge; the iterations of a photo in one launch where the card has clusters."""
    grid, photos, k, steps = setting.grid, setting.photos, setting.k, setting.iterations + 1
    shape = propagation.message_shape(k, False, grid, limits(card))
    tables, node = 4 * photos * len(grid.edges) * k * k, 4 * photos * grid.nodes * k
    threads = WARP * propagation.WARPS
    tiles = photos * -(-grid.nodes // WARP) * (2 * -(-k * k // WARP) + -(-k // WARP))
    laid = 2 * (tables + node) + 8 * node  # messages, too
    yield Launch("lay_out", tiles, threads, laid, (Passes(("STS", "LDG"), WARP, 1),))
    times = 1 if shape.cluster else steps
    edges = steps / times * 2 * grid.nodes / WARP / shape.blocks  # warps of them, of a block in a launch
    yield Launch(
        "propagate",
        photos * shape.blocks,
        WARP * shape.warps,
        steps / times * (tables + 10 * node),
        (
            Passes(("LDG",), edges),
            Passes(("FMNMX",), edges * k, 2 * k),
            Passes(("FMNMX", "LDS"), 2 * edges * k, 1, inner=True),
            Passes(("FMUL", "STG"), 2 * edges * k, 2, inner=True),
        ),
        times,
        waits=steps * (3 + k / shape.unrolled) if shape.cluster else 0,  # other blocks, beliefs, tables
    )
    labellings = photos * steps * grid.nodes * 4
    yield Launch("energies", photos * steps, threads, 4 * labellings)
    yield Launch("choose", photos * -(-grid.nodes // threads), threads, 3 * node / k + node)


def _blending(setting: Setting) -> Iterator[Launch]:
    grid, photos, k = setting.grid, setting.photos, setting.k
    pixels = grid.patch**2
    patches = photos * grid.nodes * pixels
    blocks = photos * math.ceil(grid.nodes * pixels / 4 / THREADS)
    yield Launch("compose", blocks, THREADS, patches * (k + 4))  # its loop is unrolled whole
    (rows, columns), size = grid.shape, grid.height * grid.width
    blocks = photos * math.ceil(grid.width / WARP) * math.ceil(grid.height / BLEND_WARPS)
    down, across = (nodes * grid.patch / length for nodes, length in ((rows, grid.height), (columns, grid.width)))
    laid = Passes(("LDG", "FADD"), BLEND_WARPS * down * math.ceil(across), 2, around=BLEND_WARPS * down)
    yield Launch("blend", blocks, BLEND_WARPS * WARP, 4 * (patches + photos * size), (laid,))
    yield Launch("round_levels", photos * math.ceil(size / THREADS), THREADS, 5 * photos * size)
    yield _cut(setting)


def _cut(setting: Setting) -> Launch:
    """A block a photo: wave after wave, a warp a patch; half a warp takes a step down a seam."""
    grid, photos = setting.grid, setting.photos
    warps, (down, across) = cutting.warps_of(grid), grid.shape
    waves, steps = across + cutting.behind(grid) * (down - 1), grid.nodes * (grid.patch - 1)
    return Launch(
        "cut",
        photos,
        WARP * warps,
        12 * photos * grid.nodes * grid.patch**2,
        (
            Passes(("BAR.SYNC",), waves * warps),
            Passes(("STG",), grid.nodes),
            Passes(("STS.U8",), steps, around=steps, inner=True),
        ),
        waits=2 * waves,  # what is there, then what this wave put there
    )

"""What stage 1 launches on a card for a batch of photos: blocks, bytes, and how often a block passes its loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from benchmarks.cards import Card
from idekernels.backends.cuda import cutting
from idekernels.backends.cuda import launch as geometry
from idekernels.backends.cuda.blending import BLEND_WARPS
from idekernels.backends.cuda.catalogue import MANY
from idekernels.backends.cuda.launch import THREADS, WARP, Limits
from idekernels.backends.cuda.residency import GATHER_WARPS, MINE
from idekernels.backends.cuda.tables import gram_shape
from idekernels.backends.cuda.variants import MATCHING, DirectShape, MatchProblem, TensorShape, Variant
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
    sweeps: int = 32  # photos take 25 on average; they are launched by eights
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
    yield from _weighing(setting)
    yield _propagation(setting)
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
    grid, photos, pairs, k = setting.grid, setting.photos, setting.pairs, setting.k
    splits = shape.splits(photos, pairs, limits(card))
    lists = photos * grid.nodes * k
    planes = (photos * pairs + photos) * grid.height * geometry.pitch(grid.width)
    blocks = math.prod(shape.blocks(photos, splits))
    compared = _compared(shape, pairs / splits, setting)
    merged = Passes(("SHFL.UP",), k * (1 + math.log(splits)), around=splits + 1)
    return (
        Launch(kernel, blocks, shape.threads, planes + splits * lists * 8, compared),
        Launch(MERGE, photos * grid.nodes, WARP, splits * lists * 8 + 2 * lists * 12, (merged,)),
    )


# Counted on the student photos, 88 pairs, K = 10, at 25 nodes for eight photos at once:
CROWDED = 1.7  # insertions into a list, in K (1 + ln(places / K)): neighbouring places are alike
ENTERING = 9.0  # insertions wherever any of eight photos and sixteen places enters a list


def tensor(kernel: str, setting: Setting, card: Card, shape: TensorShape) -> tuple[Launch, Launch]:
    """Matching on tensor cores in a given shape, and merging what its runs of images found."""
    grid, photos, pairs, k = setting.grid, setting.photos, setting.pairs, setting.k
    splits = shape.splits(photos, pairs, limits(card))
    lists = photos * grid.nodes * k
    planes = (photos * pairs + photos) * grid.height * geometry.pitch(grid.width)
    blocks = math.prod(shape.blocks(photos, splits))
    merged = Passes(("SHFL.UP",), k * (1 + math.log(splits)), around=splits + 1)
    multiplied = _multiplied(shape, pairs / splits, setting)
    name = f"{kernel}: {MANY if shape.groups > 1 else 'defaults'}"
    return (
        Launch(kernel, blocks, shape.threads, planes + splits * lists * 8, multiplied, compiled=name),
        Launch(MERGE, photos * grid.nodes, WARP, splits * lists * 8 + 2 * lists * 12, (merged,)),
    )


def _multiplied(shape: TensorShape, images: float, setting: Setting) -> tuple[Passes, ...]:
    """A block that searches ``images``: products, what enters lists, tiles filled, squares summed."""
    warps, words = shape.down * shape.across, -(-shape.patch // 4)
    places = images * (2 * shape.radius + 1) ** 2
    rounds = warps * places / shape.busy() / 16
    photos = min(setting.photos, shape.photos)
    inserted = CROWDED * warps * photos * setting.k * (1 + math.log(max(1.0, places / setting.k)))
    rows = shape.tall + shape.patch - 1
    strips = shape.images * -(-shape.tall // 8) * shape.wide / WARP  # whole warps of them, eight places each
    tiles = images / shape.images
    return (
        Passes(("IMMA",), rounds * shape.groups * shape.steps, 1),
        Passes(("VOTE", "LDG.E.U8"), 4 * inserted / ENTERING),
        Passes(("SHFL.UP",), inserted),
        Passes(("STS", "LDG"), tiles * math.ceil(shape.images * rows * shape.row / WARP), 4),
        Passes(("IDP", "STS"), tiles * math.ceil(strips) * 8, 2 * words),
        Passes(("IDP", "LDS"), tiles * math.ceil(strips) * shape.patch, words),
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
    blocks = math.ceil(photos * grid.nodes * k / (GATHER_WARPS * MINE))
    yield Launch("gather", blocks, GATHER_WARPS * WARP, 2 * patches, (copied,), times=2)
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


def _weighing(setting: Setting) -> Iterator[Launch]:
    grid, photos, k = setting.grid, setting.photos, setting.k
    blocks = photos * grid.nodes
    nodes, edges, weights = blocks * k * k, photos * len(grid.edges) * k * k, blocks * k
    threads, cells = geometry.warps_for(k), geometry.gram_threads(k * k)
    yield Launch("centre", blocks, threads, 4 * (2 * nodes + 2 * edges + weights))
    added = Passes(("STG",), 4 * math.ceil(k * k / cells) * cells / WARP, 2)
    yield Launch("link", blocks, cells, 4 * (2 * nodes + 4 * edges + 2 * weights), (added,))
    work = VISITS / setting.sweeps  # share of the nodes that a sweep visits: the other blocks end at once
    yield Launch(
        "sweep",
        math.ceil(work * photos * grid.shape[0] * -(-grid.shape[1] // 2)),
        threads,
        4 * work * (nodes / 2 + edges + 2 * weights),
        (Passes(("STS", "LDG"), STEPS * threads / WARP),),
        times=2 * setting.sweeps,
    )
    yield Launch("normalise", math.ceil(blocks / THREADS), THREADS, 2 * 4 * weights)
    yield Launch("certify", blocks, threads, 4 * (nodes + edges + 2 * weights))


def _propagation(setting: Setting) -> Launch:
    grid, photos, k = setting.grid, setting.photos, setting.k
    lanes, parts = geometry.message_lanes(k), geometry.message_parts(k)
    ways = 2
    return Launch(
        "propagate",
        photos * -(-grid.nodes // lanes),
        lanes * parts,
        4 * photos * grid.nodes * (2 * k * k + 4 * 2 * k + 2 * k),
        (
            Passes(("STS", "LDG"), ways * k, 2),
            Passes(("FMNMX",), ways * k * k, 2, around=ways * parts),
            Passes(("STG", "FMUL"), ways * k / 2, 2),
        ),
        times=setting.iterations + 1,
    )


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

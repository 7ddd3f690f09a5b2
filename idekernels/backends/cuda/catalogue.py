"""Every kernel with its argument types and its budget of registers and shared memory: what is compiled and checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from idekernels.backends.cuda import blending, cutting, launch, propagation, residency, tables, variants, weighing
from idekernels.backends.cuda.launch import WARP, Limits
from idekernels.backends.cuda.variants import MATCHING, MERGE_SOURCE, MatchProblem, Shape, Variant
from idekernels.grid import PatchGrid

_SM_REGISTERS = 64 * 1024  # of every device since sm_70
# 72 registers leave 28 warps on an SM; where a budget is larger, a comment says why
_REGISTERS = 72
_PRODUCTS = 100  # twelve sums of a lane, and the quads of seven rows that it multiplies
MATCH_REGISTERS = {  # budget of every variant of the matching
    "direct": _SM_REGISTERS // (WARP * variants.DIRECT_WARPS_PER_SM),  # 128: four lists and sixteen running distances
    "tensor": _SM_REGISTERS // (WARP * variants.TENSOR_WARPS_PER_SM) // 8 * 8,  # 168: 32 photos' patches, their places
}


@dataclass(frozen=True)
class CudaEntry:
    """A CUDA C++ kernel as it is compiled for one setting: its files, the compiler's options, threads of a block.

    ``shared`` bytes of a block, exactly, and ``registers`` of a thread are its budget; ``doubles``: whether it may have
    fp64 instructions, for the few numbers that a photo's result is told by.
    """

    name: str
    kernel: str
    source: tuple[str, ...]
    options: tuple[str, ...]
    threads: int
    shared: int = 0
    registers: int = _REGISTERS
    doubles: bool = False


MANY = "64 photos"  # the problem of the defaults for a batch
# The problems that the gate compiles: the defaults first, then extremes of K, planes, patch, radius and batch. All have
# a bank of 88 images.
PROBLEMS = {
    name: MatchProblem(grid, radius, weights, kept, photos, 88)
    for name, grid, radius, weights, kept, photos in (
        ("defaults", PatchGrid(250, 200), 5, (1,), 10, 2),
        (MANY, PatchGrid(250, 200), 5, (1,), 10, 64),
        ("K=32", PatchGrid(250, 200), 5, (1,), 32, 64),
        ("K=64", PatchGrid(250, 200), 5, (1,), 64, 2),
        ("four planes", PatchGrid(250, 200), 5, (2, 2, 2, 1), 10, 64),
        ("eight planes, K=64", PatchGrid(250, 200), 5, (1,) * 8, 64, 2),
        ("eight planes", PatchGrid(250, 200), 5, (1,) * 8, 10, 64),
        ("patch 3, radius 0", PatchGrid(61, 47, 3, 1), 0, (1,), 1, 64),
        ("patch 16, radius 16", PatchGrid(250, 200, 16, 8), 16, (1,), 20, 64),
        ("patch 16, four planes", PatchGrid(250, 200, 16, 8), 5, (2, 2, 2, 1), 10, 64),
        ("patch 5, three planes, K=32", PatchGrid(250, 200, 5, 2), 5, (1, 2, 3), 32, 64),
        ("patch 24", PatchGrid(250, 200, 24, 12), 5, (1,), 10, 2),
        ("patch 100, radius 60: no tile", PatchGrid(250, 200, 100, 50), 60, (1,), 10, 2),
    )
}


def match_entry(variant: Variant, shape: Shape, setting: str) -> CudaEntry:
    """A variant's kernel in one shape."""
    return CudaEntry(
        f"{variant.kernel}: {setting}", variant.kernel, variant.source, shape.options(), shape.threads, shape.shared(),
        MATCH_REGISTERS[variant.name],
    )  # fmt: skip


def cuda_entries(architecture: int) -> Iterator[CudaEntry]:
    """Every variant of the matching for the problems that it fits on an architecture (75: sm_75), and all others."""
    limits, seen = limits_of(architecture), set[tuple[str, Shape]]()
    for variant in MATCHING:
        for setting, problem in PROBLEMS.items():
            shape = variant.shape(problem, limits) if variant.fits(problem, limits) else None
            if shape is not None and (variant.name, shape) not in seen:  # some do not depend on the batch
                seen.add((variant.name, shape))
                yield match_entry(variant, shape, setting)
    for kept in dict.fromkeys(problem.kept for problem in PROBLEMS.values()):
        yield CudaEntry(f"merge: K={kept}", "merge", MERGE_SOURCE, variants.merge_options(kept), WARP)
    yield from cut_entries()
    yield from table_entries()
    yield from patch_entries()
    yield from weighing_entries(limits)
    yield from propagation_entries(limits)


CUTS = {  # pictures whose cutting the gate compiles, with their channels
    "defaults": (PatchGrid(250, 200), 1),
    "in colour": (PatchGrid(250, 200), 3),
    "most warps": (PatchGrid(600, 800), 1),
    "patch 64": (PatchGrid(250, 200, 64, 32), 3),
}


def cut_entries() -> Iterator[CudaEntry]:
    """The minimum-error cut."""
    for setting, (grid, channels) in CUTS.items():
        warps = cutting.warps_of(grid)
        yield CudaEntry(
            f"cut: {setting}", "cut", cutting.SOURCE, cutting.options(grid, channels), WARP * warps,
            warps * cutting.shared_of(grid.patch), _SM_REGISTERS // (WARP * launch.MOST_WARPS),
        )  # fmt: skip


# K, patch, planes or channels: the defaults first, then what takes most registers, or whole rows of no quads
_TABLES = ((10, 10, 1), (16, 10, 1), (64, 10, 1), (10, 7, 3), (20, 16, 4), (64, 64, 3))


def patch_entries() -> Iterator[CudaEntry]:
    """Patches cut out of the bank, mixed, and laid together."""
    for channels in (1, 3):
        yield CudaEntry(
            f"round_levels: {channels} channels", "round_levels", blending.ROUND, blending.round_options(channels),
            launch.THREADS,
        )  # fmt: skip
    for patch, planes in dict.fromkeys((patch, planes) for _, patch, planes in _TABLES):
        yield CudaEntry(
            f"gather: P={patch}, {planes} planes", "gather", residency.GATHER,
            residency.gather_options(250, 200, planes, 3 if planes == 4 else 1, patch), WARP * residency.GATHER_WARPS,
        )  # fmt: skip
        yield CudaEntry(
            f"blend: P={patch}, {planes} channels", "blend", blending.BLEND,
            blending.blend_options(patch, -(-patch // 2), planes), WARP * blending.BLEND_WARPS,
        )  # fmt: skip
    for k, patch, planes in _TABLES:
        yield CudaEntry(
            f"compose: K={k} P={patch}, {planes} channels", "compose", blending.COMPOSE,
            blending.compose_options(k, patch, planes), launch.THREADS,
        )  # fmt: skip


def table_entries() -> Iterator[CudaEntry]:
    """Evidence and compatibility."""
    for links, kernel, source in ((False, "evidence", tables.EVIDENCE), (True, "compatibility", tables.COMPATIBILITY)):
        for k, patch, planes in _TABLES:
            shape = tables.gram_shape(k, patch, planes, links)
            options = shape.options() if links else tables.evidence_options(shape, planes == 1)
            yield CudaEntry(
                f"{kernel}: K={k} P={patch}, {planes} planes", kernel, source, options, shape.threads,
                shape.shared(), _REGISTERS if (k, patch, planes) == _TABLES[0] else _PRODUCTS,
            )  # fmt: skip
    yield CudaEntry(
        "add_planes: K=10, 4 planes", "add_planes", tables.ADD_PLANES, tables.add_planes_options(10, 4), launch.THREADS
    )


def weighing_entries(limits: Limits) -> Iterator[CudaEntry]:
    """The weight field: for one photo, and for as many as leave a photo one block of its own."""
    grid, warps = PatchGrid(250, 200), weighing.WARPS
    yield CudaEntry(
        "total", "total", weighing.TOTAL, weighing.total_options(), WARP * weighing.TOTAL_WARPS,
        3 * 8 * weighing.TOTAL_WARPS, doubles=True,
    )  # fmt: skip
    for k in (10, 16, 32, 64):
        field = weighing.FieldShape(k)
        registers = _SM_REGISTERS // (WARP * weighing.WARPS_OF_SM // field.slots)
        for kernel in ("centre", "join", "certify"):
            source = weighing.source_of(kernel)
            # join has all reads of a row under way at once
            budget = registers * 4 // 3 // 8 * 8 if kernel == "join" else registers
            yield CudaEntry(f"{kernel}: K={k}", kernel, source, field.options(warps), WARP * warps, 0, budget)
        shapes = (weighing.sweep_shape(k, grid, photos, limits) for photos in (1, 10 * limits.multiprocessors))
        for shape in dict.fromkeys(shapes):
            yield CudaEntry(
                f"sweep: K={k}, clusters of {shape.cluster}", "sweep", weighing.source_of("sweep"), shape.options(),
                WARP * shape.warps, 0, registers,
            )  # fmt: skip


def propagation_entries(limits: Limits) -> Iterator[CudaEntry]:
    """Belief propagation: its tables, its messages, its energies."""
    threads, tile = WARP * propagation.WARPS, 4 * WARP * (WARP + 1)
    registers = _SM_REGISTERS // (WARP * propagation.WARPS_OF_SM)
    for k in (10, 16, 32, 64):
        for field in (False, True):
            options = propagation.lay_out_options(k, field)
            name = f"lay_out: K={k}{' of a field' if field else ''}"
            yield CudaEntry(name, "lay_out", propagation.SOURCES["lay_out"], options, threads, tile)
        for kernel, shared in (("energies", 8 * propagation.WARPS), ("choose", 0)):
            source, options = propagation.SOURCES[kernel], propagation.options(k)
            yield CudaEntry(f"{kernel}: K={k}", kernel, source, options, threads, shared, doubles=True)
        for soft in (False, True):
            shape = propagation.message_shape(k, soft, PatchGrid(250, 200), limits)
            yield CudaEntry(
                f"propagate: K={k}{' sum-product' if soft else ''}", "propagate", propagation.SOURCES["propagate"],
                shape.options(), WARP * shape.warps, shape.shared(), registers,
            )  # fmt: skip


def limits_of(architecture: int) -> Limits:
    """Of no device in particular: geometry that every device of this architecture (75: sm_75) can have."""
    return Limits("any", (architecture // 10, architecture % 10), 40, 16 * 2**30)

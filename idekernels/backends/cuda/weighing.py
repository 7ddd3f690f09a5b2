"""The Markov weight field on the device: red-black block descent in float32, a group of lanes for every node.

Five kernels in CUDA C++: centre.cu and join.cu make the field, sweep.cu lowers its energy, certify.cu and total.cu say
how far it came. Where the device has clusters of blocks, a photo's sweeps are one launch and the blocks see for
themselves when it has settled; elsewhere each colour of a sweep is a launch, and the host looks every few sweeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import launch, variants
from idekernels.backends.cuda.device import Device
from idekernels.backends.cuda.launch import WARP, Limits
from idekernels.backends.reference import PACE, PATIENCE, RELAX, SHARE, STEPS_A_LABEL
from idekernels.grid import PatchGrid

_MOST_SWEEPS = 2**29  # so that int32 holds their halves
WARPS = 4  # of a block, of kernels that do a node once
TOTAL_WARPS = 8  # of a block of total.cu
TOTAL = ("common.cuh", "sums.cuh", "total.cu")
_CLUSTERS = (8, 4, 2, 1)  # blocks that share a photo: eight is the most that every device with clusters starts
WARPS_OF_SM = 32  # that the compiler must leave registers for where a lane has one candidate: 64 a thread
_CLUSTER_WARPS = 16  # of such a block, at most: two blocks an SM by 64 registers, 128 where a lane has two candidates

# Kernels are float32 throughout: fp64 has a thirty-second to a sixty-fourth of the speed on most cards. To keep the
# digits that this would cost, one candidate is subtracted from all of a node before the first sweep, which changes
# nothing as weights sum to one: the one nearest to all others (the medoid), so that one odd candidate does not set the
# scale. The subtraction is exact where the tables' entries are integers below 2^24. What is left are sums over
# differences of candidates, a hundredth of those over grey levels, and a linear term.
#
# No photo knows of its batch: every node's numbers are made by its own lanes in an order that K alone sets, and a photo
# whose nodes are all clean (neither they nor a neighbour moved since their last visit) is left as it is by the sweeps
# that others still need.


@dataclass(frozen=True)
class FieldShape:
    """How the kernels of a field with K candidates deal nodes to lanes.

    k : candidates of a node, K.
    """

    k: int

    @property
    def group(self) -> int:
        """Lanes of a node: a power of two."""
        return next(lanes for lanes in (8, 16, WARP) if lanes >= min(self.k, WARP))

    @property
    def slots(self) -> int:
        """Candidates of a lane, at most."""
        return -(-self.k // self.group)

    @cache  # noqa: B019 - shapes are few
    def options(self, warps: int, **macros: int) -> tuple[str, ...]:
        """The compiler's options, for blocks of so many warps."""
        unrolled = self.k if self.k <= 16 else 4  # all of a node's loads at once, while there are registers for them
        given = launch.compiler_options(
            K=self.k, GROUP=self.group, SLOTS=self.slots, UNROLLED=unrolled, WARPS=warps,
            BLOCKS=max(1, min(8, WARPS_OF_SM // (warps * self.slots))), **macros,
        )  # fmt: skip
        return *given, launch.UNFUSED

    def blocks(self, nodes: int, warps: int = WARPS) -> int:
        """Blocks that have a group for each of so many nodes."""
        return -(-nodes * self.group // (WARP * warps))


@dataclass(frozen=True)
class SweepShape:
    """How a photo's nodes are swept. cluster : blocks that wait for one another; 0: a launch for every colour."""

    field: FieldShape
    cluster: int
    blocks: int
    warps: int

    @cache  # noqa: B019 - shapes are few
    def options(self) -> tuple[str, ...]:
        """The compiler's options for sweep.cu."""
        given = {"CLUSTER": max(1, self.cluster), "MOST_STEPS": STEPS_A_LABEL * self.field.k}
        return (*self.field.options(self.warps, PATIENCE=PATIENCE, PACE=PACE, **given), f"-DSHARE={SHARE}f")


def sweep_shape(k: int, grid: PatchGrid, photos: int, limits: Limits) -> SweepShape:
    """The one rule: clusters where there are some, of as many blocks as let all photos be there at once."""
    field, nodes = FieldShape(k), grid.shape[0] * -(-grid.shape[1] // 2)  # of a colour
    if limits.capability < launch.CLUSTERS_FROM:
        return SweepShape(field, 0, field.blocks(nodes), WARPS)
    fitting = [blocks for blocks in _CLUSTERS if blocks * photos <= 2 * limits.multiprocessors]
    cluster = min(fitting[0] if fitting else 1, _CLUSTERS[0])
    warps = min(_CLUSTER_WARPS // field.slots, field.blocks(nodes, cluster))
    return SweepShape(field, cluster, cluster, warps)


def source_of(kernel: str) -> tuple[str, ...]:
    """The files that make a kernel of the field."""
    return ("common.cuh", *(("cluster.cuh",) if kernel == "sweep" else ()), "field.cuh", f"{kernel}.cu")


@dataclass(frozen=True)
class _Problem:
    """sum_i w_i^T A_i w_i + 2 b_i^T w_i - 2 alpha sum_(i,j) w_i^T C_ij w_j + constants, float32 on the device.

    hessian : A, (B, N, K, K). linear : b, (B, N, K). cross : alpha * C, (B, E, K, K). parts : (3, B, N), written; each
    node's share of the constants that centring took out, in parts[0], then of the rest of the objective and of the gap.
    dirty : (B, N) uint8, 1 where a node is to be visited. last : (B,) int32, the last sweep that moved something.
    weights : (B, N, K), where they are now.
    """

    hessian: Any
    linear: Any
    cross: Any
    parts: Any
    dirty: Any
    last: Any
    weights: Any


def weigh(
    gram: Any, tables: Any, grid: PatchGrid, alpha: float, ridge: float, start: Any, least: float, sweeps: int
) -> tuple[Any, Any, Any, Any]:
    """Minimise the field's energy from ``start``; see :func:`idekernels.operations.weigh`.

    Returns weights (B, N, K) float32, objective (B,) and gap (B,) float64, and the sweeps made (B,) int32, all on the
    device. ValueError where K is above 64.
    """
    device = devices.current()
    photos, _, k = gram.shape[:3]
    if k > launch.MOST_KEPT:
        raise ValueError(f"k is {k}, the backend cuda weighs {launch.MOST_KEPT} at most; take a smaller k, or cpu")
    xp, sweeps = device.xp, min(sweeps, _MOST_SWEEPS)
    problem = _centred(device, gram, tables, grid, alpha, ridge, start)
    _settle(device, problem, grid, RELAX if alpha > 0 else 0.0, least, sweeps)
    given, made = xp.empty_like(problem.weights), xp.empty(photos, np.int32)
    _run(
        device, "certify", grid, photos, k, problem.hessian, problem.linear, problem.cross,
        *map(np.int32, (*grid.shape, sweeps)), problem.last, problem.weights, given, problem.parts, made,
    )  # fmt: skip
    objective, gap = xp.empty(photos, np.float64), xp.empty(photos, np.float64)
    device.module(variants.source_text(TOTAL), total_options()).launch(
        "total", (photos, 1, 1), WARP * TOTAL_WARPS, (problem.parts, np.int32(grid.nodes), objective, gap)
    )
    return given, objective, gap, made


@cache
def total_options() -> tuple[str, ...]:
    """The compiler's options for total.cu."""
    return launch.compiler_options(WARPS=TOTAL_WARPS)


def _run(device: Device, kernel: str, grid: PatchGrid, photos: int, k: int, *arguments: Any) -> None:
    """Queue a kernel that does every node once."""
    shape = FieldShape(k)
    module = device.module(variants.source_text(source_of(kernel)), shape.options(WARPS))
    module.launch(kernel, (shape.blocks(grid.nodes), photos, 1), WARP * WARPS, arguments)


def _centred(
    device: Device, gram: Any, tables: Any, grid: PatchGrid, alpha: float, ridge: float, start: Any
) -> _Problem:
    """The field of patches from which each node's medoid is subtracted, ``ridge`` added to the diagonals."""
    xp, (photos, nodes, k) = device.xp, gram.shape[:3]
    own, other, cross = map(xp.ascontiguousarray, tables)  # the kernels know no strides
    alike = start.ndim == 1
    share, middle, shape = np.float32(alpha), xp.empty((photos, nodes), np.int32), tuple(map(np.int32, grid.shape))
    made = _Problem(
        xp.empty(gram.shape, np.float32),
        xp.empty((photos, nodes, k), np.float32),
        xp.empty_like(cross),
        xp.empty((3, photos, nodes), np.float32),
        xp.empty((photos, nodes), np.uint8),
        xp.empty(photos, np.int32),
        xp.empty((photos, nodes, k), np.float32) if alike else xp.array(xp.asarray(start), np.float32, order="C"),
    )
    plain = xp.ascontiguousarray(gram, np.float32)
    begin = device.constant(start.astype(np.float32)) if alike else made.weights
    _run(
        device, "centre", grid, photos, k, plain, own, other, share, *shape, np.int32(alike), begin, middle,
        made.dirty, made.last, made.weights,
    )  # fmt: skip
    in_full = gram.dtype != np.float32
    if in_full:
        _centre_in_full(xp, gram, middle, made)
    _run(
        device, "join", grid, photos, k, plain, np.int32(in_full), own, other, cross, middle, share,
        np.float32(ridge), *shape, made.hessian, made.linear, made.parts, made.cross,
    )  # fmt: skip
    return made


def _centre_in_full(xp: Any, gram: Any, middle: Any, made: _Problem) -> None:
    """What join.cu makes of the evidence by itself, of a float64 one: rounded after the subtraction, not before."""
    photo, node = xp.arange(gram.shape[0])[:, None], xp.arange(gram.shape[1])[None, :]
    column, row = gram[photo, node, :, middle], gram[photo, node, middle]
    itself = gram[photo, node, middle, middle]
    made.hessian[...] = (gram - column[..., :, None]) - (row - itself[..., None])[..., None, :]
    made.linear[...] = column - itself[..., None]
    made.parts[0] = itself


def _settle(device: Device, problem: _Problem, grid: PatchGrid, relax: float, least: float, sweeps: int) -> None:
    """Sweep until no photo moves, or ``sweeps`` times; the weights are changed."""
    photos, _, k = problem.weights.shape
    shape = sweep_shape(k, grid, photos, device.limits)
    module = device.module(variants.source_text(source_of("sweep")), shape.options())
    settings = (*map(np.int32, grid.shape), np.float32(relax), np.float32(least))
    step = 2 * sweeps if shape.cluster else 1
    for first in range(0, 2 * sweeps, step or 1):
        halves = np.int32(first), np.int32(first + step)
        module.launch(
            "sweep", (shape.blocks, photos, 1), WARP * shape.warps,
            (problem.hessian, problem.linear, problem.cross, *settings, *halves, problem.weights, problem.dirty,
             problem.last),
        )  # fmt: skip
        done, half = divmod(first + step, 2)
        due = step == 1 and half == 0 and done % launch.CHECK_SWEEPS == 0
        if due and bool((problem.last < done).all()):  # the only read from the device
            break

"""The Markov weight field on the device: red-black block descent in float32, a block of threads for every node."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numba import cuda, float32, int32

from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import launch
from idekernels.backends.cuda.device import Device
from idekernels.backends.reference import PACE, PATIENCE, RELAX, SHARE, STEPS_A_LABEL
from idekernels.grid import PatchGrid

_ROUNDING = 3e-7  # share of two candidates' curvatures that their slope can owe to rounding alone, in float32
_DUST = 2.0**-20  # what over-relaxation leaves below this is no weight
_TINY = 1e-20  # curvature between two candidates that are the same
_MOST_DOUBLINGS, _MOST_SWEEPS = 100, 2**30  # so that float32 and int32 hold them

# Kernels are float32 throughout: fp64 has a thirty-second to a sixty-fourth of the speed on most cards. To keep the
# digits that this would cost, one candidate is subtracted from all of a node before the first sweep, which changes
# nothing as weights sum to one: the one nearest to all others (the medoid), so that one odd candidate does not set the
# scale. The subtraction is exact where the tables' entries are integers below 2^24. What is left are sums over
# differences of candidates, a hundredth of those over grey levels, and a linear term.
#
# No photo knows of its batch: every node's numbers are made by its own block in an order that K alone sets, and a photo
# whose nodes are all clean (neither they nor a neighbour moved since their last visit) is left as it is by the sweeps
# that others still need.


@dataclass(frozen=True)
class _Problem:
    """sum_i w_i^T A_i w_i + 2 b_i^T w_i - 2 alpha sum_(i,j) w_i^T C_ij w_j + constants, float32 on the device.

    hessian : A, (B, N, K, K). linear : b, (B, N, K). cross : alpha * C, (B, E, K, K). parts : (3, B, N), written; each
    node's share of the constants that centring took out, in parts[0], then of the rest of the objective and of the gap.
    """

    hessian: Any
    linear: Any
    cross: Any
    parts: Any


def weigh(
    gram: Any, tables: Any, grid: PatchGrid, alpha: float, ridge: float, start: Any, least: float, sweeps: int
) -> tuple[Any, Any, Any, Any]:
    """Minimise the field's energy from ``start``; see :func:`idekernels.operations.weigh`.

    Returns weights (B, N, K) float32, objective (B,) and gap (B,) float64, and the sweeps made (B,) int32, all on the
    device. ValueError where K is above 64.
    """
    device = devices.current()
    photos, nodes, k = gram.shape[:3]
    if k > launch.MOST_KEPT:
        raise ValueError(f"k is {k}, the backend cuda weighs {launch.MOST_KEPT} at most; take a smaller k, or cpu")
    problem = _centred(device, gram, tables, grid, alpha, ridge)
    weights = device.xp.asarray(start).astype(np.float32)
    made = _settle(device, problem, grid, RELAX if alpha > 0 else 0.0, weights, least, min(sweeps, _MOST_SWEEPS))
    if sweeps:
        device.jit(normalise_kernel)(launch.blocks_for(photos * nodes), (launch.THREADS, 1, 1), weights)
    device.jit(certify_kernel(k))(
        (nodes, photos, 1), (launch.warps_for(k), 1, 1),
        problem.hessian, problem.linear, problem.cross, *grid.shape, weights, problem.parts,
    )  # fmt: skip
    constants, rest, gap = problem.parts.sum(axis=2, dtype=np.float64)
    return weights, constants + rest, gap, made


def _centred(device: Device, gram: Any, tables: Any, grid: PatchGrid, alpha: float, ridge: float) -> _Problem:
    """The field of patches from which each node's medoid is subtracted, ``ridge`` added to the diagonals."""
    xp, (photos, nodes, k), (own, other, cross) = device.xp, gram.shape[:3], tables
    share, middle = np.float32(alpha), xp.empty((photos, nodes), np.int32)
    made = _Problem(
        xp.empty(gram.shape, np.float32),
        xp.empty((photos, nodes, k), np.float32),
        xp.empty_like(cross),
        xp.empty((3, photos, nodes), np.float32),
    )
    evidence = made.hessian, made.linear, made.parts
    blocks = nodes, photos, 1
    device.jit(centre_kernel(k))(
        blocks, (launch.warps_for(k), 1, 1),
        gram.astype(np.float32, copy=False), own, other, share, *grid.shape, middle, *evidence,
    )  # fmt: skip
    if gram.dtype != np.float32:
        _centre_in_full(xp, gram, middle, made)
    device.jit(link_kernel(k))(
        blocks, (launch.gram_threads(k * k), 1, 1),
        own, other, cross, middle, share, np.float32(ridge), *grid.shape, *evidence, made.cross,
    )  # fmt: skip
    return made


def _centre_in_full(xp: Any, gram: Any, middle: Any, made: _Problem) -> None:
    """What ``centre_kernel`` makes of the evidence, of a float64 one: rounded after the subtraction, not before."""
    photo, node = xp.arange(gram.shape[0])[:, None], xp.arange(gram.shape[1])[None, :]
    column, row = gram[photo, node, :, middle], gram[photo, node, middle]
    itself = gram[photo, node, middle, middle]
    made.hessian[...] = (gram - column[..., :, None]) - (row - itself[..., None])[..., None, :]
    made.linear[...] = column - itself[..., None]
    made.parts[0] = itself


def _settle(
    device: Device, problem: _Problem, grid: PatchGrid, relax: float, weights: Any, least: float, sweeps: int
) -> Any:
    """Sweep until no photo moves, or ``sweeps`` times; weights (B, N, K) float32 are changed. The sweeps made, (B,)."""
    xp, (photos, nodes, k), (rows, columns) = device.xp, weights.shape, grid.shape
    dirty, last = xp.ones((photos, nodes), np.uint8), xp.zeros(photos, np.int32)
    sweep, blocks = device.jit(sweep_kernel(k)), (rows * (-(-columns // 2)), photos, 1)
    threads = launch.warps_for(k), 1, 1
    field = tuple(map(device.view, (problem.hessian, problem.linear, problem.cross)))
    changed = tuple(map(device.view, (weights, dirty, last)))
    for done in range(1, sweeps + 1):
        counts = _least_at(done - 1, least)
        for colour in range(2):
            sweep(blocks, threads, colour, *field, rows, columns, np.float32(relax), counts, done, *changed)
        if done % launch.CHECK_SWEEPS == 0 and bool((last < done).all()):  # the only read from the device
            break
    return xp.minimum(last + 1, sweeps).astype(np.int32)


def _least_at(sweep: int, least: float) -> np.float32:
    """The least movement that counts in a sweep, counted from 0."""
    doublings = max(0, (sweep - PATIENCE) // PACE + 1)
    return np.float32(least * 2.0 ** min(doublings, _MOST_DOUBLINGS))


@lru_cache(maxsize=1)
def _difference() -> Any:
    """Entry (i, j) of a table of products when candidate ``a`` is subtracted from its rows', ``b`` from its columns'.

    table (B, E or N, K, K) float32. photo, at, i, j, a, b : int64. Exact where the entries are integers below 2^24.
    """

    @cuda.jit(device=True, inline="always")
    def difference(table, photo, at, i, j, a, b):  # type: ignore[no-untyped-def]
        return (table[photo, at, i, j] - table[photo, at, i, b]) - (table[photo, at, a, j] - table[photo, at, a, b])

    return difference


@lru_cache(maxsize=64)
def centre_kernel(k: int) -> Any:
    """Each node's medoid, and its evidence with the medoid subtracted; blocks (N, B), a candidate a thread.

    gram (B, N, K, K), own and other (B, E, K, K) float32. alpha : float32. rows, columns : int64, nodes of the grid.
    Written: middle (B, N) int32, the candidate nearest to all others in evidence and overlaps together; hessian
    (B, N, K, K), linear (B, N, K) and parts (3, B, N) float32, the quadratic and the linear term and the constant.
    """
    two, count = np.float32(2), np.float32(k)
    difference = _difference()

    def centre(gram, own, other, alpha, rows, columns, middle, hessian, linear, parts):  # type: ignore[no-untyped-def]
        apart = cuda.shared.array(k, float32)
        node, photo, i = cuda.blockIdx.x, cuda.blockIdx.y, cuda.threadIdx.x
        row, column = node // columns, node % columns
        across, beside = rows * (columns - 1), row * (columns - 1) + column
        if i < k:
            total, itself = np.float32(0), np.float32(0)
            for j in range(k):
                entry = gram[photo, node, j, i]
                if column + 1 < columns:
                    entry += alpha * own[photo, beside, j, i]
                if column > 0:
                    entry += alpha * other[photo, beside - 1, j, i]
                if row + 1 < rows:
                    entry += alpha * own[photo, across + node, j, i]
                if row > 0:
                    entry += alpha * other[photo, across + node - columns, j, i]
                total += entry
                if i == j:
                    itself = entry
            apart[i] = count * itself - two * total
        cuda.syncthreads()
        medoid = 0
        for j in range(1, k):
            if apart[j] < apart[medoid]:
                medoid = j
        if i < k:
            linear[photo, node, i] = gram[photo, node, i, medoid] - gram[photo, node, medoid, medoid]
            for j in range(k):
                hessian[photo, node, j, i] = difference(gram, photo, node, j, i, medoid, medoid)
        if i == 0:
            middle[photo, node] = medoid
            parts[0, photo, node] = gram[photo, node, medoid, medoid]

    return centre


@lru_cache(maxsize=64)
def link_kernel(k: int) -> Any:
    """Add ridge and overlaps to the evidence, medoids subtracted; blocks (N, B), threads loop over K * K cells.

    own, other and cross (B, E, K, K) float32. middle (B, N) int32, the medoids. alpha, ridge : float32. rows, columns :
    int64, nodes of the grid. hessian (B, N, K, K), linear (B, N, K) and parts (3, B, N), read and written, made
    (B, E, K, K), written: float32. ``made`` holds alpha times the cross terms.
    """
    difference = _difference()
    side, cells = np.uint32(k), np.uint32(k * k)

    @cuda.jit(device=True, inline="always")
    def add(  # type: ignore[no-untyped-def]
        photo, node, edge, first, o, q, table, cross, alpha, hessian, linear, made
    ):
        """One edge's part, with a loop of its own: one loop over all four would keep every table's addresses.

        photo, node, edge : int64. first : bool, whether the node is the edge's first end. o, q : int32, medoids of this
        node and of the other. table (B, E, K, K) float32, own or other. cross (B, E, K, K), alpha, hessian, linear,
        made : as in :func:`link_kernel`.
        """
        for cell in range(cuda.threadIdx.x, cells, cuda.blockDim.x):
            i, j = np.uint32(cell) // side, np.uint32(cell) % side
            hessian[photo, node, i, j] += alpha * difference(table, photo, edge, i, j, o, o)
            if first:
                made[photo, edge, i, j] = alpha * difference(cross, photo, edge, i, j, o, q)
        near = cross[photo, edge, o, q] if first else cross[photo, edge, q, o]
        for i in range(cuda.threadIdx.x, k, cuda.blockDim.x):
            theirs = cross[photo, edge, i, q] if first else cross[photo, edge, q, i]
            linear[photo, node, i] += alpha * ((table[photo, edge, i, o] - table[photo, edge, o, o]) - (theirs - near))

    @cuda.jit(device=True, inline="always")
    def constant(photo, edge, o, q, own, other, cross):  # type: ignore[no-untyped-def]
        """What the medoids o and q cost each other, and what is taken out with them, float32.

        photo, edge : int64. o, q : int32, medoids. own, other, cross (B, E, K, K) float32.
        """
        near = cross[photo, edge, o, q]
        return own[photo, edge, o, o] + ((other[photo, edge, q, q] - near) - near)

    def link(  # type: ignore[no-untyped-def]
        own, other, cross, middle, alpha, ridge, rows, columns, hessian, linear, parts, made
    ):
        node, photo = cuda.blockIdx.x, cuda.blockIdx.y
        row, column = node // columns, node % columns
        across, beside = rows * (columns - 1), row * (columns - 1) + column
        o = middle[photo, node]
        for i in range(cuda.threadIdx.x, k, cuda.blockDim.x):
            hessian[photo, node, i, i] += ridge
        cuda.syncthreads()
        if column + 1 < columns:
            q = middle[photo, node + 1]
            add(photo, node, beside, True, o, q, own, cross, alpha, hessian, linear, made)
            if cuda.threadIdx.x == 0:
                parts[0, photo, node] += alpha * constant(photo, beside, o, q, own, other, cross)
        if column > 0:
            q = middle[photo, node - 1]
            add(photo, node, beside - 1, False, o, q, other, cross, alpha, hessian, linear, made)
        if row + 1 < rows:
            q = middle[photo, node + columns]
            add(photo, node, across + node, True, o, q, own, cross, alpha, hessian, linear, made)
            if cuda.threadIdx.x == 0:
                parts[0, photo, node] += alpha * constant(photo, across + node, o, q, own, other, cross)
        if row > 0:
            q = middle[photo, node - columns]
            add(photo, node, across + node - columns, False, o, q, other, cross, alpha, hessian, linear, made)

    return link


@lru_cache(maxsize=1)
def _gradient() -> Any:
    """Half the gradient at one node and candidate: b_i + (A w)_i - sum of (alpha C w_neighbour)_i.

    photo, node, i, k : int64. hessian (B, N, K, K), linear (B, N, K), cross (B, E, K, K), weights (B, N, K), mine (K,)
    in shared memory, the node's own weights: all float32. rows, columns : int64, nodes of the grid.
    """

    @cuda.jit(device=True, inline="always")
    def gradient(photo, node, i, k, hessian, linear, cross, rows, columns, weights, mine):  # type: ignore[no-untyped-def]
        row, column = node // columns, node % columns
        across, beside = rows * (columns - 1), row * (columns - 1) + column
        pull = np.float32(0)
        if column + 1 < columns:
            for j in range(k):
                pull += weights[photo, node + 1, j] * cross[photo, beside, i, j]
        if column > 0:
            for j in range(k):
                pull += weights[photo, node - 1, j] * cross[photo, beside - 1, j, i]
        if row + 1 < rows:
            for j in range(k):
                pull += weights[photo, node + columns, j] * cross[photo, across + node, i, j]
        if row > 0:
            for j in range(k):
                pull += weights[photo, node - columns, j] * cross[photo, across + node - columns, j, i]
        total = linear[photo, node, i] - pull
        for j in range(k):
            total += hessian[photo, node, j, i] * mine[j]  # symmetric: [j, i] lets neighbouring threads read neighbours
        return total

    return gradient


@lru_cache(maxsize=1)
def _exchange() -> Any:
    """The exact step from one candidate (the giver) to another; 0 where it is not to be made.

    apart : float32, slope of the giver less that of the taker. far : float32, their curvatures, added. between :
    float32, the form's entry of both. most : float32, the giver's weight. enough : float32, slopes up to it count for
    nothing. least : float32, so does a smaller step, unless it is all there is.
    """
    two, rounding, tiny, nothing = np.float32(2), np.float32(_ROUNDING), np.float32(_TINY), np.float32(0)

    @cuda.jit(device=True, inline="always")
    def exchange(apart, far, between, most, enough, least):  # type: ignore[no-untyped-def]
        move = min(apart / max(far - two * between, tiny), most)
        good = apart > enough and apart > rounding * far and (move >= least or move == most)
        return move if good else nothing

    return exchange


@lru_cache(maxsize=64)
def sweep_kernel(k: int) -> Any:
    """Improve one colour's dirty nodes with their neighbours fixed; blocks (half the nodes, B), a candidate a thread.

    Lowers w^T A w + 2 b^T w on the simplex by exact steps along pairs of candidates, then moves as far again times
    ``relax``, as the CPU's kernel does. A node that moved makes itself and its neighbours dirty, which are of the other
    colour, and writes ``done`` to the photo's place in ``last``.

    colour : int64, (row + column) % 2 of the nodes. hessian (B, N, K, K), linear (B, N, K), cross (B, E, K, K) :
    float32. rows, columns : int64, nodes of the grid. relax, least (the least step) : float32. done : int64, this
    sweep, counted from 1. weights (B, N, K) float32, dirty (B, N) uint8, last (B,) int32: read and written.
    """
    gradient, exchange = _gradient(), _exchange()
    share_of, dust, nothing, three = np.float32(SHARE), np.float32(_DUST), np.float32(0), np.float32(3)
    most_steps = STEPS_A_LABEL * k

    def sweep(  # type: ignore[no-untyped-def]
        colour, hessian, linear, cross, rows, columns, relax, least, done, weights, dirty, last
    ):
        mine = cuda.shared.array(k, float32)
        slope = cuda.shared.array(k, float32)
        gain = cuda.shared.array(k, float32)
        step = cuda.shared.array(k, float32)
        to = cuda.shared.array(k, int32)
        photo, i, half = cuda.blockIdx.y, cuda.threadIdx.x, (columns + 1) // 2
        row = cuda.blockIdx.x // half
        column = 2 * (cuda.blockIdx.x % half) + (row + colour) % 2
        if column >= columns:
            return
        node = row * columns + column
        if dirty[photo, node] == 0:  # written at the end alone: all threads of the block read the same
            return
        old, before, curve = nothing, nothing, nothing
        if i < k:
            old = weights[photo, node, i]
            curve = hessian[photo, node, i, i]
            mine[i] = old
        cuda.syncthreads()
        if i < k:
            before = gradient(photo, node, i, k, hessian, linear, cross, rows, columns, weights, mine)
            slope[i] = before
        cuda.syncthreads()
        lowest = slope[0]
        for j in range(1, k):
            lowest = min(lowest, slope[j])
        highest = lowest
        for j in range(k):
            if mine[j] > nothing:
                highest = max(highest, slope[j])
        enough, moved = share_of * (highest - lowest), False
        for _ in range(most_steps):
            taker = 0
            for j in range(1, k):
                if slope[j] < slope[taker]:
                    taker = j
            if i < k:
                apart, far = slope[i] - slope[taker], hessian[photo, node, taker, taker] + curve
                move = exchange(apart, far, hessian[photo, node, taker, i], mine[i], enough, least)
                gain[i], step[i] = move * apart, move
            cuda.syncthreads()
            giver = 0
            for j in range(1, k):
                if gain[j] > gain[giver]:
                    giver = j
            if not gain[giver] > nothing:
                if moved:
                    break
                cuda.syncthreads()
                if i < k:  # the cheapest candidate may be far from all others: look at every pair, a giver a thread
                    gain[i], step[i], to[i] = nothing, nothing, 0
                    for j in range(hessian.shape[3]):  # K, but not to be unrolled: that would take all registers
                        apart, far = slope[i] - slope[j], hessian[photo, node, j, j] + curve
                        move = exchange(apart, far, hessian[photo, node, j, i], mine[i], nothing, least)
                        if move * apart > gain[i]:
                            gain[i], step[i], to[i] = move * apart, move, j
                cuda.syncthreads()
                for j in range(1, k):
                    better = gain[j] > gain[giver]
                    if better or (gain[j] == gain[giver] and to[j] < to[giver]):
                        giver = j
                taker = to[giver]
                if not gain[giver] > nothing:
                    break
            move = step[giver]
            moved = moved or move >= least
            if i < k:
                slope[i] += move * (hessian[photo, node, taker, i] - hessian[photo, node, giver, i])
                if i == taker:
                    mine[i] += move
                if i == giver:
                    mine[i] = mine[i] - move if move < mine[i] else nothing
            cuda.syncthreads()
        cuda.syncthreads()
        if i < k:
            gain[i], step[i] = before, mine[i] - old
        cuda.syncthreads()
        further, fell, left = relax, nothing, nothing
        for j in range(k):
            gone = step[j]
            fell -= gain[j] * gone
            left += slope[j] * gone
            if gone < nothing:
                further = min(further, mine[j] / -gone)
        if i < k:
            reached = mine[i]
            if moved and three * left <= fell:  # the line's lowest point is not before three quarters of the way
                reached += further * step[i]
                reached = reached if reached > dust else nothing
            weights[photo, node, i] = reached
        if i == 0:
            dirty[photo, node] = 1 if moved else 0
            if moved:
                last[photo] = done  # all write the same, as with the flags below
                if column + 1 < columns:
                    dirty[photo, node + 1] = 1
                if column > 0:
                    dirty[photo, node - 1] = 1
                if row + 1 < rows:
                    dirty[photo, node + columns] = 1
                if row > 0:
                    dirty[photo, node - columns] = 1

    return sweep


def normalise_kernel(weights):  # type: ignore[no-untyped-def]
    """Divide each node's weights by their sum, from which thousands of roundings led away; a node a thread.

    weights : (B, N, K) float32, read and written.
    """
    cell = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    photos, nodes, k = weights.shape
    if cell >= photos * nodes:
        return
    photo, node = cell // nodes, cell % nodes
    total = np.float32(0)
    for j in range(k):
        total += weights[photo, node, j]
    for j in range(k):
        weights[photo, node, j] /= total


@lru_cache(maxsize=64)
def certify_kernel(k: int) -> Any:
    """Each node's share of the objective and of the Frank-Wolfe gap; blocks (N, B), a candidate a thread.

    hessian (B, N, K, K), linear (B, N, K), cross (B, E, K, K), weights (B, N, K): float32. rows, columns : int64, nodes
    of the grid. Written: parts (3, B, N) float32, its parts[1] and parts[2]; the constants are not in it.
    """
    gradient = _gradient()

    def certify(hessian, linear, cross, rows, columns, weights, parts):  # type: ignore[no-untyped-def]
        mine = cuda.shared.array(k, float32)
        slope = cuda.shared.array(k, float32)
        node, photo, i = cuda.blockIdx.x, cuda.blockIdx.y, cuda.threadIdx.x
        if i < k:
            mine[i] = weights[photo, node, i]
        cuda.syncthreads()
        if i < k:
            slope[i] = gradient(photo, node, i, k, hessian, linear, cross, rows, columns, weights, mine)
        cuda.syncthreads()
        if i == 0:
            inner, lowest, apart = np.float32(0), slope[0], np.float32(0)
            for j in range(k):
                lowest = min(lowest, slope[j])
                inner += mine[j] * (slope[j] + linear[photo, node, j])
            for j in range(k):
                apart += mine[j] * (slope[j] - lowest)  # not inner - lowest: that would lose the last digits
            parts[1, photo, node] = inner  # the field's cross terms come once from each end
            parts[2, photo, node] = np.float32(2) * apart

    return certify

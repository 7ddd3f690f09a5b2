"""The Markov weight field on the device: red-black block descent in float32, a block of threads for every node."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import cuda, float32

from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import launch
from idekernels.backends.cuda.device import Device
from idekernels.grid import PatchGrid

_ENOUGH = 0.1  # a visit ends when the spread of the slopes is a tenth of what it was: the neighbours change it again
_ROUNDING = 1e-6  # share of the largest curvature that a slope can be off by rounding alone, in float32
_STEPS_A_LABEL = 20  # steps of one visit at most, times K

# Kernels are float32 throughout: fp64 has a thirty-second to a sixty-fourth of the speed on most cards. To keep the
# digits that this would cost, tables are centred before the first sweep: with all weights on the simplex, subtracting
# one vector from every patch of an edge's overlap changes nothing, so the first node's nearest candidate is subtracted
# (exactly, as the tables' entries are integers below 2^24). The centred entries are sums over differences of
# candidates, a hundredth of those over grey levels.


def weigh(
    gram: Any, tables: Any, grid: PatchGrid, alpha: float, start: Any, scale: Any, tolerance: float, sweeps: int
) -> tuple[Any, Any, Any, int]:
    """Minimise the field's energy from ``start``; see :func:`idekernels.operations.weigh`.

    Returns weights (B, N, K) float32, objective (B,) and gap (B,) float64, and the sweeps made. Ends where the
    tolerance is met, or where float32 lets no node move any more: the gap is a sum of rounded differences and can stay
    above a small tolerance though the objective is at its optimum; sweeps that are left would change nothing.
    """
    device = devices.current()
    xp, (photos, nodes, k) = device.xp, gram.shape[:3]
    if k > launch.MOST_KEPT:
        raise ValueError(f"k is {k}, the backend cuda weighs {launch.MOST_KEPT} at most; take a smaller k, or cpu")
    share, threads, shape = np.float32(alpha), (launch.warps_for(k), 1, 1), grid.shape
    hessian, cross = _quadratic(device, gram, tables, grid, share)
    weights = xp.asarray(start).astype(np.float32)
    sweep, certify = device.jit(sweep_kernel(k)), device.jit(certify_kernel(k))
    half = shape[0] * (-(-shape[1] // 2))
    parts = xp.empty((2, photos, nodes), np.float32)
    field = (device.view(hessian), device.view(cross), share, *shape, device.view(weights))
    moved = xp.zeros(-(-sweeps // launch.CHECK_SWEEPS) + 1, np.int32)
    moved[0] = 1
    for check in range(len(moved)):
        certify((nodes, photos, 1), threads, *field, parts)
        objective, gap = parts.sum(axis=2, dtype=np.float64)
        done = min(check * launch.CHECK_SWEEPS, sweeps)
        good = (gap <= tolerance * xp.maximum(objective, scale)).all()
        if done == sweeps or bool(good | (moved[check] == 0)):  # the only read from the device
            break
        for _ in range(min(launch.CHECK_SWEEPS, sweeps - done)):
            for colour in range(2):
                sweep((half, photos, 1), threads, colour, *field, check + 1, moved)
    return weights, objective, gap, done


def _quadratic(device: Device, gram: Any, tables: Any, grid: PatchGrid, alpha: np.float32) -> tuple[Any, Any]:
    """The objective's matrices, of centred tables: A_i (B, N, K, K) and C_ij (B, E, K, K), float32 on the device."""
    xp = device.xp
    centred = own, other, cross = tuple(xp.empty_like(table) for table in tables)
    if cross.size:
        device.jit(centre_kernel)(launch.blocks_for(cross.size), (launch.THREADS, 1, 1), *tables, *centred)
    hessian = xp.empty(gram.shape, np.float32)
    device.jit(hessian_kernel)(
        launch.blocks_for(gram.size), (launch.THREADS, 1, 1),
        gram.astype(np.float32), own, other, alpha, *grid.shape, hessian,
    )  # fmt: skip
    return hessian, cross


def centre_kernel(own, other, cross, own_out, other_out, cross_out):  # type: ignore[no-untyped-def]
    """S_ij, S_ji and C_ij of patches from which the first node's first candidate is subtracted; a cell a thread.

    own, other, cross and own_out, other_out, cross_out : (B, E, K, K) float32, read and written.
    """
    cell = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    k = own.shape[2]
    if cell >= own.size:
        return
    j, i = cell % k, cell // k % k
    edge, photo = cell // (k * k) % own.shape[1], cell // (k * k) // own.shape[1]
    itself = own[photo, edge, 0, 0]
    near_i, near_j = own[photo, edge, i, 0], own[photo, edge, j, 0]
    far_i, far_j = cross[photo, edge, 0, i], cross[photo, edge, 0, j]
    own_out[photo, edge, i, j] = own[photo, edge, i, j] - near_i - near_j + itself
    other_out[photo, edge, i, j] = other[photo, edge, i, j] - far_i - far_j + itself
    cross_out[photo, edge, i, j] = cross[photo, edge, i, j] - near_i - far_j + itself


def hessian_kernel(gram, own, other, alpha, rows, columns, out):  # type: ignore[no-untyped-def]
    """A_i = G_i + alpha * (sum of S over the node's edges); a cell a thread.

    gram (B, N, K, K), own and other (B, E, K, K), out (B, N, K, K), written: all float32. alpha : float32. rows,
    columns : int64, nodes of the grid.
    """
    cell = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    k, nodes = gram.shape[2], gram.shape[1]
    if cell >= gram.size:
        return
    j, i = cell % k, cell // k % k
    node, photo = cell // (k * k) % nodes, cell // (k * k) // nodes
    row, column = node // columns, node % columns
    across, beside = rows * (columns - 1), row * (columns - 1) + column
    total = np.float32(0)
    if column + 1 < columns:
        total += own[photo, beside, i, j]
    if column > 0:
        total += other[photo, beside - 1, i, j]
    if row + 1 < rows:
        total += own[photo, across + node, i, j]
    if row > 0:
        total += other[photo, across + node - columns, i, j]
    out[photo, node, i, j] = gram[photo, node, i, j] + alpha * total


@lru_cache(maxsize=1)
def _gradient() -> Any:
    """Half the gradient at one node and candidate: (A w)_i - alpha * sum of (C w_neighbour)_i.

    photo, node, i, k : integers. hessian (B, N, K, K), cross (B, E, K, K), weights (B, N, K), mine (K,) in shared
    memory, the node's own weights: all float32. alpha : float32. rows, columns : int64, nodes of the grid.
    """

    @cuda.jit(device=True, inline="always")
    def gradient(photo, node, i, k, hessian, cross, alpha, rows, columns, weights, mine):  # type: ignore[no-untyped-def]
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
        total = -alpha * pull
        for j in range(k):
            total += hessian[photo, node, j, i] * mine[j]  # symmetric: [j, i] lets neighbouring threads read neighbours
        return total

    return gradient


@lru_cache(maxsize=64)
def sweep_kernel(k: int) -> Any:
    """Improve every node of one colour with its neighbours fixed; blocks (half the nodes, B), a candidate a thread.

    Lowers w^T A w - 2 p^T w on the simplex by exact steps along pairs of candidates, as the CPU's kernel does. Sets
    ``moved[check]`` where it takes any.

    colour : int64, (row + column) % 2 of the nodes. hessian (B, N, K, K), cross (B, E, K, K) and weights (B, N, K),
    read and written: float32. alpha : float32. rows, columns : int64, nodes of the grid. check : int64. moved :
    (checks,) int32, written.
    """
    gradient = _gradient()
    enough_of, rounding, nothing = np.float32(_ENOUGH), np.float32(_ROUNDING), np.float32(0)
    most_steps = _STEPS_A_LABEL * k

    def sweep(colour, hessian, cross, alpha, rows, columns, weights, check, moved):  # type: ignore[no-untyped-def]
        mine = cuda.shared.array(k, float32)
        slope = cuda.shared.array(k, float32)
        gain = cuda.shared.array(k, float32)
        step = cuda.shared.array(k, float32)
        photo, i, half = cuda.blockIdx.y, cuda.threadIdx.x, (columns + 1) // 2
        row = cuda.blockIdx.x // half
        column = 2 * (cuda.blockIdx.x % half) + (row + colour) % 2
        if column >= columns:
            return
        node = row * columns + column
        if i < k:
            mine[i] = weights[photo, node, i]
        cuda.syncthreads()
        if i < k:
            slope[i] = gradient(photo, node, i, k, hessian, cross, alpha, rows, columns, weights, mine)
        cuda.syncthreads()
        highest, lowest, bend_most = slope[0], slope[0], nothing
        for j in range(k):
            lowest = min(lowest, slope[j])
            bend_most = max(bend_most, hessian[photo, node, j, j])
        highest = lowest
        for j in range(k):
            if mine[j] > nothing:
                highest = max(highest, slope[j])
        enough = max(enough_of * (highest - lowest), rounding * bend_most)
        for _ in range(most_steps):
            taker = 0
            for j in range(1, k):
                if slope[j] < slope[taker]:
                    taker = j
            if i < k:
                apart, most = slope[i] - slope[taker], mine[i]
                gain[i], step[i] = nothing, nothing
                if most > nothing and apart > enough:
                    bend = hessian[photo, node, taker, taker] + hessian[photo, node, i, i]
                    bend -= np.float32(2) * hessian[photo, node, taker, i]
                    move = apart / bend if bend * most > apart else most
                    step[i] = move
                    gain[i] = move * apart
            cuda.syncthreads()
            giver = 0
            for j in range(1, k):
                if gain[j] > gain[giver]:
                    giver = j
            if gain[giver] <= nothing:
                break
            if i < k:
                move = step[giver]
                slope[i] += move * (hessian[photo, node, taker, i] - hessian[photo, node, giver, i])
                if i == taker:
                    mine[i] += move
                    moved[check] = 1  # all write the same
                if i == giver:
                    mine[i] = mine[i] - move if move < mine[i] else nothing
            cuda.syncthreads()
        if i < k:
            weights[photo, node, i] = mine[i]

    return sweep


@lru_cache(maxsize=64)
def certify_kernel(k: int) -> Any:
    """Each node's share of the objective and of the Frank-Wolfe gap; blocks (N, B), a candidate a thread.

    hessian (B, N, K, K), cross (B, E, K, K), weights (B, N, K) and parts (2, B, N), written: float32. alpha : float32.
    rows, columns : int64, nodes of the grid.
    """
    gradient = _gradient()

    def certify(hessian, cross, alpha, rows, columns, weights, parts):  # type: ignore[no-untyped-def]
        mine = cuda.shared.array(k, float32)
        slope = cuda.shared.array(k, float32)
        node, photo, i = cuda.blockIdx.x, cuda.blockIdx.y, cuda.threadIdx.x
        if i < k:
            mine[i] = weights[photo, node, i]
        cuda.syncthreads()
        if i < k:
            slope[i] = gradient(photo, node, i, k, hessian, cross, alpha, rows, columns, weights, mine)
        cuda.syncthreads()
        if i == 0:
            inner, lowest, apart = np.float32(0), slope[0], np.float32(0)
            for j in range(k):
                lowest = min(lowest, slope[j])
                inner += mine[j] * slope[j]
            for j in range(k):
                apart += mine[j] * (slope[j] - lowest)  # not inner - lowest: that would lose the last digits
            parts[0, photo, node] = inner
            parts[1, photo, node] = np.float32(2) * apart

    return certify

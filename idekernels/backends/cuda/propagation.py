"""Loopy belief propagation on the device: one launch an iteration, messages from one buffer into another.

Tables and messages lie with the grid's nodes innermost, as in the backend cpu, so that a warp reads
whole lines; an edge is named by its first node, and a row's last node has an edge to the next row's first that costs
nothing. A block takes 32 nodes' edges to the right and below; a thread takes some of the labels of one edge.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, log
from typing import Any

import numpy as np
from numba import cuda, float32

from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import launch
from idekernels.grid import PatchGrid

LEFT, ABOVE, RIGHT, BELOW = 0, 1, 2, 3  # where a message comes from, as its receiver sees it; added in this order


def propagate(
    unary: Any, pairwise: Any, grid: PatchGrid, iterations: int, damping: float, temperature: float
) -> tuple[Any, Any, Any]:
    """Pass messages; see :func:`idekernels.operations.propagate`.

    Returns the lowest-energy labels (B, N) int32, their energy (B,) float64, the last beliefs (B, N, K) float32. Where
    no message changes any more, the iterations that are left would change nothing, and are not made.
    """
    device = devices.current()
    xp, (photos, nodes, k) = device.xp, unary.shape
    costs = xp.ascontiguousarray(unary.swapaxes(1, 2))
    across, down = _lay_out(xp, pairwise, grid.shape)
    messages = [xp.zeros((photos, 4, k, nodes), np.float32) for _ in range(2)]
    beliefs = xp.empty_like(costs)
    labels = xp.zeros((iterations + 1, photos, nodes), np.int32)
    changed = xp.zeros(iterations + 1, np.int32)
    lanes, parts = launch.message_lanes(k), launch.message_parts(k)
    kernel = device.jit(message_kernel(k, lanes, parts, temperature > 0))
    blocks, threads = (-(-nodes // lanes), photos, 1), (lanes, parts, 1)
    tables, buffers = tuple(map(device.view, (costs, across, down))), tuple(map(device.view, messages))
    settings = (grid.shape[1], np.float32(damping), np.float32(1.0 - damping), np.float32(temperature))
    results = tuple(map(device.view, (beliefs, labels, changed)))
    for iteration in range(iterations + 1):
        old, new = buffers[iteration % 2], buffers[1 - iteration % 2]
        kernel(blocks, threads, *tables, old, new, *settings, iteration, *results)
        due = iteration % launch.CHECK_ITERATIONS == launch.CHECK_ITERATIONS - 1
        if due and not int(changed[iteration]):  # the only read from the device
            labels = labels[: iteration + 1]
            break
    energy = _energies(xp, costs, across, down, labels, grid.shape[1])
    best = energy.argmin(axis=0), xp.arange(photos)
    return labels[best], energy[best], xp.ascontiguousarray(beliefs.swapaxes(1, 2))


def _lay_out(xp: Any, pairwise: Any, shape: tuple[int, int]) -> tuple[Any, Any]:
    """The tables of the edges to the right and down, each (B, K, K, N)."""
    photos, _, k, _ = pairwise.shape
    rows, columns = shape
    across, down = (xp.zeros((photos, k, k, rows, columns), np.float32) for _ in range(2))
    moved, split = xp.moveaxis(pairwise, 1, 3), rows * (columns - 1)
    across[..., :-1] = moved[..., :split].reshape(photos, k, k, rows, columns - 1)
    down[..., :-1, :] = moved[..., split:].reshape(photos, k, k, rows - 1, columns)
    return across.reshape(photos, k, k, -1), down.reshape(photos, k, k, -1)


def _energies(xp: Any, costs: Any, across: Any, down: Any, labels: Any, columns: int) -> Any:
    """Every labelling's energy, (T, B) float64: the nodes' own costs and those of the edges right and down."""
    photos, k, nodes = costs.shape
    photo, node = xp.arange(photos)[None, :, None], xp.arange(nodes)[None, None, :]
    total = costs[photo, labels, node].sum(axis=2, dtype=np.float64)
    for table, shift in ((across, 1), (down, columns)):
        if shift < nodes:
            first, second = labels[..., :-shift], labels[..., shift:]
            total += table[photo, first, second, node[..., :-shift]].sum(axis=2, dtype=np.float64)
    return total


@lru_cache(maxsize=64)
def message_kernel(k: int, lanes: int, parts: int, soft: bool) -> Any:
    """All messages of an iteration, and the labels and beliefs of the iteration before; blocks (N / lanes, B).

    ``soft``: sum-product. Threads of a block: (lanes, parts).

    costs (B, K, N), across and down (B, K, K, N), old and new (B, 4, K, N): float32, ``new`` written. columns : int64,
    nodes of a grid row. keep, take, temperature : float32; damping, 1 - damping, squared grey levels. iteration :
    int64.
    Written: beliefs (B, K, N) float32, labels (T, B, N) int32, changed (T,) int32, 1 where a message changed.
    """
    shape = (2, k, lanes)
    infinite, nothing = np.float32(np.inf), np.float32(0)

    @cuda.jit(device=True, inline="always")
    def belief(costs, messages, photo, i, node):  # type: ignore[no-untyped-def]
        """A node's cost of one label and what it is told about it, added in the order of the constants.

        costs (B, K, N) float32. messages (B, 4, K, N) float32. photo, i, node : int64, the label being i.
        """
        total = costs[photo, i, node] + messages[photo, LEFT, i, node]
        total = total + messages[photo, ABOVE, i, node]
        total = total + messages[photo, RIGHT, i, node]
        return total + messages[photo, BELOW, i, node]

    def propagate(  # type: ignore[no-untyped-def]
        costs, across, down, old, new, columns, keep, take, temperature, iteration, beliefs, labels, changed
    ):
        rest = cuda.shared.array(shape, float32)
        made = cuda.shared.array(shape, float32)
        lane, part, photo = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.y
        node, nodes = cuda.blockIdx.x * lanes + lane, costs.shape[2]
        for way in range(2):
            table = across if way == 0 else down
            shift = 1 if way == 0 else columns
            there, back = LEFT + way, RIGHT + way
            inside = node + shift < nodes
            if inside:
                for i in range(part, k, parts):
                    rest[0, i, lane] = belief(costs, old, photo, i, node) - old[photo, back, i, node]
                    far = belief(costs, old, photo, i, node + shift)
                    rest[1, i, lane] = far - old[photo, there, i, node + shift]
            cuda.syncthreads()
            if inside:
                for j in range(part, k, parts):
                    onward, backward = infinite, infinite
                    for i in range(k):
                        onward = min(onward, rest[0, i, lane] + table[photo, i, j, node])
                        backward = min(backward, rest[1, i, lane] + table[photo, j, i, node])
                    if soft:
                        more, less = nothing, nothing
                        for i in range(k):
                            more += exp((onward - rest[0, i, lane] - table[photo, i, j, node]) / temperature)
                            less += exp((backward - rest[1, i, lane] - table[photo, j, i, node]) / temperature)
                        onward -= temperature * log(more)
                        backward -= temperature * log(less)
                    made[0, j, lane] = onward
                    made[1, j, lane] = backward
            cuda.syncthreads()
            if inside:
                least_on, least_back = made[0, 0, lane], made[1, 0, lane]
                for j in range(1, k):
                    least_on = min(least_on, made[0, j, lane])
                    least_back = min(least_back, made[1, j, lane])
                for j in range(part, k, parts):
                    was_on, was_back = old[photo, there, j, node + shift], old[photo, back, j, node]
                    onward = keep * was_on + take * (made[0, j, lane] - least_on)
                    backward = keep * was_back + take * (made[1, j, lane] - least_back)
                    new[photo, there, j, node + shift] = onward
                    new[photo, back, j, node] = backward
                    if onward != was_on or backward != was_back:
                        changed[iteration] = 1  # all write the same
            cuda.syncthreads()
        if node < nodes:
            if part == 0:
                label, least = 0, belief(costs, old, photo, 0, node)
                for i in range(1, k):
                    mine = belief(costs, old, photo, i, node)
                    if mine < least:
                        label, least = i, mine
                labels[iteration, photo, node] = label
            for i in range(part, k, parts):
                beliefs[photo, i, node] = belief(costs, old, photo, i, node)

    return propagate

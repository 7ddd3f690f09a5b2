"""Loopy belief propagation on the CPU: all messages of an iteration are made from the last iteration's beliefs.

Tables and messages lie with the grid's nodes innermost, so that one vector instruction serves several edges whatever K
is, and one read of a table serves both messages of its edge. An edge is named by its first node; the second stands
``shift`` nodes on (1 for the right neighbour, a row for the lower one). A row's last node has an edge to the next
row's first that costs nothing: its messages are zero, as if it were not there.
"""

from __future__ import annotations

import numpy as np
from numba import float32, prange

from idekernels.backends.cpu.jit import compiled

LEFT, ABOVE, RIGHT, BELOW = 0, 1, 2, 3  # where a message comes from, as its receiver sees it; added in this order
_NODES_PER_TASK = 256  # the messages of so many edges fit into the first-level cache


def propagate(unary, pairwise, grid, iterations, damping, temperature):
    """Pass messages; see :func:`idekernels.operations.propagate`.

    Returns the lowest-energy labels (B, N) int32, their energy (B,) float64, the last beliefs (B, N, K) float32.
    """
    photos, nodes, k = unary.shape
    costs = np.ascontiguousarray(unary.swapaxes(1, 2))
    across, down = _lay_out(pairwise, grid.shape)
    messages = np.zeros((photos, 4, k, nodes), np.float32)
    beliefs = np.empty_like(costs)
    labels = np.empty((iterations + 1, photos, nodes), np.int32)
    for iteration in range(iterations + 1):
        if iteration:
            _pass(beliefs, across, down, messages, grid.shape[1], damping, temperature)
        _believe(costs, messages, beliefs, labels[iteration])
    energy = np.empty((iterations + 1, photos))
    _add_up(costs, across, down, labels, grid.shape[1], energy)
    best = energy.argmin(axis=0), np.arange(photos)
    return labels[best], energy[best], np.ascontiguousarray(beliefs.swapaxes(1, 2))


def _lay_out(pairwise, shape):
    """The tables of the edges to the right and down, each (B, K, K, N)."""
    photos, _, k, _ = pairwise.shape
    rows, columns = shape
    across, down = np.zeros((2, photos, k, k, rows, columns), np.float32)
    right, below = np.split(np.moveaxis(pairwise, 1, 3), [rows * (columns - 1)], axis=3)
    across[..., :-1] = right.reshape(photos, k, k, rows, columns - 1)
    down[..., :-1, :] = below.reshape(photos, k, k, rows - 1, columns)
    return across.reshape(photos, k, k, -1), down.reshape(photos, k, k, -1)


@compiled(parallel=True)
def _pass(beliefs, across, down, messages, columns, damping, temperature):
    photos, _, nodes = beliefs.shape
    blocks = -(-nodes // _NODES_PER_TASK)
    for task in prange(photos * blocks):
        photo, start = task // blocks, task % blocks * _NODES_PER_TASK
        mine, theirs = beliefs[photo], messages[photo]
        for shift, table, back, there in ((1, across, RIGHT, LEFT), (columns, down, BELOW, ABOVE)):
            stop = min(start + _NODES_PER_TASK, nodes - shift)
            if start < stop:
                _exchange(mine, table[photo], shift, start, stop, theirs[back], theirs[there], damping, temperature)


@compiled()
def _exchange(beliefs, table, shift, start, stop, to_first, to_second, damping, temperature):
    """Messages both ways along the edges start .. stop, in place: no other edge reads or writes them."""
    k = len(table)
    rest = np.empty((2, k, stop - start), np.float32)  # the first nodes' beliefs without this edge, the second's
    made = np.full((2, k, stop - start), np.float32(np.inf))  # for the second nodes, for the first
    for i in range(k):
        _subtract(beliefs[i, start:stop], to_first[i, start:stop], rest[0, i])
        _subtract(beliefs[i, start + shift : stop + shift], to_second[i, start + shift : stop + shift], rest[1, i])
    for i in range(k):
        for j in range(k):
            _lower(made[0, j], rest[0, i], table[i, j, start:stop])
            _lower(made[1, i], rest[1, j], table[i, j, start:stop])
    if temperature > 0.0:
        _soften(made, rest, table[:, :, start:stop], temperature)
    least = np.empty((2, stop - start), np.float32)
    for way in range(2):
        least[way] = made[way, 0]
        for i in range(1, k):
            for e in range(stop - start):
                least[way, e] = np.minimum(least[way, e], made[way, i, e])
    for i in range(k):
        _settle(made[0, i], least[0], damping, to_second[i, start + shift : stop + shift])
        _settle(made[1, i], least[1], damping, to_first[i, start:stop])


@compiled()
def _subtract(one, other, out):
    for e in range(len(out)):
        out[e] = one[e] - other[e]


@compiled()
def _lower(least, rest, cost):
    # np.minimum, since LLVM makes slow masked stores of min(least[e], ...): it sees that NaN would change nothing
    for e in range(len(least)):
        least[e] = np.minimum(least[e], rest[e] + cost[e])


@compiled()
def _soften(made, rest, table, temperature):
    """From minima to -T log sum exp(-./T) (sum-product in costs)."""
    k = len(table)
    total = np.zeros(made.shape)
    for i in range(k):
        for j in range(k):
            for e in range(made.shape[2]):
                total[0, j, e] += np.exp((made[0, j, e] - rest[0, i, e] - table[i, j, e]) / temperature)
                total[1, i, e] += np.exp((made[1, i, e] - rest[1, j, e] - table[i, j, e]) / temperature)
    made -= (temperature * np.log(total)).astype(np.float32)


@compiled()
def _settle(made, least, damping, message):
    """Normalise messages to a least cost of zero and mix them with the last ones."""
    keep, take = float32(damping), float32(1.0 - damping)
    for e in range(len(message)):
        message[e] = keep * message[e] + take * (made[e] - least[e])


@compiled(parallel=True)
def _believe(costs, messages, beliefs, labels):
    """Each node's beliefs, its own costs and what it is told, and its cheapest label."""
    photos, k, nodes = costs.shape
    blocks = -(-nodes // _NODES_PER_TASK)
    for task in prange(photos * blocks):
        photo, start = task // blocks, task % blocks * _NODES_PER_TASK
        stop = min(start + _NODES_PER_TASK, nodes)
        label, least = labels[photo, start:stop], np.full(stop - start, np.float32(np.inf))
        label[:] = 0
        for i in range(k):
            belief = beliefs[photo, i, start:stop]
            belief[:] = costs[photo, i, start:stop]
            for side in range(4):
                message = messages[photo, side, i, start:stop]
                for node in range(len(belief)):
                    belief[node] += message[node]
            for node in range(len(belief)):
                label[node] = i if belief[node] < least[node] else label[node]
                least[node] = np.minimum(least[node], belief[node])


@compiled(parallel=True)
def _add_up(costs, across, down, labels, columns, energy):
    """Every labelling's energy: the nodes' own costs and those of the edges right and down."""
    labellings, photos, nodes = labels.shape
    for task in prange(labellings * photos):
        photo, label = task % photos, labels[task // photos, task % photos]
        total = 0.0
        for node in range(nodes):
            mine = label[node]
            total += costs[photo, mine, node]
            if node + 1 < nodes:
                total += across[photo, mine, label[node + 1], node]
            if node + columns < nodes:
                total += down[photo, mine, label[node + columns], node]
        energy[task // photos, photo] = total

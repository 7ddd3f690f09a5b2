"""Loopy belief propagation on the CPU: a photo's iterations run on one thread, photos in parallel.

An iteration is one walk over the grid's nodes. A block's messages are made from the last iteration's beliefs, then its
beliefs are made anew; later blocks have no edge to its nodes, so they do not miss the old ones. Nodes lie innermost, so
that one vector instruction serves 16 edges whatever K is; tables follow one another as they are read, and one read of a
table serves both messages of its edge.

An edge is named by its first node; the second stands ``shift`` nodes on (1 for the right neighbour, a row for the lower
one). Where a node has no such neighbour, and behind the last node, tables of zeros make messages of zeros, as if there
were no edge.
"""

from __future__ import annotations

import numpy as np
from numba import float32, prange

from idekernels.backends.cpu.jit import compiled
from idekernels.backends.cpu.messages import EDGES, least_costs, mix_messages
from idekernels.backends.cpu.threads import at_most

LEFT, ABOVE, RIGHT, BELOW = 0, 1, 2, 3  # where a message comes from, as its receiver sees it; added in this order
_VECTORS = 16  # of nodes in a block: what its beliefs are made of fits the first-level cache


def propagate(unary, pairwise, grid, iterations, damping, temperature):
    """Pass messages; see :func:`idekernels.operations.propagate`.

    Returns the lowest-energy labels (B, N) int32, their energy (B,) float64, the last beliefs (B, N, K) float32.
    """
    photos, nodes, _ = unary.shape
    labels = np.empty((photos, nodes), np.int32)
    energy = np.empty(photos)
    beliefs = np.empty(unary.shape, np.float32)
    with at_most(photos):
        _propagate(unary, pairwise, grid.shape, iterations, damping, temperature, labels, energy, beliefs)
    return labels, energy, beliefs


@compiled(parallel=True)
def _propagate(unary, pairwise, shape, iterations, damping, temperature, labels, energy, beliefs):
    """All photos, each on one thread.

    unary : (B, N, K) float32, squared grey levels. pairwise : (B, E, K, K) float32. shape : two int64, the grid's rows
    and columns. iterations : int64. damping, temperature : float64. Written: labels : (B, N) int32; energy : (B,)
    float64; beliefs : (B, N, K) float32.
    """
    for photo in prange(len(unary)):
        energy[photo] = _photo(
            unary[photo], pairwise[photo], shape, iterations, damping, temperature, labels[photo], beliefs[photo]
        )


@compiled()
def _photo(unary, pairwise, shape, iterations, damping, temperature, best, last):
    """All iterations of one photo: writes the best labels and the last beliefs, and returns the best energy, float64.

    unary : (N, K) float32. pairwise : (E, K, K) float32. shape, iterations, damping, temperature : as in
    :func:`_propagate`. Written: best : (N,) int32; last : (N, K) float32.
    """
    nodes, k = unary.shape
    tables = _lay_out(pairwise, shape, k)
    padded = -(-(len(tables) * EDGES + shape[1]) // EDGES) * EDGES  # the last edges reach a row beyond the last vector
    costs = _aligned((k, padded))
    costs[:, :nodes] = unary.T
    beliefs, messages = _aligned((k, padded)), _aligned((4, k, padded))
    beliefs[:] = costs
    work = _aligned((4, k, EDGES))
    labels, before, lowest = np.zeros(nodes, np.int32), np.zeros(nodes, np.int32), np.inf
    for iteration in range(iterations + 1):
        for begin in range(0, len(tables), _VECTORS):
            end = min(begin + _VECTORS, len(tables))
            if iteration:
                for vector in range(begin, end):
                    _exchange(tables[vector], beliefs, messages, vector * EDGES, shape[1], work, damping, temperature)
            _believe(costs, messages, beliefs, labels, begin * EDGES, min(end * EDGES, nodes))
        if iteration == 0 or not _equal(labels, before):
            reached = _energy(unary, pairwise, shape, labels)
            if reached < lowest:
                lowest = reached
                best[:] = labels
            before[:] = labels
    last[:] = beliefs[:, :nodes].T
    return lowest


@compiled()
def _aligned(shape):
    """Zeros, float32, that begin where a vector fills one line of the cache.

    shape : int64s, of the array.
    """
    size = 1
    for length in shape:
        size *= length
    room = np.zeros(size + EDGES, np.float32)
    start = -room.ctypes.data % (4 * EDGES) // 4
    return room[start : start + size].reshape(shape)


@compiled()
def _lay_out(pairwise, shape, k):
    """The tables of the edges right and down, (vectors, 2, K, K, 16) float32; zeros where a node has no such edge.

    pairwise, shape : as in :func:`_photo`. k : int64, candidates.
    """
    rows, columns = shape
    tables = _aligned((-(-rows * columns // EDGES), 2, k, k, EDGES))
    for node in range(rows * columns):
        vector, lane, row, column = node // EDGES, node % EDGES, node // columns, node % columns
        if column + 1 < columns:
            _spread(pairwise[row * (columns - 1) + column], tables[vector, 0], lane)
        if row + 1 < rows:
            _spread(pairwise[rows * (columns - 1) + node], tables[vector, 1], lane)
    return tables


@compiled()
def _spread(table, tables, lane):
    """Copy one edge's table to its lane of a vector's tables.

    table : (K, K) float32. tables : (K, K, 16) float32, written. lane : int64.
    """
    for i in range(len(table)):
        for j in range(len(table)):
            tables[i, j, lane] = table[i, j]


@compiled()
def _exchange(tables, beliefs, messages, start, columns, work, damping, temperature):
    """Messages both ways along the edges right and down of 16 nodes, in place: no other edge reads or writes them.

    tables : (2, K, K, 16) float32, of :func:`_lay_out`. beliefs : (K, padded nodes) float32. messages : (4, K, padded
    nodes) float32, read and written. start : int64, the first node. columns : int64, nodes of a grid row. work : (4, K,
    16) float32, scratch. damping, temperature : float64.
    """
    k, stride = beliefs.shape
    side = 4 * k * stride  # bytes
    for way in range(2):
        far = start + (columns if way else 1)
        near_beliefs, far_beliefs = beliefs.ctypes.data + 4 * start, beliefs.ctypes.data + 4 * far
        to_first = messages.ctypes.data + (RIGHT + way) * side + 4 * start
        to_second = messages.ctypes.data + (LEFT + way) * side + 4 * far
        least_costs(
            tables[way].ctypes.data, near_beliefs, to_first, far_beliefs, to_second, stride, k, work.ctypes.data
        )
        if temperature > 0.0:
            _soften(work, tables[way], temperature)
        keep, take = float32(damping), float32(1.0 - damping)
        mix_messages(work[2].ctypes.data, to_second, stride, k, keep, take)
        mix_messages(work[3].ctypes.data, to_first, stride, k, keep, take)


@compiled()
def _soften(work, table, temperature):
    """From minima to -T log sum exp(-./T) (sum-product in costs).

    work : (4, K, 16) float32, of :func:`~idekernels.backends.cpu.messages.least_costs`, its last two parts rewritten.
    table : (K, K, 16) float32. temperature : float64, T.
    """
    k = len(table)
    rest, made, total = work[:2], work[2:], np.zeros((2, k, EDGES))
    for i in range(k):
        for j in range(k):
            for e in range(EDGES):
                total[0, j, e] += np.exp((made[0, j, e] - rest[0, i, e] - table[i, j, e]) / temperature)
                total[1, i, e] += np.exp((made[1, i, e] - rest[1, j, e] - table[i, j, e]) / temperature)
    made -= (temperature * np.log(total)).astype(np.float32)


@compiled()
def _believe(costs, messages, beliefs, labels, start, stop):
    """A block's beliefs, each node's own costs and what it is told, and its cheapest label.

    costs : (K, padded nodes) float32. messages : (4, K, padded nodes) float32. Written: beliefs : (K, padded nodes)
    float32; labels : (N,) int32. start, stop : int64, the block's nodes.
    """
    label, least = labels[start:stop], np.full(stop - start, np.float32(np.inf))
    label[:] = 0
    for i in range(len(costs)):
        belief = beliefs[i, start:stop]
        belief[:] = costs[i, start:stop]
        for side in range(4):
            message = messages[side, i, start:stop]
            for node in range(len(belief)):
                belief[node] += message[node]
        for node in range(len(belief)):
            label[node] = i if belief[node] < least[node] else label[node]
            least[node] = np.minimum(least[node], belief[node])


@compiled()
def _equal(labels, before):
    """Whether two labellings are one, bool; counted to the end, which is quicker than to look for the first difference.

    labels, before : (N,) int32.
    """
    different = 0
    for node in range(len(labels)):
        different += labels[node] != before[node]
    return different == 0


@compiled()
def _energy(unary, pairwise, shape, labels):
    """A labelling's energy, float64: the nodes' own costs and those of the edges right and down.

    unary, pairwise, shape : as in :func:`_photo`. labels : (N,) int32.
    """
    rows, columns = shape
    below = rows * (columns - 1)
    total, node, edge = 0.0, 0, 0
    for row in range(rows):
        for column in range(columns):
            mine = labels[node]
            total += unary[node, mine]
            if column + 1 < columns:
                total += pairwise[edge, mine, labels[node + 1]]
                edge += 1
            if row + 1 < rows:
                total += pairwise[below + node, mine, labels[node + columns]]
            node += 1
    return total

"""Loopy belief propagation on the CPU: every message of an iteration is made from the last iteration's messages."""

from __future__ import annotations

import numpy as np
from numba import float32, prange

from idekernels.cpu.jit import compiled

LEFT, RIGHT, ABOVE, BELOW = 0, 1, 2, 3  # where a message comes from, as its receiver sees it


def propagate(unary, pairwise, grid, iterations, damping, temperature):
    """Pass messages; see :func:`idekernels.operations.propagate`.

    Returns the lowest-energy labels (B, N) int32, their energy (B,) float64, the last beliefs (B, N, K) float32.
    """
    photos, nodes, k = unary.shape
    turned = np.ascontiguousarray(pairwise.swapaxes(-1, -2))
    old = np.zeros((photos, nodes, 4, k), np.float32)
    new = np.zeros_like(old)
    beliefs = np.ascontiguousarray(unary).copy()
    best = np.zeros((photos, nodes), np.int32)
    energy = np.full(photos, np.inf)
    labels = np.empty((photos, nodes), np.int32)
    parts = np.empty((photos, nodes))
    for iteration in range(iterations + 1):
        _label(unary, pairwise, beliefs, grid.shape, labels, parts)
        reached = parts.sum(axis=1)
        better = reached < energy
        best[better], energy[better] = labels[better], reached[better]
        if iteration < iterations:
            _pass(unary, pairwise, turned, old, new, beliefs, grid.shape, damping, temperature)
            old, new = new, old
            _believe(unary, old, beliefs)
    return best, energy, beliefs


@compiled(parallel=True)
def _pass(unary, pairwise, turned, old, new, beliefs, shape, damping, temperature):
    """One flooding iteration: every node sends to its right, left, lower and upper neighbour."""
    photos, nodes, k = unary.shape
    rows, columns = shape
    below = rows * (columns - 1)
    for task in prange(photos * rows):
        photo, row = task // rows, task % rows
        rest, message = np.empty(k, np.float32), np.empty(k, np.float32)
        for column in range(columns):
            node, edge = row * columns + column, row * (columns - 1) + column
            sends = (
                (column + 1 < columns, RIGHT, LEFT, node + 1, edge, True),
                (column > 0, LEFT, RIGHT, node - 1, edge - 1, False),
                (row + 1 < rows, BELOW, ABOVE, node + columns, below + node, True),
                (row > 0, ABOVE, BELOW, node - columns, below + node - columns, False),
            )
            for there, back, side, neighbour, along, forward in sends:
                if there:
                    for i in range(k):
                        rest[i] = beliefs[photo, node, i] - old[photo, node, back, i]
                    table = pairwise[photo, along] if forward else turned[photo, along]
                    if temperature > 0.0:
                        _soft_least(rest, table, temperature, message)
                    else:
                        _least(rest, table, message)
                    _settle(message, old[photo, neighbour, side], damping, new[photo, neighbour, side])


@compiled()
def _least(rest, table, message):
    """message[j] = min over i of rest[i] + table[i, j] (min-sum)."""
    k = len(rest)
    for j in range(k):
        message[j] = rest[0] + table[0, j]
    for i in range(1, k):
        for j in range(k):
            message[j] = min(message[j], rest[i] + table[i, j])


@compiled()
def _soft_least(rest, table, temperature, message):
    """message[j] = -T log sum over i of exp(-(rest[i] + table[i, j]) / T) (sum-product in costs)."""
    _least(rest, table, message)
    for j in range(len(rest)):
        total = 0.0
        for i in range(len(rest)):
            total += np.exp((message[j] - rest[i] - table[i, j]) / temperature)
        message[j] -= float32(temperature * np.log(total))


@compiled()
def _settle(message, before, damping, after):
    """Normalise a message to a least cost of zero and mix it with the last one."""
    least = np.min(message)
    keep, take = float32(damping), float32(1.0 - damping)
    for i in range(len(message)):
        after[i] = keep * before[i] + take * (message[i] - least)


@compiled(parallel=True)
def _believe(unary, messages, beliefs):
    photos, nodes, k = unary.shape
    for task in prange(photos * nodes):
        photo, node = task // nodes, task % nodes
        for i in range(k):
            beliefs[photo, node, i] = unary[photo, node, i]
        for side in range(4):
            for i in range(k):
                beliefs[photo, node, i] += messages[photo, node, side, i]


@compiled(parallel=True)
def _label(unary, pairwise, beliefs, shape, labels, parts):
    """Each node's cheapest label, and what it adds to the energy: its own cost and its edges right and down."""
    photos, nodes, k = unary.shape
    rows, columns = shape
    below = rows * (columns - 1)
    for task in prange(photos * rows):
        photo, row = task // rows, task % rows
        for column in range(columns):
            node = row * columns + column
            mine = np.argmin(beliefs[photo, node])
            labels[photo, node] = mine
            cost = float(unary[photo, node, mine])
            if column + 1 < columns:
                theirs = np.argmin(beliefs[photo, node + 1])
                cost += pairwise[photo, row * (columns - 1) + column, mine, theirs]
            if row + 1 < rows:
                theirs = np.argmin(beliefs[photo, node + columns])
                cost += pairwise[photo, below + node, mine, theirs]
            parts[photo, node] = cost

"""The Markov weight field on the CPU: red-black block descent, each node a little QP on the simplex."""

from __future__ import annotations

import numpy as np
from numba import prange

from idekernels.backends.cpu.jit import compiled

_SWEEPS_PER_CHECK = 10
_ENOUGH = 0.1  # a visit to a node cuts its slopes to a tenth: its neighbours move anyway before the next visit
_ROUNDING = 1e-12  # share of the largest curvature that a slope can owe to rounding alone


def weigh(gram, tables, grid, alpha, start, scale, tolerance, sweeps):
    """Minimise the field's energy from ``start``; see :func:`idekernels.operations.weigh`.

    Returns weights (B, N, K) float64, objective (B,), gap (B,) and the sweeps made.
    """
    own, other, cross = tables
    hessian = _hessian(gram.astype(np.float64), own, other, alpha, grid.shape)
    weights = np.ascontiguousarray(start, np.float64).copy()
    done = 0
    while True:
        objective, gap = certificate(hessian, cross, alpha, grid.shape, weights)
        if done >= sweeps or (gap <= tolerance * np.maximum(objective, scale)).all():
            return weights, objective, gap, done
        for _ in range(min(_SWEEPS_PER_CHECK, sweeps - done)):
            for colour in range(2):
                _sweep(colour, hessian, cross, alpha, grid.shape, weights)
            done += 1


def certificate(hessian, cross, alpha, shape, weights):
    """Objective and Frank-Wolfe gap of every photo: the optimum lies between objective - gap and objective."""
    photos, nodes, k = weights.shape
    parts = np.empty((2, photos, nodes))
    _certify(hessian, cross, alpha, shape, weights, parts)
    return parts[0].sum(axis=1), parts[1].sum(axis=1)


@compiled(parallel=True)
def _hessian(gram, own, other, alpha, shape):
    """A_i = G_i + alpha * (sum of S over the node's edges)."""
    photos, nodes, k, _ = gram.shape
    rows, columns = shape
    out = gram.copy()
    for task in prange(photos * nodes):
        photo, node = task // nodes, task % nodes
        for edge, first, _ in _edges_of(node, rows, columns):
            if edge >= 0:
                table = own if first else other
                for i in range(k):
                    for j in range(k):
                        out[photo, node, i, j] += alpha * table[photo, edge, i, j]
    return out


@compiled()
def _edges_of(node, rows, columns):
    """(edge, is the node its first end, the other node) to the right, left, below and above; edge -1 for none."""
    row, column = node // columns, node % columns
    across, below = rows * (columns - 1), row * columns + column
    return (
        (row * (columns - 1) + column if column + 1 < columns else -1, True, node + 1),
        (row * (columns - 1) + column - 1 if column > 0 else -1, False, node - 1),
        (across + below if row + 1 < rows else -1, True, node + columns),
        (across + below - columns if row > 0 else -1, False, node - columns),
    )


@compiled()
def _gradient(node, hessian, cross, alpha, shape, weights, pull, gradient):
    """Half the gradient at one node: gradient = A w - pull, where pull = alpha * sum of C w_neighbour."""
    k = weights.shape[1]
    pull[:] = 0.0
    for edge, first, neighbour in _edges_of(node, shape[0], shape[1]):
        if edge < 0:
            continue
        table, theirs = cross[edge], weights[neighbour]
        for j in range(k):
            if theirs[j] > 0.0:
                for i in range(k):
                    pull[i] += theirs[j] * (table[i, j] if first else table[j, i])
    for i in range(k):
        pull[i] *= alpha
        gradient[i] = -pull[i]
    for j in range(k):
        if weights[node, j] > 0.0:
            for i in range(k):
                gradient[i] += hessian[node, i, j] * weights[node, j]


@compiled(parallel=True)
def _sweep(colour, hessian, cross, alpha, shape, weights):
    """Improve every node of one colour with its neighbours fixed; the objective never rises."""
    photos, _, k = weights.shape
    rows, columns = shape
    for task in prange(photos * rows):
        photo, row = task // rows, task % rows
        pull, gradient = np.empty(k), np.empty(k)
        for column in range((row + colour) % 2, columns, 2):
            node = row * columns + column
            _gradient(node, hessian[photo], cross[photo], alpha, shape, weights[photo], pull, gradient)
            _descend(hessian[photo, node], gradient, weights[photo, node])


@compiled()
def _descend(hessian, gradient, weights):
    """Lower w^T A w - 2 p^T w on the simplex by exact steps along pairs of candidates; ``gradient`` is A w - p."""
    k = len(weights)
    enough = max(_ENOUGH * _steepest(gradient, weights), _ROUNDING * np.max(np.diag(hessian)))
    for _ in range(20 * k):
        taker = np.argmin(gradient)
        giver, best = -1, 0.0
        for j in range(k):
            slope = gradient[j] - gradient[taker]
            if weights[j] > 0.0 and slope > enough:
                step = _step(hessian, taker, j, slope, weights[j])
                if step * slope > best:  # between one and two times what the pair gains
                    giver, best = j, step * slope
        if giver < 0:
            return
        step = _step(hessian, taker, giver, gradient[giver] - gradient[taker], weights[giver])
        weights[taker] += step
        weights[giver] = weights[giver] - step if step < weights[giver] else 0.0
        for i in range(k):
            gradient[i] += step * (hessian[i, taker] - hessian[i, giver])


@compiled()
def _steepest(gradient, weights):
    """The largest slope from a candidate in use down to the best one; zero at the node's optimum."""
    highest = np.min(gradient)
    for i in range(len(weights)):
        if weights[i] > 0.0:
            highest = max(highest, gradient[i])
    return highest - np.min(gradient)


@compiled()
def _step(hessian, taker, giver, slope, most):
    """How much weight to move from one candidate to another: to the parabola's foot, or all there is."""
    bend = hessian[taker, taker] + hessian[giver, giver] - 2.0 * hessian[taker, giver]
    return slope / bend if bend * most > slope else most


@compiled(parallel=True)
def _certify(hessian, cross, alpha, shape, weights, parts):
    photos, nodes, k = weights.shape
    for task in prange(photos * nodes):
        photo, node = task // nodes, task % nodes
        pull, gradient = np.empty(k), np.empty(k)
        _gradient(node, hessian[photo], cross[photo], alpha, shape, weights[photo], pull, gradient)
        inner = 0.0
        for i in range(k):
            inner += weights[photo, node, i] * gradient[i]
        parts[0, photo, node] = inner  # the field's cross terms -2 w_i^T C w_j come once from each end
        parts[1, photo, node] = 2.0 * (inner - np.min(gradient))

"""The Markov weight field on the CPU: every photo settled on one thread, by red-black sweeps of exact exchanges.

The rule is that of :func:`idekernels.operations.weigh`; why it is so stands in docs/KERNELS.md. All of a photo's
arithmetic is float32 over centred tables, in an order that no other photo and no number of threads changes.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from idekernels.backends.cpu.jit import compiled

# The rule's numbers are the reference's; written again, as a compiled kernel's cache sees no change of another module.
PATIENCE, PACE = 32, 2  # from this sweep on, every so many sweeps, the least movement that counts is doubled
STEPS_A_LABEL = 20  # exchanges of one visit at most, times K
RELAX = np.float32(0.5)  # how much farther than to its minimum a visit takes a node
SHARE = np.float32(0.1)  # a visit cuts the node's slopes to a tenth: its neighbours move anyway before the next visit
_ROUNDING = np.float32(3e-7)  # share of two candidates' curvatures that their slope can owe to rounding alone
_DUST = np.float32(2.0**-20)  # what over-relaxation leaves below this is no weight
_TINY = np.float32(1e-20)
_ZERO, _TWO, _THREE = np.float32(0.0), np.float32(2.0), np.float32(3.0)


def weigh(gram, tables, grid, alpha, ridge, start, least, sweeps):
    """Settle the field of every photo; see :func:`idekernels.operations.weigh`.

    Returns weights (B, N, K) float32, objective (B,), gap (B,) and sweeps (B,) int32.
    """
    weights = np.array(np.broadcast_to(start, gram.shape[:3]), np.float32, order="C")
    photos = len(weights)
    objective, gap, made = np.empty(photos), np.empty(photos), np.empty(photos, np.int32)
    numbers = np.float32(alpha), np.float32(ridge), np.float32(least), sweeps
    if photos == 1:  # on this thread: a parallel region would wait for threads that have nothing to do
        objective[0], gap[0], made[0] = _photo(gram[0], *(t[0] for t in tables), *numbers, *grid.shape, weights[0])
    else:
        _photos(gram, *tables, *numbers, *grid.shape, weights, objective, gap, made)
    return weights, objective, gap, made


@compiled(parallel=True)
def _photos(gram, own, other, cross, alpha, ridge, least, sweeps, rows, columns, weights, objective, gap, made):
    """Settle the fields of all photos, each on one thread.

    gram : (B, N, K, K) float32 or float64, read only. own, other, cross : (B, E, K, K) float32. alpha, ridge, least :
    float32, the overlaps' share, what is added to the diagonals, the least movement that counts. sweeps : int64, at
    most. rows, columns : int64, nodes of the grid. weights : (B, N, K) float32, read and written. Written: objective,
    gap : (B,) float64; made : (B,) int32, sweeps.
    """
    for photo in prange(len(gram)):
        objective[photo], gap[photo], made[photo] = _photo(
            gram[photo], own[photo], other[photo], cross[photo], alpha, ridge, least, sweeps, rows, columns,
            weights[photo],
        )  # fmt: skip


@compiled()
def _photo(gram, own, other, cross, alpha, ridge, least, sweeps, rows, columns, weights):
    """Settle one photo's weights in place; its objective and gap, float64, and sweeps, int64.

    gram : (N, K, K) float32 or float64. own, other, cross : (E, K, K) float32. alpha, ridge, least, sweeps, rows,
    columns : as in :func:`_photos`. weights : (N, K) float32, read and written.
    """
    nodes, k = weights.shape
    hessian, linear = np.empty((nodes, k, k), np.float32), np.empty((nodes, k), np.float32)
    links, turned = np.empty(cross.shape, np.float32), np.empty(cross.shape, np.float32)
    constant = _centre(gram, own, other, cross, alpha, ridge, rows, columns, hessian, linear, links, turned)
    made = 0
    if sweeps > 0:
        relax = RELAX if alpha > _ZERO else _ZERO  # without neighbours the minimum itself is the goal
        made = _settle(hessian, linear, links, turned, rows, columns, relax, least, sweeps, weights)
        _normalise(weights)
    objective, gap = _certify(hessian, linear, links, turned, rows, columns, weights)
    return constant + objective, gap, made


@compiled()
def _edges_of(node, rows, columns):
    """(edge, is the node its first end, the other node) to the right, left, below and above; edge -1 for none.

    node, rows, columns : int64, the node's number and the grid's size in nodes.
    """
    row, column = node // columns, node % columns
    across, below = rows * (columns - 1), row * columns + column
    return (
        (row * (columns - 1) + column if column + 1 < columns else -1, True, node + 1),
        (row * (columns - 1) + column - 1 if column > 0 else -1, False, node - 1),
        (across + below if row + 1 < rows else -1, True, node + columns),
        (across + below - columns if row > 0 else -1, False, node - columns),
    )


@compiled()
def _medoids(gram, own, other, alpha, rows, columns, hessian):
    """Of every node the candidate nearest to all its others, evidence and overlaps together, (N,) int32.

    gram, own, other, alpha, rows, columns : as in :func:`_photo`. hessian : (N, K, K) float32, scratch.
    """
    nodes, k = gram.shape[:2]
    middle = np.zeros(nodes, np.int32)
    for node in range(nodes):
        whole = hessian[node]
        whole[:] = gram[node]
        for edge, first, _ in _edges_of(node, rows, columns):
            if edge >= 0:
                table = own[edge] if first else other[edge]
                for i in range(k):
                    for j in range(k):
                        whole[i, j] += alpha * table[i, j]
        least = _ZERO
        for i in range(k):
            apart = np.float32(k) * whole[i, i]
            for j in range(k):
                apart -= _TWO * whole[i, j]
            if i == 0 or apart < least:
                least, middle[node] = apart, i
    return middle


@compiled()
def _centre(gram, own, other, cross, alpha, ridge, rows, columns, hessian, linear, links, turned):
    """The field of patches less their nodes' medoids; returns what the medoids add to the objective, float64.

    gram, own, other, cross, alpha, ridge, rows, columns : as in :func:`_photo`. Written: hessian : (N, K, K) float32;
    linear : (N, K) float32; links, turned : (E, K, K) float32.

    Half the gradient at node i is hessian_i w_i + linear_i - sum of links w_j. ``turned`` is ``links`` transposed, so
    that both ends of an edge read rows. Every difference is of integers, and exact below 2^24.
    """
    nodes, k = gram.shape[:2]
    constant = 0.0
    middle = _medoids(gram, own, other, alpha, rows, columns, hessian)
    for node in range(nodes):
        table, form, line, o = gram[node], hessian[node], linear[node], middle[node]
        itself = table[o, o]
        constant += itself
        for i in range(k):
            line[i] = table[i, o] - itself
            for j in range(k):
                form[i, j] = (table[i, j] - table[i, o]) - (table[o, j] - itself)
            form[i, i] += ridge
        for edge, first, neighbour in _edges_of(node, rows, columns):
            if edge < 0:
                continue
            mine, between, q = (own[edge] if first else other[edge]), cross[edge], middle[neighbour]
            near, far = mine[o, o], (between[o, q] if first else between[q, o])
            for i in range(k):
                to_theirs = between[i, q] if first else between[q, i]
                line[i] += alpha * ((mine[i, o] - near) - (to_theirs - far))
                to_mine = mine[i, o]
                for j in range(k):
                    form[i, j] += alpha * ((mine[i, j] - to_mine) - (mine[o, j] - near))
            if first:
                constant += alpha * near + alpha * ((other[edge, q, q] - far) - far)
                straight, across = links[edge], turned[edge]
                for i in range(k):
                    to_theirs = between[i, q]
                    for j in range(k):
                        link = alpha * ((between[i, j] - to_theirs) - (between[o, j] - far))
                        straight[i, j] = link
                        across[j, i] = link
    return constant


@compiled()
def _slopes(node, hessian, linear, links, turned, rows, columns, weights, slope):
    """Half the gradient at one node.

    node : int64. hessian, linear, links, turned, rows, columns : as in :func:`_centre`. weights : (N, K) float32. slope
    : (K,) float32, written.
    """
    k = weights.shape[1]
    for i in range(k):
        slope[i] = linear[node, i]
    for edge, first, neighbour in _edges_of(node, rows, columns):
        if edge < 0:
            continue
        table, theirs = (turned[edge] if first else links[edge]), weights[neighbour]
        for j in range(k):  # those without weight too: to ask costs more than it saves
            share, row = theirs[j], table[j]
            for i in range(k):
                slope[i] -= row[i] * share
    form, mine = hessian[node], weights[node]
    for j in range(k):
        share, row = mine[j], form[j]
        for i in range(k):
            slope[i] += row[i] * share


@compiled()
def _gains(taker, form, bends, slope, weights, enough, least, gain, step):
    """What the exchanges of all candidates with the taker gain; nothing those that do not count.

    One counts if its slope is above ``enough`` and above what rounding can make, and if it moves ``least`` or takes all
    that a candidate has.

    taker : int64, a candidate. form : (K, K) float32, the node's hessian. bends : (K,) float32, its diagonal. slope,
    weights : (K,) float32, the node's. enough, least : float32. Written: gain, step : (K,) float32.
    """
    lowest, bend, row = slope[taker], bends[taker], form[taker]
    for j in range(len(weights)):
        apart = slope[j] - lowest
        scale = bend + bends[j]
        move = min(apart / max(scale - _TWO * row[j], _TINY), weights[j])
        counts = (apart > enough) & (apart > _ROUNDING * scale) & ((move >= least) | (move == weights[j]))
        step[j] = move
        gain[j] = move * apart if counts else _ZERO


@compiled()
def _lowest(values):
    """The first place of the least value, int64.

    values : (K,) float32.
    """
    low = values[0]
    for i in range(len(values)):
        low = min(low, values[i])
    at = 0
    while values[at] != low:
        at += 1
    return at


@compiled()
def _highest(values):
    """The first place of the greatest value, int64.

    values : (K,) float32.
    """
    high = values[0]
    for i in range(len(values)):
        high = max(high, values[i])
    at = 0
    while values[at] != high:
        at += 1
    return at


@compiled()
def _descend(form, slope, weights, least, bends, gain, step):
    """Exact exchanges at one node until its slopes are a tenth of what they were; whether one moved ``least``, bool.

    form, least : as in :func:`_gains`. slope, weights : (K,) float32, read and written. bends, gain, step : (K,)
    float32, scratch.
    """
    k = len(weights)
    lowest = slope[0]
    for i in range(k):
        lowest = min(lowest, slope[i])
        bends[i] = form[i, i]
    highest = lowest
    for i in range(k):
        if weights[i] > _ZERO:
            highest = max(highest, slope[i])
    enough = SHARE * (highest - lowest)
    moved = False
    for _ in range(STEPS_A_LABEL * k):
        taker = _lowest(slope)
        _gains(taker, form, bends, slope, weights, enough, least, gain, step)
        giver = _highest(gain)
        best, move = gain[giver], step[giver]
        if best <= _ZERO:
            if moved:
                break
            giver = -1
            for other in range(k):  # the cheapest candidate may be far from all others: look at every pair
                _gains(other, form, bends, slope, weights, _ZERO, least, gain, step)
                i = _highest(gain)
                if gain[i] > best:
                    taker, giver, best, move = other, i, gain[i], step[i]
            if giver < 0:
                break
        if move >= least:
            moved = True
        weights[taker] += move
        weights[giver] = weights[giver] - move if move < weights[giver] else _ZERO
        gained, lost = form[taker], form[giver]
        for i in range(k):
            slope[i] += move * (gained[i] - lost[i])
    return moved


@compiled()
def _relaxed(weights, old, before, slope, relax):
    """Go on along the visit's way by ``relax`` of it, where the objective is then no higher than at ``old``.

    weights : (K,) float32, read and written. old : (K,) float32, the weights before the visit. before, slope : (K,)
    float32, the slopes at its two ends. relax : float32.

    Not past the simplex, nor where the lowest point of the objective on the line lies before three quarters of the way.
    """
    far, fell, left = relax, _ZERO, _ZERO
    for i in range(len(weights)):
        gone = weights[i] - old[i]
        fell -= before[i] * gone
        left += slope[i] * gone
        if gone < _ZERO:
            far = min(far, weights[i] / -gone)
    if _THREE * left <= fell:
        for i in range(len(weights)):
            share = weights[i] + far * (weights[i] - old[i])
            weights[i] = share if share > _DUST else _ZERO


@compiled()
def _settle(hessian, linear, links, turned, rows, columns, relax, least, most, weights):
    """Sweep one photo until no node moves; the sweeps made, that last one included, int64.

    hessian, linear, links, turned, rows, columns : as in :func:`_centre`. relax : float32, how much farther than to its
    minimum a visit takes a node. least : float32, the least movement that counts. most : int64, sweeps. weights : (N,
    K) float32, read and written.
    """
    nodes, k = weights.shape
    slope, before, old = np.empty(k, np.float32), np.empty(k, np.float32), np.empty(k, np.float32)
    bends, gain, step = np.empty(k, np.float32), np.empty(k, np.float32), np.empty(k, np.float32)
    due = np.ones(nodes, np.uint8)  # nodes that moved, or have a neighbour that did, since their last visit
    for sweep in range(most):
        if sweep >= PATIENCE and (sweep - PATIENCE) % PACE == 0:
            least *= _TWO
        moving = False
        for colour in range(2):
            for row in range(rows):
                for column in range((row + colour) % 2, columns, 2):
                    node = row * columns + column
                    if due[node] == 0:
                        continue
                    due[node] = 0
                    _slopes(node, hessian, linear, links, turned, rows, columns, weights, slope)
                    mine = weights[node]
                    for i in range(k):
                        before[i], old[i] = slope[i], mine[i]
                    if not _descend(hessian[node], slope, mine, least, bends, gain, step):
                        continue
                    moving = True
                    due[node] = 1
                    for edge, _, neighbour in _edges_of(node, rows, columns):
                        if edge >= 0:
                            due[neighbour] = 1
                    _relaxed(mine, old, before, slope, relax)
        if not moving:
            return sweep + 1
    return most


@compiled()
def _normalise(weights):
    """Divide every node's weights by their sum: exchanges and dust leave it a few roundings from one.

    weights : (N, K) float32, read and written.
    """
    for node in range(len(weights)):
        total = _ZERO
        for share in weights[node]:
            total += share
        for i in range(weights.shape[1]):
            weights[node, i] /= total


@compiled()
def _certify(hessian, linear, links, turned, rows, columns, weights):
    """The centred objective and the Frank-Wolfe gap: float64 sums of float32 slopes.

    hessian, linear, links, turned, rows, columns : as in :func:`_centre`. weights : (N, K) float32.
    """
    nodes, k = weights.shape
    slope = np.empty(k, np.float32)
    objective, gap = 0.0, 0.0
    for node in range(nodes):
        _slopes(node, hessian, linear, links, turned, rows, columns, weights, slope)
        lowest = slope[0]
        for i in range(k):
            lowest = min(lowest, slope[i])
        for i in range(k):
            share = np.float64(weights[node, i])
            objective += share * (np.float64(slope[i]) + np.float64(linear[node, i]))
            gap += 2.0 * share * np.float64(slope[i] - lowest)
    return objective, gap

"""The ``reference`` backend: every kernel as plain NumPy, to be checked by eye; imports nothing of the fast ones.

Shapes and dtypes of the kernels' arguments stand at :class:`idekernels.backends.protocol.Backend`, formulas in
:mod:`idekernels.operations`. In the helpers below, B photos, N nodes, E edges and K candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels import merging
from idekernels.backends.protocol import Backend, Named
from idekernels.bank import PatchBank
from idekernels.grid import PatchGrid

Array = NDArray[Any]


def prepare(bank: PatchBank, memory: int | None) -> PatchBank:
    """The bank itself: this backend reads one image at a time, so it never needs more memory than that."""
    del memory
    return bank


def upload(array: Array) -> Array:
    """The array itself: this backend computes where it is."""
    return array


def free_memory() -> int | None:
    """None: the host's memory is the system's to give."""
    return None


def match(
    query: Array, prepared: PatchBank, grid: PatchGrid, radius: int, k: int, exclude: Array
) -> tuple[Array, Array]:
    """K nearest patches by comparing with every position in the window, one image after the other."""
    place, distance = merging.empty((len(query), grid.nodes, k))
    for image in range(prepared.images):
        planes = prepared.source(image, image + 1)[0].astype(np.int64)
        listed = merging.empty(place.shape)
        for photo in np.flatnonzero((exclude != image).all(axis=1)):
            for node in range(grid.nodes):
                pixel, apart = _nearest_in(planes, query[photo], prepared.weights, grid, node, radius, k)
                listed[0][photo, node, : len(pixel)] = image * grid.height * grid.width + pixel
                listed[1][photo, node, : len(pixel)] = apart
        place, distance = merging.nearest(np.stack([place, listed[0]]), np.stack([distance, listed[1]]), k)
    return place, distance


def _nearest_in(
    planes: Array, query: Array, weights: tuple[int, ...], grid: PatchGrid, node: int, radius: int, k: int
) -> tuple[Array, Array]:
    """The k nearest positions of one image for one node, fewer where there are no more: row * W + column, distance."""
    patch, (y, x) = grid.patch, grid.anchors[node]
    mine = query[:, y : y + patch, x : x + patch].astype(np.int64)
    top, bottom = max(0, y - radius), min(grid.height - patch, y + radius) + patch
    left, right = max(0, x - radius), min(grid.width - patch, x + radius) + patch
    window = planes[:, top:bottom, left:right]
    patches = np.lib.stride_tricks.sliding_window_view(window, (patch, patch), axis=(1, 2))
    squares = ((patches - mine[:, None, None]) ** 2).sum(axis=(3, 4))
    total = np.tensordot(np.array(weights), squares, axes=1)
    order = np.argsort(total, axis=None, kind="stable")[:k]  # stable: a tie goes to the lower row, then column
    row, column = np.divmod(order, total.shape[1])
    return (top + row) * grid.width + left + column, total.ravel()[order]


def gather(place: Array, prepared: PatchBank, patch: int) -> tuple[Array, Array]:
    """Cut the candidates' source and target patches."""
    photos, nodes, k = place.shape
    source = np.empty((photos, nodes, k, prepared.planes, patch, patch), np.uint8)
    target = np.empty((photos, nodes, k, prepared.channels, patch, patch), np.uint8)
    for index in np.ndindex(place.shape):
        image, pixel = divmod(int(place[index]), prepared.height * prepared.width)
        y, x = divmod(pixel, prepared.width)
        source[index] = prepared.source(image, image + 1)[0, :, y : y + patch, x : x + patch]
        target[index] = prepared.target(image, image + 1)[0, :, y : y + patch, x : x + patch]
    return source, target


def evidence(query: Array, sources: Array, grid: PatchGrid) -> Array:
    """G = (P - x)^T (P - x) for every node and plane."""
    patch = grid.patch
    mine = np.stack([query[:, :, y : y + patch, x : x + patch] for y, x in grid.anchors], axis=1)
    residual = sources.astype(np.int64) - mine[:, :, None]
    return np.einsum("bnilyx,bnjlyx->bnlij", residual, residual).astype(np.float32)


def compatibility(targets: Array, grid: PatchGrid) -> tuple[Array, Array, Array]:
    """S_ij = O_i^T O_j of each edge's first node with itself, its second with itself, and the first with the second."""
    photos, _, k = targets.shape[:3]
    tables = np.empty((3, photos, len(grid.edges), k, k), np.float32)
    for edge, ((i, j), (down, across)) in enumerate(zip(grid.edges, grid.shifts, strict=True)):
        high, wide = max(0, grid.patch - down), max(0, grid.patch - across)
        near = targets[:, i, :, :, down:, across:].reshape(photos, k, -1).astype(np.int64)
        far = targets[:, j, :, :, :high, :wide].reshape(photos, k, -1).astype(np.int64)
        for table, (one, other) in enumerate([(near, near), (far, far), (near, far)]):
            tables[table, :, edge] = one @ other.swapaxes(1, 2)
    return tables[0], tables[1], tables[2]


def weigh(
    gram: Array,
    tables: tuple[Array, Array, Array],
    grid: PatchGrid,
    alpha: float,
    start: Array,
    scale: Array,
    tolerance: float,
    sweeps: int,
) -> tuple[Array, Array, Array, int]:
    """The weight field by accelerated projected gradient (FISTA) with restarts, over all nodes at once."""
    hessian = _hessian(gram.astype(np.float64), tables, grid, alpha)
    cross = alpha * tables[2].astype(np.float64)
    bound = _curvature(hessian, cross, grid)
    weights = np.array(start, np.float64)
    ahead, pace = weights, 1.0
    objective, gap = _certificate(hessian, cross, grid, weights)
    done = 0
    while done < sweeps and (gap > tolerance * np.maximum(objective, scale)).any():
        after = project_to_simplex(ahead - _half_gradient(hessian, cross, grid, ahead) / bound)
        reached, gap = _certificate(hessian, cross, grid, after)
        if (reached > objective).any():  # too much momentum: fall back to a plain step, which never rises
            ahead, pace = weights, 1.0
            after = project_to_simplex(weights - _half_gradient(hessian, cross, grid, weights) / bound)
            reached, gap = _certificate(hessian, cross, grid, after)
        faster = (1.0 + np.sqrt(1.0 + 4.0 * pace**2)) / 2.0
        ahead = after + (pace - 1.0) / faster * (after - weights)
        weights, objective, pace = after, reached, faster
        done += 1
    return weights, objective, gap, done


def project_to_simplex(points: Array) -> Array:
    """The nearest point with non-negative entries that sum to one, along the last axis (Held et al. 1974).

    points : (..., K) float64; returns the same shape and dtype.
    """
    falling = -np.sort(-points, axis=-1)
    above = (np.cumsum(falling, axis=-1) - 1.0) / np.arange(1, points.shape[-1] + 1)
    last = (falling > above).sum(axis=-1, keepdims=True) - 1
    return np.maximum(points - np.take_along_axis(above, last, axis=-1), 0.0)


def _hessian(gram: Array, tables: tuple[Array, Array, Array], grid: PatchGrid, alpha: float) -> Array:
    """Each node's own quadratic form, G_i + alpha * sum of S over its edges: (B, N, K, K) float64, as ``gram`` is."""
    hessian = gram.copy()
    for edge, (i, j) in enumerate(grid.edges):
        hessian[:, i] += alpha * tables[0][:, edge]
        hessian[:, j] += alpha * tables[1][:, edge]
    return hessian


def _half_gradient(hessian: Array, cross: Array, grid: PatchGrid, weights: Array) -> Array:
    """Half the objective's gradient at weights (B, N, K) float64: A w - alpha * sum of C w_j over neighbours.

    hessian : A, (B, N, K, K) float64. cross : alpha * C, (B, E, K, K) float64. Returns (B, N, K) float64.
    """
    first, second = grid.edges.T
    gradient = np.einsum("bnij,bnj->bni", hessian, weights)
    _add(gradient, first, -np.einsum("beij,bej->bei", cross, weights[:, second]))
    _add(gradient, second, -np.einsum("beij,bei->bej", cross, weights[:, first]))
    return gradient


def _curvature(hessian: Array, cross: Array, grid: PatchGrid) -> float:
    """An upper bound of the Hessian's largest eigenvalue: its largest absolute row sum (Gershgorin)."""
    rows = np.abs(hessian).sum(axis=-1)
    first, second = grid.edges.T
    _add(rows, first, np.abs(cross).sum(axis=-1))
    _add(rows, second, np.abs(cross).sum(axis=-2))
    return float(max(rows.max(), np.finfo(np.float64).tiny))


def _certificate(hessian: Array, cross: Array, grid: PatchGrid, weights: Array) -> tuple[Array, Array]:
    """Objective and Frank-Wolfe gap at weights (B, N, K) float64: (B,) and (B,) float64."""
    gradient = _half_gradient(hessian, cross, grid, weights)
    inner = (weights * gradient).sum(axis=-1)
    return inner.sum(axis=1), 2.0 * (inner - gradient.min(axis=-1)).sum(axis=1)


def _add(field: Array, nodes: Array, terms: Array) -> None:
    """field[:, nodes] += terms, for nodes that may come several times: field (B, N, ...), terms (B, E, ...)."""
    index: Any = (slice(None), nodes)
    np.add.at(field, index, terms)


def propagate(
    unary: Array, pairwise: Array, grid: PatchGrid, iterations: int, damping: float, temperature: float
) -> tuple[Array, Array, Array]:
    """Loopy belief propagation, flooding schedule: messages of all edges both ways from the last iteration's."""
    photos, _, k = unary.shape
    first, second = grid.edges.T
    messages = np.zeros((2, photos, len(grid.edges), k), np.float32)  # to the second node, to the first
    beliefs = unary.astype(np.float32)
    best, energy = np.zeros(unary.shape[:2], np.int32), np.full(photos, np.inf)
    for iteration in range(iterations + 1):
        labels = beliefs.argmin(axis=-1).astype(np.int32)
        reached = energy_of(labels, unary, pairwise, grid)
        better = reached < energy
        best[better], energy[better] = labels[better], reached[better]
        if iteration < iterations:
            onward = (beliefs[:, first] - messages[1])[..., :, None] + pairwise
            backward = (beliefs[:, second] - messages[0])[..., None, :] + pairwise
            new = np.stack([_least(onward, -2, temperature), _least(backward, -1, temperature)])
            new -= new.min(axis=-1, keepdims=True)
            messages = (damping * messages + (1.0 - damping) * new).astype(np.float32)
            beliefs = unary.astype(np.float32)
            _add(beliefs, second, messages[0])
            _add(beliefs, first, messages[1])
    return best, energy, beliefs


def energy_of(labels: Array, unary: Array, pairwise: Array, grid: PatchGrid) -> Array:
    """Sum of the unary costs and of the pairwise costs on the edges, (B,) float64, of labels (B, N) int32."""
    photos = np.arange(len(labels))[:, None]
    i, j = grid.edges.T
    own = np.take_along_axis(unary, labels[..., None], axis=-1)[..., 0]
    between = pairwise[photos, np.arange(len(grid.edges)), labels[:, i], labels[:, j]]
    return own.astype(np.float64).sum(axis=1) + between.astype(np.float64).sum(axis=1)


def _least(costs: Array, axis: int, temperature: float) -> Array:
    """The least of costs (B, E, K, K) along an axis, or its soft form -T log sum exp(-costs / T) where T > 0."""
    least = costs.min(axis=axis)
    if temperature == 0:
        return least
    apart = np.expand_dims(least, axis) - costs
    return least - temperature * np.log(np.exp(apart / temperature).sum(axis=axis))


def compose(targets: Array, weights: Array) -> Array:
    """sum_k w_k O_k for every node."""
    return np.einsum("bnk,bnkcyx->bncyx", weights.astype(np.float32), targets.astype(np.float32))


def blend(patches: Array, grid: PatchGrid, window: Array) -> Array:
    """Weighted mean of the overlapping patches."""
    photos, _, channels = patches.shape[:3]
    total = np.zeros((photos, channels, grid.height, grid.width))
    weight = np.zeros((grid.height, grid.width))
    for node, (y, x) in enumerate(grid.anchors):
        area = np.s_[..., y : y + grid.patch, x : x + grid.patch]
        total[area] += window * patches[:, node]
        weight[area] += window
    return (total / weight).astype(np.float32)


def cut(patches: Array, grid: PatchGrid) -> Array:
    """Quilt row by row: each patch covers what is there beyond the cheapest seam through the overlap."""
    photos, _, channels = patches.shape[:3]
    canvas = np.zeros((photos, channels, grid.height, grid.width), np.float32)
    columns = len(grid.columns)
    for photo, node in np.ndindex(photos, grid.nodes):
        y, x = grid.anchors[node]
        beside = max(0, grid.patch - (x - grid.columns[node % columns - 1])) if node % columns else 0
        above = max(0, grid.patch - (y - grid.rows[node // columns - 1])) if node >= columns else 0
        here = canvas[photo, :, y : y + grid.patch, x : x + grid.patch]
        error = ((here.astype(np.float64) - patches[photo, node]) ** 2).sum(axis=0)
        left, top = _seam(error[:, :beside]), _seam(error[:above].T)
        index = np.arange(grid.patch)
        taken = (index[None, :] >= left[:, None]) & (index[:, None] >= top[None, :])
        here[:, taken] = patches[photo, node][:, taken]
    return canvas


def _seam(error: Array) -> Array:
    """The column of the cheapest path down ``error`` in every row, each step at most one column aside.

    error : (length, overlap) float64, squared differences. Returns (length,) int64, zeros where nothing overlaps.
    """
    length, overlap = error.shape
    path = np.zeros(length, np.int64)
    if overlap == 0:
        return path
    cost = error.copy()
    for row in range(1, length):
        for column in range(overlap):
            cost[row, column] += cost[row - 1, max(0, column - 1) : column + 2].min()
    path[-1] = cost[-1].argmin()
    for row in range(length - 2, -1, -1):
        first = max(0, path[row + 1] - 1)
        path[row] = first + cost[row, first : path[row + 1] + 2].argmin()
    return path


class Reference(Named):
    """The backend as an object; see :class:`idekernels.backends.protocol.Backend`."""

    name = "reference"

    @staticmethod
    def why_missing() -> None:
        """None: NumPy is always there."""

    prepare = staticmethod(prepare)
    upload = staticmethod(upload)
    free_memory = staticmethod(free_memory)
    match = staticmethod(match)
    gather = staticmethod(gather)
    evidence = staticmethod(evidence)
    compatibility = staticmethod(compatibility)
    weigh = staticmethod(weigh)
    propagate = staticmethod(propagate)
    compose = staticmethod(compose)
    blend = staticmethod(blend)
    cut = staticmethod(cut)


BACKEND: Backend = Reference()

"""The ``reference`` backend: every kernel as plain NumPy, to be checked by eye; imports nothing of the fast ones.

Shapes and dtypes of the kernels' arguments stand at :class:`idekernels.backends.protocol.Backend`, formulas in
:mod:`idekernels.operations`. In the helpers below, B photos, N nodes, E edges and K candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels import merging
from idekernels.backends.host import OnHost
from idekernels.backends.protocol import Backend
from idekernels.bank import PatchBank, SelectedBank
from idekernels.grid import PatchGrid

Array = NDArray[Any]

WHOLE = 720720  # what a region counts in an election before anybody has a seat: 1 to 16 divide it
OUT = -(2**62)  # the support of who may not be elected, or has a seat

# The rule by which a photo's weights settle, see docs/KERNELS.md; the numbers of every backend.
PATIENCE, PACE = 32, 2  # from this sweep on, every so many sweeps, the least movement that counts is doubled
RELAX = 0.5  # how much farther than to its minimum a visit takes a node
SHARE = 0.1  # a visit cuts the node's slopes to a tenth: its neighbours move anyway before the next visit
STEPS_A_LABEL = 20  # exchanges of one visit at most, times K
_DUST = 2.0**-20  # what over-relaxation leaves below this is no weight
_ROUNDING = 1e-14  # share of two candidates' curvatures that their slope can owe to rounding alone, in float64


def prepare(bank: PatchBank, memory: int | None) -> PatchBank:
    """The bank itself: this backend reads one image at a time, so it never needs more memory than that."""
    del memory
    return bank


def select(prepared: PatchBank, images: Array) -> PatchBank:
    """These images read as a bank of their own."""
    return SelectedBank(prepared, images)


def elect(voters: Array, standing: Array, count: int) -> Array:
    """Seats one by one; with every seat, what the regions that named its face still count falls for all they named."""
    faces, names = len(standing), voters.shape[1]
    order = np.argsort(voters, axis=None, kind="stable")
    starts = np.searchsorted(voters.ravel()[order], np.arange(faces + 1))
    support = np.where(standing, np.bincount(voters.ravel(), minlength=faces) * WHOLE, OUT)
    seated, seats = np.zeros(len(voters), np.int64), np.empty(count, np.int64)
    for seat in range(count):
        face = int(support.argmax())
        seats[seat], support[face] = face, OUT
        regions = order[starts[face] : starts[face + 1]] // names
        less = WHOLE // (1 + seated[regions]) - WHOLE // (2 + seated[regions])
        seated[regions] += 1
        np.subtract.at(support, voters[regions], less[:, None])
    return np.sort(seats)


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
    ridge: float,
    start: Array,
    least: float,
    sweeps: int,
) -> tuple[Array, Array, Array, Array]:
    """The weight field by the rule of :func:`idekernels.operations.weigh`, photo by photo and node by node."""
    hessian = _hessian(gram.astype(np.float64), tables, grid, alpha) + ridge * np.eye(gram.shape[-1])
    cross = alpha * tables[2].astype(np.float64)
    weights = np.array(np.broadcast_to(start, gram.shape[:3]), np.float64, order="C")
    made = np.zeros(len(weights), np.int32)
    if sweeps > 0:
        relax = RELAX if alpha > 0 else 0.0  # without neighbours the minimum itself is the goal
        for photo, mine in enumerate(weights):
            made[photo] = _settle(hessian[photo], cross[photo], grid, mine, relax, least, sweeps)
        weights /= weights.sum(axis=-1, keepdims=True)
    return weights, *_certificate(hessian, cross, grid, weights), made


def _settle(
    hessian: Array, cross: Array, grid: PatchGrid, weights: Array, relax: float, least: float, most: int
) -> int:
    """Sweep one photo's weights (N, K), in place, until no node moves; the sweeps made, that last one included."""
    links = _links_of_nodes(grid)
    order = sorted(range(grid.nodes), key=lambda node: sum(divmod(node, grid.shape[1])) % 2)  # all red, then all black
    due = np.ones(grid.nodes, bool)  # nodes that moved, or have a neighbour that did, since their last visit
    for sweep in range(most):
        if sweep >= PATIENCE and (sweep - PATIENCE) % PACE == 0:
            least *= 2
        moving = False
        for node in order:
            if not due[node]:
                continue
            due[node] = False
            slope = hessian[node] @ weights[node]
            for edge, first, neighbour in links[node]:
                slope -= (cross[edge] if first else cross[edge].T) @ weights[neighbour]
            after, left, moved = _descend(hessian[node], slope, weights[node], least)
            if moved:
                moving = True
                due[[node, *(neighbour for _, _, neighbour in links[node])]] = True
                after = _relaxed(weights[node], after, slope, left, relax)
            weights[node] = after
        if not moving:
            return sweep + 1
    return most


def _links_of_nodes(grid: PatchGrid) -> list[list[tuple[int, bool, int]]]:
    """Of every node its edges: (edge, is the node its first end, the other node)."""
    links: list[list[tuple[int, bool, int]]] = [[] for _ in range(grid.nodes)]
    for edge, (i, j) in enumerate(grid.edges):
        links[i].append((edge, True, j))
        links[j].append((edge, False, i))
    return links


def _descend(form: Array, slope: Array, weights: Array, least: float) -> tuple[Array, Array, bool]:
    """Exact exchanges at one node until its slopes are a tenth: the weights, their slopes, whether one moved ``least``.

    form : (K, K), the node's quadratic form. slope, weights : (K,), not written to.
    """
    slope, weights, k = slope.copy(), weights.copy(), len(weights)
    enough = SHARE * (max(slope.min(), slope[weights > 0].max()) - slope.min())
    moved = False
    for _ in range(STEPS_A_LABEL * k):
        taker = int(slope.argmin())
        gain, step = _gains(taker, form, slope, weights, enough, least)
        if gain.max() <= 0:
            if moved:
                break
            # The cheapest candidate may be far from all others, so that it moves with none: look at every pair.
            gains, steps = zip(*(_gains(each, form, slope, weights, 0.0, least) for each in range(k)), strict=True)
            taker = int(np.argmax([gain.max() for gain in gains]))
            gain, step = gains[taker], steps[taker]
            if gain.max() <= 0:
                break
        giver = int(gain.argmax())
        move = step[giver]
        moved = moved or move >= least
        weights[taker] += move
        weights[giver] = max(weights[giver] - move, 0.0)
        slope += move * (form[taker] - form[giver])
    return weights, slope, bool(moved)


def _gains(taker: int, form: Array, slope: Array, weights: Array, enough: float, least: float) -> tuple[Array, Array]:
    """What every candidate's exchange with the taker gains, 0 where it does not count, and moves: (K,) each."""
    apart, scale = slope - slope[taker], form.diagonal() + form[taker, taker]
    bend = np.maximum(scale - 2.0 * form[taker], np.finfo(np.float64).tiny)
    step = np.minimum(apart / bend, weights)
    counts = (apart > enough) & (apart > _ROUNDING * scale) & ((step >= least) | (step == weights))
    return np.where(counts, step * apart, 0.0), step


def _relaxed(old: Array, new: Array, before: Array, slope: Array, relax: float) -> Array:
    """The point ``relax`` of the way from old to new beyond new, where the objective is then no higher than at old.

    old, new : (K,) weights of a node. before, slope : (K,), the slopes there. Not past the simplex, nor where the
    parabola's foot on the line lies before three quarters of the way.
    """
    gone = new - old
    if 3.0 * (slope @ gone) > -(before @ gone):
        return new
    far = min(relax, *(new[gone < 0] / -gone[gone < 0]))
    beyond = new + far * gone
    return np.where(beyond > _DUST, beyond, 0.0)


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
        hessian[:, i] += alpha * tables[0][:, edge].astype(np.float64)
        hessian[:, j] += alpha * tables[1][:, edge].astype(np.float64)
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


class Reference(OnHost):
    """The backend as an object; see :class:`idekernels.backends.protocol.Backend`."""

    name = "reference"

    @staticmethod
    def why_missing() -> None:
        """None: NumPy is always there."""

    prepare = staticmethod(prepare)
    select = staticmethod(select)
    elect = staticmethod(elect)
    upload = staticmethod(upload)
    free_memory = staticmethod(free_memory)
    _search = staticmethod(match)
    _cut_out = staticmethod(gather)
    _grams = staticmethod(evidence)
    compatibility = staticmethod(compatibility)
    weigh = staticmethod(weigh)
    propagate = staticmethod(propagate)
    compose = staticmethod(compose)
    blend = staticmethod(blend)
    cut = staticmethod(cut)


BACKEND: Backend = Reference()

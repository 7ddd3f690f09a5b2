"""The kernels as people call them: every argument checked, every formula, bound and tie rule stated; no backend's code.

Symbols: B photos, N nodes and E edges of a :class:`PatchGrid`, K candidates, L source planes, C target channels,
P = patch. Node i's candidate source patches are the columns of P_i, its query patch is x_i, and O_i holds its
candidates' target patches on the overlap with a neighbour (of that edge).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels import arguments, backends, merging, multi
from idekernels.bank import PatchBank
from idekernels.grid import PatchGrid
from idekernels.multi import least_scale
from idekernels.results import Candidates, Compatibility, Labelling, PreparedBank, Weights

WEIGHINGS = ("top1", "mean", "lle", "mwf")
BLENDINGS = ("average", "feather", "cut")


def prepare(bank: PatchBank, backend: str = "auto", memory: int | None = None) -> PreparedBank:
    """Make a bank ready for a backend.

    Parameters
    ----------
    bank : PatchBank
    backend : {"auto", "cuda", "cpu", "reference"}
        "auto" is cuda where a device answers, else cpu. On cuda every operation gives device arrays (CuPy's), takes
        them as they are, and copies NumPy arrays up; the values of device arrays are not checked, that would wait.
    memory : int, optional
        Bytes that the bank may occupy; a larger bank is streamed in blocks of images, with the same result bit for
        bit. None keeps it all.

    Raises
    ------
    InputError
        The backend does not exist or cannot run here.
    """
    if memory is not None:
        arguments.whole("memory", memory, 0)
    name = backends.resolve(backend)
    return PreparedBank(bank, name, backends.load(name).prepare(bank, memory))


def match(
    query: NDArray[np.uint8],
    bank: PatchBank | PreparedBank,
    grid: PatchGrid | None = None,
    *,
    radius: int | None = None,
    k: int = 10,
    exclude: Any = None,
    partial: bool = False,
    backend: str = "auto",
) -> Candidates:
    """Find every query patch's K nearest bank patches in a search window.

    distance(i; n, r, c) = sum_l m_l * |bank_l[n, r:r+P, c:c+P] - query_l[r_i:r_i+P, c_i:c_i+P]|^2 with the bank's
    plane weights m_l, over all images n and all (r, c) within ``radius`` of the anchor that stay inside the image;
    an exact integer. Equal distances go to the lowest (image, row, column). Every backend returns the same bits.

    Parameters
    ----------
    query : (B, L, H, W) uint8
        Planes made by ``bank.query``.
    bank : PatchBank or PreparedBank
    grid : PatchGrid, optional
        The bank's own by default.
    radius : int, optional
        In pixels; the bank's own by default.
    k : int
        Candidates a node, 1 to 256.
    exclude : int array (B,) or (B, X), optional
        Images that a photo must not use (-1 for none), for leave-one-out.
    partial : bool
        For shards of a bank, whose results are merged: where a node has fewer than K positions, end its list with
        image, row and column -1 and distance 2^32 - 1 instead of refusing K. :func:`merge` alone takes such lists.
    backend : str
        Used where ``bank`` is not prepared.

    Returns
    -------
    Candidates

    Raises
    ------
    TypeError, ValueError
        Wrong dtype, shape or range; K above the number of positions; sum_l m_l P^2 255^2 at or past 2^32.
    """
    prepared = bank if isinstance(bank, PreparedBank) else prepare(bank, backend)
    source, module = prepared.bank, prepared.module
    grid = source.grid() if grid is None else grid
    radius = source.settings.radius if radius is None else arguments.whole("radius", radius, 0)
    radius = min(radius, max(source.height, source.width))
    k = arguments.whole("k", k, 1, 256)
    planes = arguments.query(query, source, grid)
    barred = arguments.excluded(exclude, len(planes), source.images)
    arguments.exact_distance(source, grid.patch)
    if not partial:
        arguments.enough_positions(source, grid, radius, k, barred)
    place, distance = module.match(module.upload(planes), prepared.handle, grid, radius, k, barred)
    xp = arguments.namespace(place)
    image, pixel = xp.divmod(place, source.height * source.width)
    row, column = xp.divmod(pixel, source.width)
    if partial:
        absent = distance == merging.MISSING
        image, row, column = (xp.where(absent, -1, axis) for axis in (image, row, column))
    return Candidates(image.astype(np.int32), row.astype(np.int32), column.astype(np.int32), distance)


def merge(
    parts: Sequence[Candidates], starts: Sequence[int], k: int | None = None, *, partial: bool = False
) -> Candidates:
    """Merge the candidates found in shards of a bank to the K nearest of all.

    Each shard is matched alone, wherever it is, with one query, grid and radius; what is found is, bit for bit, what
    :func:`match` finds in the joined bank. Equal distances go to the lowest (image, row, column). Where a shard may
    have fewer than K positions, because it is small or its images are excluded, match it with ``partial=True``.

    Parameters
    ----------
    parts : sequence of Candidates
        One a shard, (B, N, K_s) of the same photos and nodes, ascending as :func:`match` gives them, with images
        counted from 0 in the shard; rows and columns below 2^16, images of the joined bank below 2^31. NumPy's
        arrays, or all a device's; the values of those are not checked.
    starts : sequence of int
        The number of each shard's first image in the joined bank, as :attr:`idekernels.JoinedBank.starts`.
    k : int, optional
        Candidates a node, 1 to 256; the largest K_s by default.
    partial : bool
        Give lists that end with missing candidates, to be merged again, instead of refusing K.

    Returns
    -------
    Candidates
        (B, N, K), with images counted in the joined bank.

    Raises
    ------
    TypeError
        A wrong dtype, or NumPy's arrays beside a device's.
    ValueError
        No parts, wrong shapes or ranges, shards that overlap; K above the number of candidates of a node; a part with
        fewer than K entries that may not list all that belongs here.
    """
    begins = merging.check_parts(parts, starts)
    most = max(part.distance.shape[2] for part in parts)
    k = most if k is None else arguments.whole("k", k, 1, 256)
    photos, nodes = parts[0].distance.shape[:2]
    xp = arguments.namespace(parts[0].distance)
    place, distance = merging.empty((photos, nodes, k), xp)
    for part, begin in zip(parts, begins, strict=True):  # one after the other: memory for two lists, not for all
        theirs, apart = merging.listed(part, begin, k)
        place, distance = merging.nearest(xp.stack([place, theirs]), xp.stack([distance, apart]), k)
    if not arguments.on_device(distance):
        merging.check_complete(parts, begins, place, distance)
        fewest = int((distance != merging.MISSING).sum(axis=2).min())
        if fewest < k and not partial:
            raise ValueError(f"k is {k}, but a node has only {fewest} candidates in all parts; take a smaller k")
    return replace(parts[0], **merging.unlisted(place, distance))


def gather(
    candidates: Candidates, bank: PatchBank | PreparedBank, patch: int | None = None, *, backend: str = "auto"
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cut the candidates' patches out of the bank.

    Parameters
    ----------
    candidates : Candidates
    bank : PatchBank or PreparedBank
        The one that was matched with.
    patch : int, optional
        In pixels; the bank's own by default.
    backend : str
        Used where ``bank`` is not prepared.

    Returns
    -------
    source : (B, N, K, L, P, P) uint8
    target : (B, N, K, C, P, P) uint8

    Raises
    ------
    ValueError
        A candidate's patch is not inside the bank.
    """
    prepared = bank if isinstance(bank, PreparedBank) else prepare(bank, backend)
    source = prepared.bank
    patch = source.settings.patch if patch is None else arguments.whole("patch", patch, 1)
    bounds = (source.images, source.height - patch + 1, source.width - patch + 1)
    places = (candidates.image, candidates.row, candidates.column)
    for name, place, bound in zip(("image", "row", "column"), places, bounds, strict=True):
        if not arguments.on_device(place) and (place.min() < 0 or place.max() >= bound):
            raise ValueError(f"a candidate's {name} must be in 0 .. {bound - 1}, not {place.min()} .. {place.max()}")
    image, row, column = (place.astype(np.int64) for place in places)
    place = (image * source.height + row) * source.width + column
    module = prepared.module
    cut: tuple[NDArray[np.uint8], NDArray[np.uint8]] = module.gather(module.upload(place), prepared.handle, patch)
    return cut


def evidence(
    query: NDArray[np.uint8], sources: NDArray[np.uint8], grid: PatchGrid, *, backend: str = "auto"
) -> NDArray[np.float32]:
    """Gram matrices of the candidates' residuals, one a node and plane: G_i = (P_i - x_i)^T (P_i - x_i).

    Summed in integers and rounded once to float32 (exact below 2^24). The diagonal holds the squared distances.

    Parameters
    ----------
    query : (B, L, H, W) uint8
    sources : (B, N, K, L, P, P) uint8
    grid : PatchGrid
    backend : str
        A name that :func:`prepare` takes.

    Returns
    -------
    (B, N, L, K, K) float32, in squared grey levels

    Raises
    ------
    TypeError, ValueError
        Wrong dtype or shape; P^2 255^2 at or past 2^31.
    """
    planes = arguments.array("query", query, np.uint8, 4)
    patches = arguments.array("sources", sources, np.uint8, 6)
    arguments.shape("query", planes, (None, None, grid.height, grid.width))
    photos, layers = planes.shape[:2]
    arguments.shape("sources", patches, (photos, grid.nodes, None, layers, grid.patch, grid.patch))
    arguments.exact_products(grid.patch, 1)
    module = backends.load(backend)
    table: NDArray[np.float32] = module.evidence(module.upload(planes), module.upload(patches), grid)
    return table


def compatibility(targets: NDArray[np.uint8], grid: PatchGrid, *, backend: str = "auto") -> Compatibility:
    """Products of neighbouring candidates' target patches on their overlap; see :class:`Compatibility`.

    Summed in integers and rounded once to float32 (exact below 2^24), in squared grey levels. Where two patches
    only touch, their tables are zero.

    Parameters
    ----------
    targets : (B, N, K, C, P, P) uint8
    grid : PatchGrid
    backend : str
        A name that :func:`prepare` takes.

    Returns
    -------
    Compatibility

    Raises
    ------
    TypeError, ValueError
        Wrong dtype or shape; C P^2 255^2 at or past 2^31.
    """
    patches = _targets(targets, grid)
    arguments.exact_products(grid.patch, patches.shape[3])
    module = backends.load(backend)
    return Compatibility(*module.compatibility(module.upload(patches), grid))


def weigh(
    gram: NDArray[np.float32],
    compatibility: Compatibility,
    grid: PatchGrid,
    *,
    method: str = "mwf",
    alpha: float = 0.5,
    tolerance: float = 1e-5,
    sweeps: int = 1000,
    backend: str = "auto",
) -> Weights:
    """Weigh the candidates of every node.

    ``mwf`` minimises, over w_i >= 0 that sum to one, the convex Markov weight field of Zhou, Kuang and Wong (CVPR
    2012): sum_i w_i^T G_i w_i + alpha * sum_(i,j) |O_i w_i - O_j w_j|^2. ``lle`` is the same at alpha = 0 (each node
    by itself), ``mean`` gives 1/K, ``top1`` all to the nearest. The objective and the residual of all four are those
    of the field at their alpha.

    Parameters
    ----------
    gram : (B, N, K, K) float32
        Evidence; of several planes, their weighted sum.
    compatibility : Compatibility
    grid : PatchGrid
    method : {"top1", "mean", "lle", "mwf"}
    alpha : float
        Weight of the agreement in the overlap, at least 0.
    tolerance : float
        ``mwf`` and ``lle`` stop when the Frank-Wolfe gap is below this share of the objective (where the bank holds
        the photo itself the objective may be zero: of a millionth of what candidates cost on average).
    sweeps : int
        ... or after so many passes over the field; the residual tells which.
    backend : str
        A name that :func:`prepare` takes.

    Returns
    -------
    Weights

    Raises
    ------
    TypeError, ValueError
        Wrong dtype, shape or range, or a ``gram`` that is not finite.
    """
    arguments.choice("method", method, WEIGHINGS)
    table = arguments.array("gram", gram, np.float32, 4)
    tables = _links(table, "gram", compatibility, grid)
    module = backends.load(backend)
    table, tables = module.upload(table), tuple(module.upload(link) for link in tables)
    xp, (photos, nodes, k) = arguments.namespace(table), table.shape[:3]
    start = xp.full((photos, nodes, k), 1.0 / k)
    if method == "top1":
        start[:] = xp.arange(k) == 0
    passes = 0 if method in ("top1", "mean") else arguments.whole("sweeps", sweeps, 1)
    alpha = 0.0 if method == "lle" else arguments.real("alpha", alpha, 0.0)
    tolerance = arguments.real("tolerance", tolerance, 0.0, 1.0)
    found = module.weigh(table, tables, grid, alpha, start, least_scale(table), tolerance, passes)
    return Weights(found[0].astype(np.float32), *found[1:])


def weigh_multi(
    grams: NDArray[np.float32],
    compatibility: Compatibility,
    grid: PatchGrid,
    *,
    alpha: float = 0.5,
    spread: float = 1.0,
    rounds: int = 10,
    tolerance: float = 1e-5,
    sweeps: int = 1000,
    backend: str = "auto",
) -> multi.MultiWeights:
    """Weigh candidates and representations together (after Peng et al., TNNLS 2015).

    Minimises sum_i [ sum_l mu_il w_i^T G_i^l w_i + lam |mu_i|^2 ] + alpha * sum_(i,j) |O_i w_i - O_j w_j|^2 over w_i
    and mu_i on their simplices, by turns: mu exactly (a projection onto the simplex), w as in :func:`weigh`. The
    objective never rises. lam = ``spread`` times the mean of w_i^T G_i^l w_i at equal weights, so that one setting
    suits every scale; it keeps mu from collapsing onto one representation.

    Parameters
    ----------
    grams : (B, N, L, K, K) float32
        Evidence of each representation, times its integer weight where wanted.
    compatibility : Compatibility
    grid : PatchGrid
    alpha : float
        Weight of the agreement in the overlap, at least 0.
    spread : float
        lam in units of the mean cost, at least 1e-6; the larger, the more alike the representations' weights.
    rounds : int
        Turns at most; stops when the objective falls by less than ``tolerance`` of itself.
    tolerance : float
        Also bounds the gap of each turn's w, at a tenth of it.
    sweeps : int
        Passes over the field in each turn at most.
    backend : str
        A name that :func:`prepare` takes.

    Returns
    -------
    MultiWeights

    Raises
    ------
    TypeError, ValueError
        Wrong dtype, shape or range, or ``grams`` that are not finite.
    """
    tables = arguments.array("grams", grams, np.float32, 5)
    links = _links(tables, "grams", compatibility, grid)
    module = backends.load(backend)
    tables, links = module.upload(tables), tuple(module.upload(link) for link in links)
    settings = multi.Settings(
        arguments.real("alpha", alpha, 0.0),
        arguments.real("spread", spread, 1e-6),
        arguments.whole("rounds", rounds, 1),
        arguments.real("tolerance", tolerance, 0.0, 1.0),
        arguments.whole("sweeps", sweeps, 1),
    )
    return multi.alternate(tables, links, grid, settings, module.weigh)


def propagate(
    unary: NDArray[np.float32],
    pairwise: NDArray[np.float32],
    grid: PatchGrid,
    *,
    iterations: int = 50,
    damping: float = 0.0,
    temperature: float = 0.0,
    backend: str = "auto",
) -> Labelling:
    """Choose one candidate a node by loopy belief propagation on the grid (Wang and Tang, TPAMI 2009, one scale).

    Energy: sum_i unary_i(l_i) + sum_(i,j) pairwise_ij(l_i, l_j). Flooding schedule: every message of an iteration is
    made from the last iteration's, shifted so that its least cost is zero, and mixed with its predecessor,
    new = (1 - damping) * made + damping * old. Min-sum at ``temperature`` 0: m_ij(l) = min_k [b_i(k) - m_ji(k) +
    pairwise(k, l)]; sum-product above: the minimum becomes -T log sum exp(-./T). Equal beliefs go to the lower label.
    Loopy messages may swing and the energy rise: the labelling with the lowest energy seen is returned, the cheapest
    unary labels included.

    Parameters
    ----------
    unary : (B, N, K) float32
    pairwise : (B, E, K, K) float32
        Costs, [first node's label, second node's label], for example alpha * ``Compatibility.disagreement``.
    grid : PatchGrid
    iterations : int
    damping : float
        In [0, 1).
    temperature : float
        0 for min-sum, above it sum-product in units of the costs; its beliefs, softmax(-b / T), are the weights.
    backend : str
        A name that :func:`prepare` takes.

    Returns
    -------
    Labelling

    Raises
    ------
    TypeError, ValueError
        Wrong dtype, shape or range, or costs that are not finite.
    """
    own = arguments.array("unary", unary, np.float32, 3)
    arguments.shape("unary", own, (None, grid.nodes, None))
    photos, _, k = own.shape
    between = arguments.array("pairwise", pairwise, np.float32, 4, empty=len(grid.edges) == 0)
    arguments.shape("pairwise", between, (photos, len(grid.edges), k, k))
    arguments.finite("unary and pairwise costs", own)
    arguments.finite("unary and pairwise costs", between)
    passes = arguments.whole("iterations", iterations, 0)
    kept = arguments.real("damping", damping, 0.0, 1.0 - 1e-6)
    warmth = arguments.real("temperature", temperature, 0.0)
    module = backends.load(backend)
    own, between = module.upload(own), module.upload(between)
    labels, energy, beliefs = module.propagate(own, between, grid, passes, kept, warmth)
    xp = arguments.namespace(labels)
    weights = (xp.arange(k) == labels[..., None]).astype(np.float32)
    if warmth > 0:
        likely = xp.exp((beliefs.min(axis=-1, keepdims=True) - beliefs).astype(np.float64) / warmth)
        weights = (likely / likely.sum(axis=-1, keepdims=True)).astype(np.float32)
    return Labelling(labels, energy, weights)


def compose(targets: NDArray[np.uint8], weights: NDArray[np.float32], *, backend: str = "auto") -> NDArray[np.float32]:
    """Mix every node's candidates to one patch, sum_k w_k O_k.

    Parameters
    ----------
    targets : (B, N, K, C, P, P) uint8
    weights : (B, N, K) float32
    backend : str
        A name that :func:`prepare` takes.

    Returns
    -------
    (B, N, C, P, P) float32, in grey levels

    Raises
    ------
    TypeError, ValueError
        Wrong dtype or shape.
    """
    patches = arguments.array("targets", targets, np.uint8, 6)
    shares = arguments.array("weights", weights, np.float32, 3)
    arguments.shape("weights", shares, patches.shape[:3])
    module = backends.load(backend)
    made: NDArray[np.float32] = module.compose(module.upload(patches), module.upload(shares))
    return made


def blend(
    patches: NDArray[np.float32], grid: PatchGrid, *, how: str = "feather", backend: str = "auto"
) -> NDArray[np.float32]:
    """Join overlapping patches to pictures.

    ``average``: the plain mean of what covers a pixel. ``feather``: the mean weighted by sin^2(pi (p + 1/2) / P) along
    both axes, so that no patch ends at an edge. ``cut``: row by row, each patch over what is there along the
    minimum-error boundary of their overlap (Efros and Freeman, SIGGRAPH 2001); ties to the lower row or column.

    Parameters
    ----------
    patches : (B, N, C, P, P) float32
    grid : PatchGrid
    how : {"average", "feather", "cut"}
    backend : str
        A name that :func:`prepare` takes.

    Returns
    -------
    (B, C, H, W) float32, in the units of the patches

    Raises
    ------
    TypeError, ValueError
        Wrong dtype or shape.
    """
    arguments.choice("how", how, BLENDINGS)
    pieces = arguments.array("patches", patches, np.float32, 5)
    arguments.shape("patches", pieces, (None, grid.nodes, None, grid.patch, grid.patch))
    module = backends.load(backend)
    pieces = module.upload(pieces)
    if how == "cut":
        picture: NDArray[np.float32] = module.cut(pieces, grid)
        return picture
    picture = module.blend(pieces, grid, blend_window(how, grid.patch))
    return picture


def blend_window(how: str, patch: int) -> NDArray[np.float64]:
    """Share of a patch's pixels in the mean, (P, P) float64, positive."""
    if how == "average":
        return np.ones((patch, patch))
    profile = np.sin(np.pi * (np.arange(patch) + 0.5) / patch) ** 2
    return np.outer(profile, profile)


def _targets(targets: NDArray[np.uint8], grid: PatchGrid) -> NDArray[np.uint8]:
    patches: NDArray[np.uint8] = arguments.array("targets", targets, np.uint8, 6)
    arguments.shape("targets", patches, (None, grid.nodes, None, None, grid.patch, grid.patch))
    return patches


def _links(
    gram: NDArray[np.float32], called: str, compatibility: Compatibility, grid: PatchGrid
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The field's overlap tables, once they and the evidence (B, N, ..., K, K) are found to fit each other."""
    photos, k = gram.shape[0], gram.shape[-1]
    arguments.shape(called, gram, (None, grid.nodes, *[None] * (gram.ndim - 4), k, k))
    links = (compatibility.own, compatibility.other, compatibility.cross)
    for name, link in zip(("own", "other", "cross"), links, strict=True):
        if link.shape != (photos, len(grid.edges), k, k) or link.dtype != np.float32:
            raise ValueError(f"compatibility.{name} must be {(photos, len(grid.edges), k, k)} float32")
    arguments.finite(called, gram)
    for link in links:
        arguments.finite("compatibility", link)
    own, other, cross = (arguments.namespace(link).ascontiguousarray(link) for link in links)
    return own, other, cross

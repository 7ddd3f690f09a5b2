"""The kernels as people call them: every argument checked, every formula, bound and tie rule stated; no backend's code.

Symbols: B photos, N nodes and E edges of a :class:`PatchGrid`, K candidates, L source planes, C target channels,
P = patch, H and W the image's rows and columns. Node i's candidate source patches are the columns of P_i, its query
patch is x_i, and O_i holds its candidates' target patches on the overlap with a neighbour (of that edge).

Results know their backend (:mod:`idekernels.results`), and an operation runs on that of its arguments: what begins with
``prepare(bank, "reference")`` stays there. ``backend`` is for plain arrays, which know none; it takes what
:func:`prepare` takes. Arguments of two backends, or a result and another ``backend``, are refused with a ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels import arguments, backends, merging
from idekernels.backends.protocol import Backend
from idekernels.bank import PatchBank
from idekernels.grid import PatchGrid
from idekernels.methods import SETTINGS, WEIGHINGS, Links, Mrf, Multi, Mwf, Weighing, links_of
from idekernels.preselection import Preselection
from idekernels.results import (
    CandidatePatches,
    Candidates,
    Compatibility,
    ComposedPatches,
    Evidence,
    Labelling,
    MultiWeights,
    Picture,
    PreparedBank,
    Weights,
)
from idekernels.searching import Search, searched

BLENDINGS = ("average", "feather", "cut")


def prepare(
    bank: PatchBank, backend: str | Backend = "auto", memory: int | None = None, *, preselect: int | None = None
) -> PreparedBank:
    """Make a bank ready for a backend.

    Parameters
    ----------
    bank : PatchBank
    backend : {"auto", "cuda", "cpu", "reference"} or Backend
        "auto" is cuda where a device answers, else cpu. On cuda every operation gives device arrays (CuPy's), takes
        them as they are, and copies NumPy arrays up; the values of device arrays are not checked, that would wait.
    memory : int, optional
        Bytes that the bank may occupy; a larger bank is streamed in blocks of images, with the same result bit for
        bit. None keeps it all.
    preselect : int, optional
        Search for every photo only so many of the bank's images, those of the faces nearest to it by
        :class:`idekernels.preselection.Preselection`: many times faster with a bank of thousands, at a small loss. What
        is found is what a bank that holds these images alone would give. None searches all, which is exact.

    Raises
    ------
    TypeError, ValueError
        ``memory`` or ``preselect`` out of range.
    InputError
        The backend does not exist or cannot run here.
    """
    if memory is not None:
        arguments.whole("memory", memory, 0)
    if preselect is not None:
        arguments.whole("preselect", preselect, 1)
    chosen = backends.resolve(backend)
    preselection = None if preselect is None else Preselection(bank, preselect, chosen)
    return PreparedBank(bank, chosen, chosen.prepare(bank, memory), preselection)


def match(
    query: NDArray[np.uint8],
    bank: PatchBank | PreparedBank,
    grid: PatchGrid | None = None,
    *,
    radius: int | None = None,
    k: int = 10,
    exclude: Any = None,
    partial: bool = False,
    backend: str | Backend = "auto",
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
        Of one that was prepared with ``preselect`` only the images chosen for each photo are searched.
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
    backend : str or Backend
        Of a bank that is not prepared.

    Returns
    -------
    Candidates

    Raises
    ------
    TypeError, ValueError
        Wrong dtype, shape or range; another backend than the prepared bank's; K above the number of positions; sum_l
        m_l P^2 255^2 at or past 2^32.
    """
    prepared = _prepared(bank, backend)
    source, kernels = prepared.bank, prepared.backend
    grid = source.grid() if grid is None else grid
    radius = source.settings.radius if radius is None else arguments.whole("radius", radius, 0)
    radius = min(radius, max(source.height, source.width))
    k = arguments.whole("k", k, 1, 256)
    planes = arguments.query(query, source, grid)
    barred = arguments.excluded(exclude, len(planes), source.images)
    arguments.exact_distance(source, grid.patch)
    if not partial:
        arguments.enough_positions(source, grid, radius, k, barred, prepared.most_searched)
    found = searched(kernels.upload(planes), prepared, Search(grid, radius, k), barred)
    return Candidates(*found, backend=kernels)


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
        No parts, parts of different backends, wrong shapes or ranges, shards that overlap; K above the number of
        candidates of a node; a part with fewer than K entries that may not list all that belongs here.
    """
    begins = merging.check_parts(parts, starts)
    owner = backends.shared(**{f"part {number}": part for number, part in enumerate(parts)})
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
    image, row, column = merging.unlisted(place, distance)
    return replace(parts[0], image=image, row=row, column=column, distance=distance, backend=owner)


def gather(
    candidates: Candidates, bank: PatchBank | PreparedBank, patch: int | None = None, *, backend: str | Backend = "auto"
) -> CandidatePatches:
    """Cut the candidates' patches out of the bank.

    Parameters
    ----------
    candidates : Candidates
    bank : PatchBank or PreparedBank
        The one that was matched with.
    patch : int, optional
        In pixels; the bank's own by default.
    backend : str or Backend
        Of a bank that is not prepared.

    Returns
    -------
    CandidatePatches
        Their source and target patches.

    Raises
    ------
    ValueError
        A candidate's patch is not inside the bank, or bank and candidates are of two backends.
    """
    prepared = _prepared(bank, backend, candidates=candidates)
    source, kernels = prepared.bank, prepared.backend
    patch = source.settings.patch if patch is None else arguments.whole("patch", patch, 1)
    bounds = (source.images, source.height - patch + 1, source.width - patch + 1)
    places = (candidates.image, candidates.row, candidates.column)
    for name, place, bound in zip(("image", "row", "column"), places, bounds, strict=True):
        if not arguments.on_device(place) and (place.min() < 0 or place.max() >= bound):
            raise ValueError(f"a candidate's {name} must be in 0 .. {bound - 1}, not {place.min()} .. {place.max()}")
    image, row, column = (kernels.upload(_whole_numbers(place)) for place in places)
    return CandidatePatches(*kernels.gather((image, row, column), prepared.handle, patch), backend=kernels)


def evidence(
    query: NDArray[np.uint8],
    sources: CandidatePatches | NDArray[np.uint8],
    grid: PatchGrid,
    *,
    backend: str | Backend = "auto",
) -> Evidence:
    """Gram matrices of the candidates' residuals, one a node and plane: G_i = (P_i - x_i)^T (P_i - x_i).

    Summed in integers and rounded once to float32 (exact below 2^24). The diagonal holds the squared distances.

    Parameters
    ----------
    query : (B, L, H, W) uint8
    sources : CandidatePatches, or (B, N, K, L, P, P) uint8
    grid : PatchGrid
    backend : str or Backend
        Of plain arrays.

    Returns
    -------
    Evidence
        In squared grey levels.

    Raises
    ------
    TypeError, ValueError
        Wrong dtype or shape, arguments of two backends; P^2 255^2 at or past 2^31.
    """
    planes = arguments.array("query", query, np.uint8, 4)
    cut = sources.source if isinstance(sources, CandidatePatches) else sources
    patches = arguments.array("sources", cut, np.uint8, 6)
    arguments.shape("query", planes, (None, None, grid.height, grid.width))
    photos, layers = planes.shape[:2]
    arguments.shape("sources", patches, (photos, grid.nodes, None, layers, grid.patch, grid.patch))
    arguments.exact_products(grid.patch, 1)
    kernels = backends.common(backend, sources=sources)
    grams = kernels.evidence(kernels.upload(planes), kernels.upload(patches), grid, (1,) * layers)
    return Evidence(grams, backend=kernels)


def compatibility(
    targets: CandidatePatches | NDArray[np.uint8], grid: PatchGrid, *, backend: str | Backend = "auto"
) -> Compatibility:
    """Products of neighbouring candidates' target patches on their overlap; see :class:`Compatibility`.

    Summed in integers and rounded once to float32 (exact below 2^24), in squared grey levels. Where two patches
    only touch, their tables are zero.

    Parameters
    ----------
    targets : CandidatePatches, or (B, N, K, C, P, P) uint8
    grid : PatchGrid
    backend : str or Backend
        Of plain arrays.

    Returns
    -------
    Compatibility

    Raises
    ------
    TypeError, ValueError
        Wrong dtype or shape, arguments of two backends; C P^2 255^2 at or past 2^31.
    """
    patches = _targets(targets)
    arguments.shape("targets", patches, (None, grid.nodes, None, None, grid.patch, grid.patch))
    arguments.exact_products(grid.patch, patches.shape[3])
    kernels = backends.common(backend, targets=targets)
    return Compatibility(*kernels.compatibility(kernels.upload(patches), grid), backend=kernels)


def weigh(
    gram: Evidence | NDArray[np.float32],
    compatibility: Compatibility,
    grid: PatchGrid,
    *,
    method: str | Weighing = "mwf",
    alpha: float = Mwf.alpha,
    tolerance: float = Mwf.tolerance,
    sweeps: int = Mwf.sweeps,
    ridge: float = Mwf.ridge,
    backend: str | Backend = "auto",
) -> Weights:
    """Weigh the candidates of every node.

    ``mwf`` minimises, over w_i >= 0 that sum to one, the convex Markov weight field of Zhou, Kuang and Wong (CVPR
    2012), sum_i w_i^T G_i w_i + alpha * sum_(i,j) |O_i w_i - O_j w_j|^2, plus sum_i ridge P^2 |w_i|^2: what
    independent noise of variance ``ridge`` in every pixel of the candidates' source patches adds to the expected
    misfit. It makes the optimum unique where candidates are alike, as on a flat background. ``lle`` is the same at
    alpha = 0 (each node by itself), ``mean`` gives 1/K, ``top1`` all to the nearest. The objective and the residual of
    all four are those of the field at their alpha, the ridge included.

    From equal weights, a photo is swept: all nodes with an even sum of row and column, then all others, each with its
    neighbours as they are. At a node weight is exchanged between two candidates, taker and giver, each time to the
    minimum along the pair, min(slope / bend, giver's weight), until the slopes are a tenth of what they were. The
    taker is the candidate of the least slope, the giver that with the greatest product of step and slope; of equal
    ones the first. An exchange counts if it moves ``tolerance`` or more, or takes all that the giver has, and if its
    slope is more than rounding makes; where no exchange with that taker counts and none was made, all pairs are
    looked at. Then the node goes on by half of its way (if alpha > 0), short of leaving the simplex and only where
    the objective is no higher than before the visit. A node is visited again when it or a neighbour has moved.

    A photo is settled when a sweep moves nothing: at every node, with its neighbours as they are, no exchange between
    two candidates to the minimum along their pair would move ``tolerance``, except where its slope is rounding. So
    that this comes in finite time, ``tolerance`` is doubled before the 33rd sweep and every second after it. Every
    photo settles by itself: its weights are, bit for bit, the same in any batch, with any number of threads. Between
    backends they differ by rounding, which stays below one grey level of the sketch (docs/KERNELS.md). For each photo
    objective - kkt_residual <= optimum <= objective, but for rounding; that bound is valid after any sweeps, and
    loose: the objective itself is within about 2e-6 of its optimum.

    Parameters
    ----------
    gram : Evidence, or (B, N, K, K) float32
        Of several planes their sum, each plane times its weight where wanted.
    compatibility : Compatibility
    grid : PatchGrid
    method : str or Weighing
        One of :data:`idekernels.WEIGHINGS` by name; or as an object, whose own settings count instead of those below.
    alpha : float
        Weight of the agreement in the overlap, at least 0.
    tolerance : float
        The least weight that an exchange between two candidates must move to count, in [0, 1]. At 0 rounding alone
        ends the sweeps, or ``sweeps`` does.
    sweeps : int
        Passes over the field at most, of each photo.
    ridge : float
        Variance of the noise in squared grey levels, at least 0; at 0 weights of candidates that are alike are
        not determined.
    backend : str or Backend
        Of plain arrays.

    Returns
    -------
    Weights

    Raises
    ------
    TypeError, ValueError
        Wrong dtype, shape or range, arguments of two backends, or a ``gram`` that is not finite.
    """
    told = {"alpha": alpha, "tolerance": tolerance, "sweeps": sweeps, "ridge": ridge}
    for name, value in told.items():
        SETTINGS[name].check(name, value)
    if isinstance(method, str):
        kind = WEIGHINGS[arguments.choice("method", method, WEIGHINGS)]
        method = kind(**{name: told[name] for name in kind.settings() if name in told})
    table = arguments.array("gram", gram.gram if isinstance(gram, Evidence) else gram, np.float32, 4)
    links = _links(table, "gram", compatibility, grid)
    kernels = backends.common(backend, gram=gram, compatibility=compatibility)
    return method.weigh(kernels.upload(table), _uploaded(kernels, links), grid, kernels)


def weigh_multi(
    grams: Evidence | NDArray[np.float32],
    compatibility: Compatibility,
    grid: PatchGrid,
    *,
    alpha: float = Multi.alpha,
    spread: float = Multi.spread,
    rounds: int = Multi.rounds,
    tolerance: float = Multi.tolerance,
    sweeps: int = Multi.sweeps,
    ridge: float = Multi.ridge,
    backend: str | Backend = "auto",
) -> MultiWeights:
    """Weigh candidates and representations together (after Peng et al., TNNLS 2015).

    Minimises sum_i [ sum_l mu_il w_i^T G_i^l w_i + lam |mu_i|^2 + ridge P^2 |w_i|^2 ] + alpha * sum_(i,j) |O_i w_i -
    O_j w_j|^2 over w_i and mu_i on their simplices, by turns: mu exactly (a projection onto the simplex), w as in
    :func:`weigh`, from where the last turn left it. The objective never rises: a turn that rounding lets raise it is
    dropped. Every photo stops by itself, and is, bit for bit, the same in any batch. lam = ``spread`` times the mean of
    w_i^T G_i^l w_i at equal weights, so that one setting suits every scale; it keeps mu from collapsing onto one
    representation.

    Parameters
    ----------
    grams : Evidence, or (B, N, L, K, K) float32
        Of each representation, times its integer weight where wanted.
    compatibility : Compatibility
    grid : PatchGrid
    alpha : float
        Weight of the agreement in the overlap, at least 0.
    spread : float
        lam in units of the mean cost, at least 1e-6; the larger, the more alike the representations' weights.
    rounds : int
        Turns at most; a photo stops when its objective falls by no more than ``tolerance`` / 32 of itself.
    tolerance : float
        Also the least weight that an exchange must move to count, as in :func:`weigh`.
    sweeps : int
        Passes over the field in each turn at most.
    ridge : float
        As in :func:`weigh`.
    backend : str or Backend
        Of plain arrays.

    Returns
    -------
    MultiWeights

    Raises
    ------
    TypeError, ValueError
        Wrong dtype, shape or range, arguments of two backends, or ``grams`` that are not finite.
    """
    chosen = Multi(alpha, spread, rounds, tolerance, sweeps, ridge)
    tables = arguments.array("grams", grams.grams if isinstance(grams, Evidence) else grams, np.float32, 5)
    links = _links(tables, "grams", compatibility, grid)
    kernels = backends.common(backend, grams=grams, compatibility=compatibility)
    return chosen.alternate(kernels.upload(tables), _uploaded(kernels, links), grid, kernels)


def propagate(
    unary: Candidates | NDArray[np.float32],
    pairwise: Compatibility | NDArray[np.float32],
    grid: PatchGrid,
    *,
    alpha: float = Mrf.alpha,
    iterations: int = Mrf.iterations,
    damping: float = Mrf.damping,
    temperature: float = Mrf.temperature,
    backend: str | Backend = "auto",
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
    unary : Candidates, or (B, N, K) float32
        Costs; of candidates, their distances.
    pairwise : Compatibility, or (B, E, K, K) float32
        Costs, [first node's label, second node's label]; of a compatibility, alpha times its ``disagreement``.
    grid : PatchGrid
    alpha : float
        Weight of the agreement in the overlap, at least 0; of a compatibility alone, an array holds whole costs.
    iterations : int
    damping : float
        In [0, 1).
    temperature : float
        0 for min-sum, above it sum-product in units of the costs; its beliefs, softmax(-b / T), are the weights.
    backend : str or Backend
        Of plain arrays.

    Returns
    -------
    Labelling

    Raises
    ------
    TypeError, ValueError
        Wrong dtype, shape or range, arguments of two backends, or costs that are not finite.
    """
    chosen = Mrf(alpha, iterations, damping, temperature)
    own = unary.distance.astype(np.float32) if isinstance(unary, Candidates) else unary
    between = pairwise.costs(alpha) if isinstance(pairwise, Compatibility) else pairwise
    own, between = _costs(own, between, grid)
    kernels = backends.common(backend, unary=unary, pairwise=pairwise)
    return chosen.label(kernels.upload(own), kernels.upload(between), grid, kernels)


def compose(
    targets: CandidatePatches | NDArray[np.uint8],
    weights: Weights | MultiWeights | Labelling | NDArray[np.float32],
    *,
    backend: str | Backend = "auto",
) -> ComposedPatches:
    """Mix every node's candidates to one patch, sum_k w_k O_k.

    Parameters
    ----------
    targets : CandidatePatches, or (B, N, K, C, P, P) uint8
    weights : Weights, MultiWeights or Labelling, or (B, N, K) float32
    backend : str or Backend
        Of plain arrays.

    Returns
    -------
    ComposedPatches
        In grey levels.

    Raises
    ------
    TypeError, ValueError
        Wrong dtype or shape, arguments of two backends.
    """
    patches = _targets(targets)
    given = weights.weights if isinstance(weights, Weights | MultiWeights | Labelling) else weights
    shares = arguments.array("weights", given, np.float32, 3)
    arguments.shape("weights", shares, patches.shape[:3])
    kernels = backends.common(backend, targets=targets, weights=weights)
    return ComposedPatches(kernels.compose(kernels.upload(patches), kernels.upload(shares)), backend=kernels)


def blend(
    patches: ComposedPatches | NDArray[np.float32],
    grid: PatchGrid,
    *,
    how: str = "feather",
    backend: str | Backend = "auto",
) -> Picture:
    """Join overlapping patches to pictures.

    ``average``: the plain mean of what covers a pixel. ``feather``: the mean weighted by sin^2(pi (p + 1/2) / P) along
    both axes, so that no patch ends at an edge. ``cut``: row by row, each patch over what is there along the
    minimum-error boundary of their overlap (Efros and Freeman, SIGGRAPH 2001); ties to the lower row or column.

    Parameters
    ----------
    patches : ComposedPatches, or (B, N, C, P, P) float32
    grid : PatchGrid
    how : {"average", "feather", "cut"}
    backend : str or Backend
        Of plain arrays.

    Returns
    -------
    Picture
        In the units of the patches.

    Raises
    ------
    TypeError, ValueError
        Wrong dtype or shape, arguments of two backends.
    """
    arguments.choice("how", how, BLENDINGS)
    given = patches.patches if isinstance(patches, ComposedPatches) else patches
    pieces = arguments.array("patches", given, np.float32, 5)
    arguments.shape("patches", pieces, (None, grid.nodes, None, grid.patch, grid.patch))
    kernels = backends.common(backend, patches=patches)
    pieces = kernels.upload(pieces)
    if how == "cut":
        return Picture(kernels.cut(pieces, grid), backend=kernels)
    return Picture(kernels.blend(pieces, grid, blend_window(how, grid.patch)), backend=kernels)


@cache
def blend_window(how: str, patch: int) -> NDArray[np.float64]:
    """Share of a patch's pixels in the mean, (P, P) float64, positive; not to be written to."""
    profile = np.sin(np.pi * (np.arange(patch) + 0.5) / patch) ** 2
    window = np.ones((patch, patch)) if how == "average" else np.outer(profile, profile)
    window.flags.writeable = False
    return window


def _prepared(bank: PatchBank | PreparedBank, backend: str | Backend, **others: Any) -> PreparedBank:
    """The bank prepared for the one backend of it, of ``others`` and of what is asked for."""
    chosen = backends.common(backend, bank=bank, **others)
    return bank if isinstance(bank, PreparedBank) else prepare(bank, chosen)


def _whole_numbers(array: NDArray[Any]) -> NDArray[np.int32]:
    """The array as C-contiguous int32, itself where it is."""
    numbers: NDArray[np.int32] = arguments.namespace(array).ascontiguousarray(array, np.int32)
    return numbers


def _uploaded(backend: Backend, links: Links) -> Links:
    own, other, cross = (backend.upload(link) for link in links)
    return own, other, cross


def _targets(targets: CandidatePatches | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Target patches, (B, N, K, C, P, P) uint8."""
    cut = targets.target if isinstance(targets, CandidatePatches) else targets
    return arguments.array("targets", cut, np.uint8, 6)


def _links(gram: NDArray[np.float32], called: str, compatibility: Compatibility, grid: PatchGrid) -> Links:
    """The field's overlap tables, once they and the evidence (B, N, ..., K, K) are found to fit each other."""
    photos, k = gram.shape[0], gram.shape[-1]
    arguments.shape(called, gram, (None, grid.nodes, *[None] * (gram.ndim - 4), k, k))
    for name in ("own", "other", "cross"):
        link = getattr(compatibility, name)
        if link.shape != (photos, len(grid.edges), k, k) or link.dtype != np.float32:
            raise ValueError(f"compatibility.{name} must be {(photos, len(grid.edges), k, k)} float32")
    arguments.finite(called, gram)
    links = links_of(compatibility)
    for link in links:
        arguments.finite("compatibility", link)
    return links


def _costs(
    unary: NDArray[np.float32], pairwise: NDArray[np.float32], grid: PatchGrid
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Costs of a labelling, (B, N, K) and (B, E, K, K) float32, once they are found to fit each other and the grid."""
    own = arguments.array("unary", unary, np.float32, 3)
    arguments.shape("unary", own, (None, grid.nodes, None))
    photos, _, k = own.shape
    between = arguments.array("pairwise", pairwise, np.float32, 4, empty=len(grid.edges) == 0)
    arguments.shape("pairwise", between, (photos, len(grid.edges), k, k))
    arguments.finite("unary and pairwise costs", own)
    arguments.finite("unary and pairwise costs", between)
    return own, between

"""Several representations at once: candidate weights and representation weights by turns; backend-free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels.arguments import namespace, on_device
from idekernels.backends.reference import project_to_simplex
from idekernels.grid import PatchGrid

Array = NDArray[Any]


@dataclass(frozen=True)
class Settings:
    """Of the alternation; their meaning stands at :func:`idekernels.operations.weigh_multi`."""

    alpha: float
    spread: float
    rounds: int
    tolerance: float
    sweeps: int


@dataclass(frozen=True)
class MultiWeights:
    """Weights of candidates and representations.

    weights : (B, N, K) float32. representation_weights : (B, N, L) float32, mu. objective : (B,) float64.
    kkt_residual : (B,) float64, the sum of both blocks' Frank-Wolfe gaps. history : (rounds + 1, B) float64, the
    objective after every round, never rising.
    """

    weights: NDArray[np.float32]
    representation_weights: NDArray[np.float32]
    objective: NDArray[np.float64]
    kkt_residual: NDArray[np.float64]
    history: NDArray[np.float64]


def alternate(
    grams: Array, links: tuple[Array, ...], grid: PatchGrid, settings: Settings, weigh: Callable[..., Any]
) -> MultiWeights:
    """Minimise over mu and w by turns, from equal weights of both."""
    xp, (photos, nodes, layers, k) = namespace(grams), grams.shape[:4]
    weights = xp.full((photos, nodes, k), 1.0 / k)
    costs = _costs(grams, weights)
    lam = settings.spread * costs.mean(axis=(1, 2))[:, None, None] + np.finfo(np.float64).tiny
    mu = xp.full((photos, nodes, layers), 1.0 / layers)
    history = [_weigh(grams, mu, lam, links, grid, settings, weigh, weights, 0)[1] + _penalty(lam, mu)]
    for _ in range(settings.rounds):
        mu = _project(-costs / (2.0 * lam))
        weights, objective, gap, _ = _weigh(grams, mu, lam, links, grid, settings, weigh, weights, settings.sweeps)
        costs = _costs(grams, weights)
        history.append(objective + _penalty(lam, mu))
        if (history[-2] - history[-1] <= settings.tolerance * history[-1]).all():
            break
    slope = costs + 2.0 * lam * mu
    mu_gap = ((slope * mu).sum(axis=-1) - slope.min(axis=-1)).sum(axis=1)
    return MultiWeights(weights.astype(np.float32), mu.astype(np.float32), history[-1], gap + mu_gap, xp.stack(history))


def least_scale(gram: Array) -> Array:
    """What a relative tolerance refers to where the objective vanishes: 1e-6 of the candidates' mean cost, (B,)."""
    costs: Array = gram.diagonal(axis1=2, axis2=3).sum(axis=(1, 2), dtype=np.float64)
    return 1e-6 * costs / gram.shape[-1]


def _weigh(
    grams: Array,
    mu: Array,
    lam: Array,
    links: Any,
    grid: PatchGrid,
    settings: Settings,
    weigh: Any,
    start: Array,
    sweeps: int,
) -> Any:
    xp = namespace(grams)
    gram = xp.einsum("bnl,bnlij->bnij", mu, grams)
    scale = xp.maximum(least_scale(gram), _penalty(lam, mu))  # the whole objective is what the tolerance refers to
    return weigh(gram, links, grid, settings.alpha, start, scale, settings.tolerance / 10.0, sweeps)


def _costs(grams: Array, weights: Array) -> Array:
    """w_i^T G_i^l w_i, (B, N, L) float64."""
    xp = namespace(grams)
    costs: Array = xp.einsum("bni,bnlij,bnj->bnl", weights, grams, weights, optimize=True)
    return costs


def _project(points: Array) -> Array:
    """:func:`project_to_simplex`; the few numbers of a device go to the host and back, in float64."""
    if not on_device(points):
        return project_to_simplex(points)
    host: Any = points
    projected: Array = namespace(points).asarray(project_to_simplex(host.get()))
    return projected


def _penalty(lam: Array, mu: Array) -> Array:
    penalty: Array = (lam * mu**2).sum(axis=(1, 2))
    return penalty

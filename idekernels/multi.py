"""Several representations at once: candidate weights and representation weights by turns; on any backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels.arguments import namespace, on_device
from idekernels.backends.protocol import Backend
from idekernels.backends.reference import project_to_simplex
from idekernels.grid import PatchGrid
from idekernels.results import MultiWeights

Array = NDArray[Any]


@dataclass(frozen=True)
class Alternation:
    """The problem of :func:`idekernels.operations.weigh_multi`, where its numbers are explained.

    grams : (B, N, L, K, K) float32. links : three tables (B, E, K, K) float32, S_ij, S_ji and C_ij.
    """

    grams: Array
    links: tuple[Array, Array, Array]
    grid: PatchGrid
    backend: Backend
    alpha: float
    spread: float
    rounds: int
    tolerance: float
    sweeps: int

    def solve(self) -> MultiWeights:
        """Minimise over mu and w by turns, from equal weights of both."""
        xp, (photos, nodes, layers, k) = namespace(self.grams), self.grams.shape[:4]
        weights = xp.full((photos, nodes, k), 1.0 / k)
        costs = _costs(self.grams, weights)
        lam = self.spread * costs.mean(axis=(1, 2))[:, None, None] + np.finfo(np.float64).tiny
        mu = xp.full((photos, nodes, layers), 1.0 / layers)
        history = [self._weigh(mu, lam, weights, 0)[1] + _penalty(lam, mu)]
        for _ in range(self.rounds):
            mu = _project(-costs / (2.0 * lam))
            weights, objective, gap, _ = self._weigh(mu, lam, weights, self.sweeps)
            costs = _costs(self.grams, weights)
            history.append(objective + _penalty(lam, mu))
            if (history[-2] - history[-1] <= self.tolerance * history[-1]).all():
                break
        slope = costs + 2.0 * lam * mu
        gap = gap + ((slope * mu).sum(axis=-1) - slope.min(axis=-1)).sum(axis=1)
        chosen = weights.astype(np.float32), mu.astype(np.float32)
        return MultiWeights(*chosen, history[-1], gap, xp.stack(history), backend=self.backend)

    def _weigh(self, mu: Array, lam: Array, start: Array, sweeps: int) -> tuple[Array, Array, Array, int]:
        """Descend over w from ``start`` (B, N, K) at fixed mu (B, N, L); lam is (B, 1, 1); all float64."""
        xp = namespace(self.grams)
        gram = xp.einsum("bnl,bnlij->bnij", mu, self.grams)
        scale = xp.maximum(least_scale(gram), _penalty(lam, mu))  # the whole objective is what the tolerance refers to
        return self.backend.weigh(gram, self.links, self.grid, self.alpha, start, scale, self.tolerance / 10.0, sweeps)


def least_scale(gram: Array) -> Array:
    """What a relative tolerance refers to where the objective vanishes: 1e-6 of the candidates' mean cost.

    gram : (B, N, K, K) float. Returns (B,) float64.
    """
    costs: Array = gram.diagonal(axis1=2, axis2=3).sum(axis=(1, 2), dtype=np.float64)
    return 1e-6 * costs / gram.shape[-1]


def _costs(grams: Array, weights: Array) -> Array:
    """w_i^T G_i^l w_i, (B, N, L) float64, of grams (B, N, L, K, K) and weights (B, N, K)."""
    xp = namespace(grams)
    costs: Array = xp.einsum("bni,bnlij,bnj->bnl", weights, grams, weights, optimize=True)
    return costs


def _project(points: Array) -> Array:
    """Project (B, N, L) float64 onto the simplex; of a device by way of the host, as they are few numbers."""
    if not on_device(points):
        return project_to_simplex(points)
    host: Any = points
    projected: Array = namespace(points).asarray(project_to_simplex(host.get()))
    return projected


def _penalty(lam: Array, mu: Array) -> Array:
    """lam * |mu|^2 summed over nodes, (B,) float64."""
    penalty: Array = (lam * mu**2).sum(axis=(1, 2))
    return penalty

"""Several representations at once: candidate weights and representation weights by turns; on any backend."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels.arguments import namespace, on_device
from idekernels.backends.protocol import Backend
from idekernels.backends.reference import project_to_simplex
from idekernels.grid import PatchGrid
from idekernels.results import MultiWeights

Array = NDArray[Any]

ROUND = 32  # a photo stops when a round takes less than tolerance / ROUND of its objective: 7.6e-6 by default


@dataclass(frozen=True)
class State:
    """Where some photos stand, float64 but for what a backend gives in float32.

    mu : (B, N, L). weights : (B, N, K). costs : (B, N, L), w_i^T G_i^l w_i. objective, gap : (B,), the gap of w alone.
    """

    mu: Array
    weights: Array
    costs: Array
    objective: Array
    gap: Array

    def of(self, photos: Array) -> State:
        """The same of some photos."""
        return State(*(getattr(self, each.name)[photos] for each in fields(self)))

    def put(self, photos: Array, state: State, where: Array) -> None:
        """Write what became of ``photos``, for those among them that ``where`` (bool) is true of."""
        for each in fields(self):
            old, new = getattr(self, each.name), getattr(state, each.name)
            chosen = where.reshape(-1, *[1] * (new.ndim - 1))
            old[photos] = namespace(new).where(chosen, new, old[photos])


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
    ridge: float

    def solve(self) -> MultiWeights:
        """Minimise over mu and w by turns, from equal weights of both, every photo until it stops by itself."""
        xp, (photos, nodes, layers, k) = namespace(self.grams), self.grams.shape[:4]
        equal = xp.full((photos, nodes, k), 1.0 / k)
        lam = self.spread * _costs(self.grams, equal).mean(axis=(1, 2)) + np.finfo(np.float64).tiny
        state = self._weigh(xp.full((photos, nodes, layers), 1.0 / layers), lam, equal, 0)
        history, going, rest = [state.objective.copy()], xp.arange(photos), self
        for _ in range(self.rounds):
            last = state.of(going)
            mu = _project(-last.costs / (2.0 * lam[going, None, None]))
            after = rest._weigh(mu, lam[going], last.weights, self.sweeps)
            fall = last.objective - after.objective
            state.put(going, after, fall > 0)  # rounding may raise an objective that has no way to go
            history.append(state.objective.copy())
            more = fall > self.tolerance / ROUND * after.objective
            if not more.any():
                break
            if not more.all():
                going, rest = going[more], rest._only(more)
        slope = state.costs + 2.0 * lam[:, None, None] * state.mu
        gap = state.gap + ((slope * state.mu).sum(axis=-1) - slope.min(axis=-1)).sum(axis=1)
        chosen = state.weights.astype(np.float32), state.mu.astype(np.float32)
        return MultiWeights(*chosen, history[-1], gap, xp.stack(history), backend=self.backend)

    def _weigh(self, mu: Array, lam: Array, start: Array, sweeps: int) -> State:
        """Descend over w from ``start`` (B, N, K) at fixed mu (B, N, L); lam is (B,); all float64."""
        mixed, noise = _mixed(mu, self.grams), self.ridge * self.grid.patch**2
        weights, objective, gap, _ = self.backend.weigh(
            mixed, self.links, self.grid, self.alpha, noise, start, self.tolerance, sweeps
        )
        penalty = lam * (mu**2).sum(axis=-1).sum(axis=-1)
        return State(mu, weights.astype(np.float64), _costs(self.grams, weights), objective + penalty, gap)

    def _only(self, photos: Array) -> Alternation:
        """The problem of some of the photos, (B,) bool."""
        own, other, cross = self.links
        return replace(self, grams=self.grams[photos], links=(own[photos], other[photos], cross[photos]))


# Sums over the batch's tables go step by step along K and L, so that a photo's are the same, bit for bit, in any batch.


def _mixed(mu: Array, grams: Array) -> Array:
    """sum_l mu_l G^l, (B, N, K, K) float64, of mu (B, N, L) float64 and grams (B, N, L, K, K) float32."""
    mixed: Array = mu[:, :, 0, None, None] * grams[:, :, 0]
    for layer in range(1, mu.shape[2]):
        mixed += mu[:, :, layer, None, None] * grams[:, :, layer]
    return mixed


def _costs(grams: Array, weights: Array) -> Array:
    """w_i^T G_i^l w_i, (B, N, L) float64, of grams (B, N, L, K, K) float32 and weights (B, N, K)."""
    shares = weights.astype(np.float64)[:, :, None]
    products = shares[..., 0, None] * grams[..., 0, :]
    for j in range(1, grams.shape[-1]):
        products += shares[..., j, None] * grams[..., j, :]
    costs: Array = shares[..., 0] * products[..., 0]
    for i in range(1, grams.shape[-1]):
        costs += shares[..., i] * products[..., i]
    return costs


def _project(points: Array) -> Array:
    """Project (B, N, L) float64 onto the simplex; of a device by way of the host, as they are few numbers."""
    if not on_device(points):
        return project_to_simplex(points)
    host: Any = points
    projected: Array = namespace(points).asarray(project_to_simplex(host.get()))
    return projected

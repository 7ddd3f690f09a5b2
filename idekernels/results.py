"""What the kernels return, as frozen dataclasses that name every array's shape and dtype; computes next to nothing.

Arrays are NumPy's; of the backend cuda they are CuPy's, and stay on the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels import backends
from idekernels.bank import PatchBank


@dataclass(frozen=True)
class PreparedBank:
    """A bank as one backend reads it, resident or streamed; made by ``operations.prepare``."""

    bank: PatchBank
    backend: str
    handle: Any

    @property
    def module(self) -> ModuleType:
        """The backend's code."""
        return backends.load(self.backend)


@dataclass(frozen=True)
class Candidates:
    """The K nearest bank patches of every node, nearest first.

    image, row, column : (B, N, K) int32, where the patch stands in the bank; distance : (B, N, K) uint32.
    """

    image: NDArray[np.int32]
    row: NDArray[np.int32]
    column: NDArray[np.int32]
    distance: NDArray[np.uint32]


@dataclass(frozen=True)
class Compatibility:
    """Products of the candidates' target patches on every edge's overlap, each (B, E, K, K) float32.

    own : S_ij = O_i^T O_i on edge (i, j), other : S_ji = O_j^T O_j, cross : C_ij = O_i^T O_j.
    """

    own: NDArray[np.float32]
    other: NDArray[np.float32]
    cross: NDArray[np.float32]

    @property
    def disagreement(self) -> NDArray[np.float32]:
        """Squared differences of all candidate pairs, D = diag(S_ij) 1^T + 1 diag(S_ji)^T - 2 C_ij: (B, E, K, K)."""
        own = self.own.diagonal(axis1=2, axis2=3)[..., :, None]
        other = self.other.diagonal(axis1=2, axis2=3)[..., None, :]
        return own + other - 2.0 * self.cross


@dataclass(frozen=True)
class Weights:
    """Weights of the candidates, and how good they are.

    weights : (B, N, K) float32 on the simplex. objective : (B,) float64, the weighing's own sum at these weights.
    kkt_residual : (B,) float64, the Frank-Wolfe gap: the optimum is not below objective - kkt_residual. sweeps : int.
    """

    weights: NDArray[np.float32]
    objective: NDArray[np.float64]
    kkt_residual: NDArray[np.float64]
    sweeps: int


@dataclass(frozen=True)
class Labelling:
    """A choice of one candidate a node.

    labels : (B, N) int32. energy : (B,) float64, of the labels. weights : (B, N, K) float32, one at the label, or
    the beliefs of sum-product.
    """

    labels: NDArray[np.int32]
    energy: NDArray[np.float64]
    weights: NDArray[np.float32]

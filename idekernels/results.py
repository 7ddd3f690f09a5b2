"""What the kernels return, as frozen dataclasses that name every array's shape and dtype; computes next to nothing.

Arrays are NumPy's; of the backend cuda they are CuPy's, and stay on the device until :meth:`Result.host` copies them.
Symbols as in :mod:`idekernels.operations`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from idekernels.arguments import on_device
from idekernels.backends.protocol import Backend
from idekernels.bank import PatchBank
from idekernels.preselection import Preselection

Own = TypeVar("Own", bound="Result")


@dataclass(frozen=True)
class PreparedBank:
    """A bank as one backend reads it, resident or streamed; made by :func:`idekernels.prepare`.

    bank : the bank. backend : what reads it, and whatever is computed from it. handle : the backend's own.
    preselection : which images are searched for a photo; None for all.
    """

    bank: PatchBank
    backend: Backend
    handle: Any
    preselection: Preselection | None = None

    @property
    def most_searched(self) -> int:
        """How many images are searched for a photo, at most."""
        return self.bank.images if self.preselection is None else min(self.preselection.count, self.bank.images)


@dataclass(frozen=True)
class Result:
    """What every result has: its backend, on which the next kernel runs without being told.

    backend : the backend that made it; None (for one put together from plain arrays) leaves the choice to the others.
    """

    backend: Backend | None = field(default=None, kw_only=True, repr=False, compare=False)

    def host(self: Own) -> Own:
        """The same with NumPy arrays: itself unless its arrays lie on a device, else a copy; the backend stays."""
        held: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        copied = {name: value.get() for name, value in held.items() if on_device(value)}
        return replace(self, **copied) if copied else self


@dataclass(frozen=True)
class ArrayResult(Result):
    """A result that NumPy takes as an array, by :func:`numpy.asarray`, where it does not lie on a device."""

    array_name: ClassVar[str]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        value = getattr(self, self.array_name)
        if on_device(value):
            raise TypeError(f"{self.array_name} lies on a device; take .host(), which copies it")
        return np.array(value, dtype, copy=copy)  # no copy where none is needed


@dataclass(frozen=True)
class Candidates(Result):
    """The K nearest bank patches of every node, nearest first.

    image, row, column : (B, N, K) int32, where the patch stands in the bank; distance : (B, N, K) uint32.
    """

    image: NDArray[np.int32]
    row: NDArray[np.int32]
    column: NDArray[np.int32]
    distance: NDArray[np.uint32]


@dataclass(frozen=True)
class CandidatePatches(Result):
    """The candidates' patches, cut out of the bank.

    source : (B, N, K, L, P, P) uint8, of its source planes. target : (B, N, K, C, P, P) uint8, of its targets.
    """

    source: NDArray[np.uint8]
    target: NDArray[np.uint8]


@dataclass(frozen=True)
class Evidence(ArrayResult):
    """Gram matrices of the candidates' residuals, one a node and plane.

    grams : (B, N, L, K, K) float32, in squared grey levels.
    """

    array_name: ClassVar[str] = "grams"
    grams: NDArray[np.float32]

    @property
    def gram(self) -> NDArray[np.float32]:
        """The planes' sum, (B, N, K, K) float32; of one plane its own memory."""
        return self.grams[:, :, 0] if self.grams.shape[2] == 1 else self.grams.sum(axis=2)


@dataclass(frozen=True)
class Compatibility(Result):
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

    def costs(self, alpha: float) -> NDArray[np.float32]:
        """Pairwise costs of a labelling, alpha * disagreement, by first and second label: (B, E, K, K) float32."""
        costs: NDArray[np.float32] = np.float32(alpha) * self.disagreement
        return costs


@dataclass(frozen=True)
class Weights(Result):
    """Weights of the candidates, and how good they are.

    weights : (B, N, K) float32 on the simplex. objective : (B,) float64, the weighing's own sum at these weights.
    kkt_residual : (B,) float64, the Frank-Wolfe gap: the optimum is not below objective - kkt_residual. sweeps : (B,)
    int32, passes over the field until the photo was settled, the last one, which moved nothing, included.
    """

    weights: NDArray[np.float32]
    objective: NDArray[np.float64]
    kkt_residual: NDArray[np.float64]
    sweeps: NDArray[np.int32]


@dataclass(frozen=True)
class MultiWeights(Result):
    """Weights of candidates and representations.

    weights : (B, N, K) float32. representation_weights : (B, N, L) float32, mu. objective : (B,) float64.
    kkt_residual : (B,) float64, the sum of both blocks' Frank-Wolfe gaps. history : (rounds + 1, B) float64, the
    objective after every round of the photo that took the most, never rising, constant after a photo's own last one.
    """

    weights: NDArray[np.float32]
    representation_weights: NDArray[np.float32]
    objective: NDArray[np.float64]
    kkt_residual: NDArray[np.float64]
    history: NDArray[np.float64]


@dataclass(frozen=True)
class Labelling(Result):
    """A choice of one candidate a node.

    labels : (B, N) int32. energy : (B,) float64, of the labels. weights : (B, N, K) float32, one at the label, or
    the beliefs of sum-product.
    """

    labels: NDArray[np.int32]
    energy: NDArray[np.float64]
    weights: NDArray[np.float32]

    @property
    def objective(self) -> NDArray[np.float64]:
        """The energy, under the name that all weighings share."""
        return self.energy


@dataclass(frozen=True)
class ComposedPatches(ArrayResult):
    """One patch a node, mixed of its candidates.

    patches : (B, N, C, P, P) float32, in grey levels.
    """

    array_name: ClassVar[str] = "patches"
    patches: NDArray[np.float32]


@dataclass(frozen=True)
class Picture(ArrayResult):
    """Whole pictures, blended of patches.

    pixels : (B, C, H, W) float32, in the units of the patches.
    """

    array_name: ClassVar[str] = "pixels"
    pixels: NDArray[np.float32]

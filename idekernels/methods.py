"""The methods of stage 1, one table: each one's settings, their defaults, ranges and help, and how it weighs a field.

Everything else is derived from :data:`METHODS` and :data:`SETTINGS`: what :class:`idekernels.CoarseSettings`,
:func:`idekernels.weigh` and a recipe accept, and the options of the command line. To add a weighing, write a frozen
dataclass here and name it in :data:`METHODS`; if it needs a kernel, add that to
:class:`~idekernels.backends.protocol.Backend` and the backends (and to :mod:`idekernels.operations`, if people shall
call it alone). Knows no photos, banks or files.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from idekernels import arguments
from idekernels.backends.protocol import Backend
from idekernels.grid import PatchGrid
from idekernels.labels import weights_of
from idekernels.multi import Alternation
from idekernels.results import Candidates, Compatibility, Evidence, Labelling, MultiWeights, Weights

Array = NDArray[Any]
Links = tuple[Array, Array, Array]  # S_ij, S_ji and C_ij, each (B, E, K, K) float32, C-contiguous


@dataclass(frozen=True)
class Setting:
    """A number that methods can be told: its default (whose type it has), its range, and what the command line says."""

    default: float | int
    least: float
    most: float
    help: str

    def check(self, name: str, value: Any) -> None:
        """TypeError for another type, ValueError past the range."""
        if isinstance(self.default, int):
            arguments.whole(name, value, int(self.least))
        else:
            arguments.real(name, value, self.least, self.most)


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        "alpha": Setting(0.5, 0.0, math.inf, "Weight of the agreement of neighbours"),
        "iterations": Setting(50, 0, math.inf, "Of belief propagation"),
        "damping": Setting(0.0, 0.0, 1.0 - 1e-6, "Share of the last message in the next one"),
        "temperature": Setting(0.0, 0.0, math.inf, "0 chooses one candidate, above it they are mixed by belief"),
        "ridge": Setting(1.0, 0.0, math.inf, "Variance of the noise in a candidate's pixel, in squared grey levels"),
        "tolerance": Setting(
            2.0**-12, 0.0, 1.0, "Settled when no exchange between two candidates would move this much weight"
        ),
        "sweeps": Setting(1000, 1, math.inf, "Stop after so many passes over the field"),
        "spread": Setting(1.0, 1e-6, math.inf, "The larger, the more alike the representations' weights"),
        "rounds": Setting(10, 1, math.inf, "Turns of candidates and representations at most"),
    }
)


def _setting(name: str, *, shown: bool = True) -> Any:
    """A dataclass field of that setting's default; not ``shown`` where it changes the objective but no sketch."""
    return dataclasses.field(default=SETTINGS[name].default, metadata={"shown": shown})


@dataclass(frozen=True)
class Field:
    """What a method weighs: one batch of photos on the grid, all on one backend.

    evidence : (B, N, L, K, K) float32, times the planes' weights. candidates : (B, N, K). compatibility : (B, E, K, K).
    """

    evidence: Evidence
    candidates: Candidates
    compatibility: Compatibility
    grid: PatchGrid
    backend: Backend


class Solution(Protocol):
    """What comes of a field: weights (B, N, K) float32 on the simplex, objective (B,) float64, better where lower."""

    @property
    def weights(self) -> NDArray[np.float32]: ...  # noqa: D102
    @property
    def objective(self) -> NDArray[np.float64]: ...  # noqa: D102


class Method(ABC):
    """A way to weigh candidates: a frozen dataclass whose fields are names of :data:`SETTINGS`.

    ``name`` is what people call it, ``help`` says what it does, ``blend`` how its patches are joined by default.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    blend: ClassVar[str] = "feather"

    def __post_init__(self) -> None:
        for name in self.settings():
            SETTINGS[name].check(name, getattr(self, name))

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """The names of its settings."""
        return tuple(each.name for each in fields(cls))  # type: ignore[arg-type]  # every method is a dataclass

    @abstractmethod
    def solve(self, field: Field) -> Solution:
        """Weigh the candidates of a field."""


class Weighing(Method):
    """A method of the Markov weight field: how it starts, and how long and for what ``alpha`` it descends."""

    @property
    def alpha(self) -> float:
        """Weight of the agreement of neighbours; 0 unless a weighing has it as a setting."""
        return 0.0

    @property
    def ridge(self) -> float:
        """Variance of the noise in every candidate's pixel, in squared grey levels."""
        return SETTINGS["ridge"].default

    @property
    def tolerance(self) -> float:
        """The least weight that an exchange between two candidates must move to count."""
        return SETTINGS["tolerance"].default

    @property
    def sweeps(self) -> int:
        """Passes over the field at most; 0, the start as it is, unless a weighing has it as a setting."""
        return 0

    def start(self, k: int) -> Array:
        """The weights of every node before the first sweep, (K,) float64: equal."""
        return np.full(k, 1.0 / k)

    def solve(self, field: Field) -> Weights:
        """Weigh the sum of all planes' evidence."""
        gram = field.backend.gram(field.evidence.grams)
        return self.weigh(gram, links_of(field.compatibility), field.grid, field.backend)

    def weigh(self, gram: Array, links: Links, grid: PatchGrid, backend: Backend) -> Weights:
        """Weigh checked arrays of the backend, gram (B, N, K, K) float32; see :func:`idekernels.operations.weigh`."""
        start, noise = self.start(gram.shape[2]), self.ridge * grid.patch**2
        found = backend.weigh(gram, links, grid, self.alpha, noise, start, self.tolerance, self.sweeps)
        return Weights(found[0].astype(np.float32, copy=False), *found[1:], backend=backend)


@dataclass(frozen=True)
class Mwf(Weighing):
    """The Markov weight field: likeness to the photo, and agreement of neighbours in their overlap."""

    name: ClassVar[str] = "mwf"
    help: ClassVar[str] = "weights that agree with the neighbours'"
    alpha: float = _setting("alpha")
    tolerance: float = _setting("tolerance")
    sweeps: int = _setting("sweeps")
    ridge: float = _setting("ridge")


@dataclass(frozen=True)
class Lle(Weighing):
    """Each node by itself, as locally linear embedding: the weight field at alpha = 0."""

    name: ClassVar[str] = "lle"
    help: ClassVar[str] = "weights of each patch by itself"
    tolerance: float = _setting("tolerance")
    sweeps: int = _setting("sweeps")
    ridge: float = _setting("ridge")


@dataclass(frozen=True)
class Mean(Weighing):
    """All candidates alike; ``alpha`` and ``ridge`` count in the objective alone."""

    name: ClassVar[str] = "mean"
    help: ClassVar[str] = "all candidates alike"
    alpha: float = _setting("alpha", shown=False)
    ridge: float = _setting("ridge", shown=False)


@dataclass(frozen=True)
class Top1(Weighing):
    """The nearest candidate alone; ``alpha`` and ``ridge`` count in the objective alone."""

    name: ClassVar[str] = "top1"
    help: ClassVar[str] = "the nearest candidate"
    alpha: float = _setting("alpha", shown=False)
    ridge: float = _setting("ridge", shown=False)

    def start(self, k: int) -> Array:
        """All weight on the first candidate."""
        return (np.arange(k) == 0).astype(np.float64)


@dataclass(frozen=True)
class Mrf(Method):
    """The Markov random field: one candidate a node, chosen by loopy belief propagation."""

    name: ClassVar[str] = "mrf"
    help: ClassVar[str] = "one candidate that agrees with the neighbours'"
    blend: ClassVar[str] = "cut"
    alpha: float = _setting("alpha")
    iterations: int = _setting("iterations")
    damping: float = _setting("damping")
    temperature: float = _setting("temperature")

    def solve(self, field: Field) -> Labelling:
        """Distances are the unary costs, the disagreement in the overlap is the pairwise one."""
        found = field.backend.label(
            field.candidates.distance, links_of(field.compatibility), self.alpha, field.grid, self.iterations,
            self.damping, self.temperature,
        )  # fmt: skip
        return Labelling(*found, backend=field.backend)

    def label(self, unary: Array, pairwise: Array, grid: PatchGrid, backend: Backend) -> Labelling:
        """Choose by checked costs on the backend: unary (B, N, K), pairwise (B, E, K, K), both float32.

        ``alpha`` is in the pairwise costs already. See :func:`idekernels.operations.propagate`.
        """
        labels, energy, beliefs = backend.propagate(
            unary, pairwise, grid, self.iterations, self.damping, self.temperature
        )
        return Labelling(labels, energy, weights_of(labels, beliefs, self.temperature), backend=backend)


@dataclass(frozen=True)
class Multi(Method):
    """Weights of the candidates and of the bank's representations, by turns."""

    name: ClassVar[str] = "multi"
    help: ClassVar[str] = "as mwf with weights of the representations"
    alpha: float = _setting("alpha")
    spread: float = _setting("spread")
    rounds: int = _setting("rounds")
    tolerance: float = _setting("tolerance")
    sweeps: int = _setting("sweeps")
    ridge: float = _setting("ridge")

    def solve(self, field: Field) -> MultiWeights:
        """Weigh every plane's evidence."""
        return self.alternate(field.evidence.grams, links_of(field.compatibility), field.grid, field.backend)

    def alternate(self, grams: Array, links: Links, grid: PatchGrid, backend: Backend) -> MultiWeights:
        """Weigh checked arrays of the backend, grams (B, N, L, K, K) float32; see :func:`idekernels.weigh_multi`."""
        return Alternation(grams, links, grid, backend, **dataclasses.asdict(self)).solve()


METHODS: Mapping[str, type[Method]] = MappingProxyType({kind.name: kind for kind in (Mwf, Lle, Mean, Top1, Mrf, Multi)})

WEIGHINGS: Mapping[str, type[Weighing]] = MappingProxyType(  # those of the weight field, the simplest first
    {kind.name: kind for kind in reversed(tuple(METHODS.values())) if issubclass(kind, Weighing)}
)


def users_of(setting: str, *, shown: bool = False) -> tuple[str, ...]:
    """The methods that have a setting of that name; ``shown``: only those whose sketches depend on it."""
    return tuple(
        name
        for name, kind in METHODS.items()
        for each in fields(kind)  # type: ignore[arg-type]  # every method is a dataclass
        if each.name == setting and (each.metadata["shown"] or not shown)
    )


def links_of(compatibility: Compatibility) -> Links:
    """The three tables of a compatibility, C-contiguous."""
    tables = (compatibility.own, compatibility.other, compatibility.cross)
    own, other, cross = (arguments.namespace(table).ascontiguousarray(table) for table in tables)
    return own, other, cross

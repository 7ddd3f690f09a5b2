"""Every kernel of stage 1 as a call without arguments, on the data that it would meet in a workload; times nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import idekernels as ide
from idekernels.results import CandidatePatches, Candidates, Compatibility, ComposedPatches, Evidence, PreparedBank
from idekernels.workloads import Workload

ALPHA = 0.5
ITERATIONS = 50


@dataclass(frozen=True)
class Field:
    """A workload on its way from photos to sketches; what a kernel needs is made once, when first asked for."""

    work: Workload
    backend: str = "auto"

    @cached_property
    def bank(self) -> PreparedBank:
        return ide.prepare(self.work.bank(), self.backend)

    @cached_property
    def photos(self) -> list[NDArray[np.uint8]]:
        return list(self.work.queries())

    @cached_property
    def query(self) -> NDArray[np.uint8]:
        return np.stack([self.bank.bank.query(photo) for photo in self.photos])

    @cached_property
    def candidates(self) -> Candidates:
        return ide.match(self.query, self.bank, self.work.grid, k=self.work.k)

    @cached_property
    def patches(self) -> CandidatePatches:
        return ide.gather(self.candidates, self.bank)

    @cached_property
    def evidence(self) -> Evidence:
        return ide.evidence(self.query, self.patches, self.work.grid)

    @cached_property
    def gram(self) -> NDArray[np.float32]:
        weights = self.bank.backend.upload(np.array(self.bank.bank.weights, np.float32))
        return (self.evidence.grams * weights[:, None, None]).sum(axis=2)

    @cached_property
    def tables(self) -> Compatibility:
        return ide.compatibility(self.patches, self.work.grid)

    @cached_property
    def unary(self) -> NDArray[np.float32]:
        return self.candidates.distance.astype(np.float32)

    @cached_property
    def pairwise(self) -> NDArray[np.float32]:
        return np.float32(ALPHA) * self.tables.disagreement

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        return self.weigh().weights

    @cached_property
    def composed(self) -> ComposedPatches:
        return ide.compose(self.patches, self.weights)

    def weigh(self, method: str = "mwf") -> Any:
        return ide.weigh(self.gram, self.tables, self.work.grid, method=method, alpha=ALPHA)

    def propagate(self) -> Any:
        return ide.propagate(self.unary, self.pairwise, self.work.grid, iterations=ITERATIONS, backend=self.backend)

    def blend(self, how: str) -> Any:
        return ide.blend(self.composed, self.work.grid, how=how)


KERNELS: Mapping[str, Callable[[Field], Any]] = MappingProxyType(
    {
        "match": lambda field: ide.match(field.query, field.bank, field.work.grid, k=field.work.k),
        "gather": lambda field: ide.gather(field.candidates, field.bank),
        "evidence": lambda field: ide.evidence(field.query, field.patches, field.work.grid),
        "compatibility": lambda field: ide.compatibility(field.patches, field.work.grid),
        "weigh mwf": lambda field: field.weigh("mwf"),
        "weigh lle": lambda field: field.weigh("lle"),
        f"propagate, {ITERATIONS} iterations": lambda field: field.propagate(),
        "compose": lambda field: ide.compose(field.patches, field.weights),
        "blend feather": lambda field: field.blend("feather"),
        "blend average": lambda field: field.blend("average"),
        "blend cut": lambda field: field.blend("cut"),
    }
)
